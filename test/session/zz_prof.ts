import bench from "./Session.bench.ts"
import * as Effect from "effect/Effect"
const which = Number(process.argv[2]), cand = process.argv[3]!
await Effect.runPromise(Effect.scoped(Effect.gen(function* () {
  const load = yield* bench[which]!.load(cand, undefined)
  yield* load(500)
  const a = process.cpuUsage(); const n = yield* load(2500); const b = process.cpuUsage(a)
  console.log(cand, n / 2.5, "calls/s", (b.user + b.system) / n, "us/call")
})) as never)
process.exit(0)
