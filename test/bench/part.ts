// A process of a benchmark: builds one part of a comparison, the server or the load of a candidate, and obeys the
// runner. Started by main.ts with: <file> <comparison> <candidate> server|load [address as JSON].
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { pathToFileURL } from "node:url"
import type { Comparison, Load } from "./Bench.ts"

/** What the runner asks for: a slice of load, or the CPU that this process has used, or the memory that it holds. */
export type Order = { readonly slice: number } | "cpu" | "memory"

/** What a part answers, `ready` first of all. */
export type Report =
  | { readonly ready: unknown }
  | { readonly calls: number; readonly seconds: number }
  | { readonly user: number; readonly system: number }
  | { readonly bytes: number }

const [file, name, candidate, role, address] = process.argv.slice(2) as [string, string, string, string, string?]
const tell = (report: Report) => process.send!(report)

const module = (await import(pathToFileURL(file).href)) as { readonly default: ReadonlyArray<Comparison> }
const comparison = module.default.find((one) => one.name === name)!
const scope = Scope.makeUnsafe()
const build = <A>(part: Effect.Effect<A, unknown, Scope.Scope>): Promise<A> =>
  Effect.runPromise(Effect.provideService(part, Scope.Scope, scope))

/** Collects until nothing more is freed; what finalizers free comes a turn later. */
const collect = async (): Promise<void> => {
  for (let time = 0; time < 5; time++) {
    globalThis.gc!()
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

let load: Load = () => Effect.succeed(0)
if (role === "server") tell({ ready: await build(comparison.server!(candidate)) })
else {
  load = await build(comparison.load(candidate, address === undefined ? undefined : JSON.parse(address)))
  tell({ ready: null })
}

process.on("message", async (order: Order) => {
  if (order === "cpu") {
    const { user, system } = process.cpuUsage()
    tell({ user, system })
  } else if (order === "memory") {
    await collect()
    tell({ bytes: process.memoryUsage.rss() })
  } else {
    const start = performance.now()
    const calls = await Effect.runPromise(load(order.slice))
    tell({ calls, seconds: (performance.now() - start) / 1000 })
  }
})

process.on("disconnect", async () => {
  await Effect.runPromise(Scope.close(scope, Exit.void))
  process.exit(0)
})
