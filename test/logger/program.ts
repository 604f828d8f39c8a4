// A process that logs, for tests of what becomes of its lines: node program.ts <path of the file> <what to do>
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import { layerLive } from "xdooria/logger/live"

const [outputPath = "", task = "", count = "0"] = process.argv.slice(2)

const tell = (message: unknown) => Effect.sync(() => process.send?.(message))

const log = (n: number) => Effect.logInfo("line", { n, padding: "x".repeat(80) })

const tasks: Readonly<Record<string, Effect.Effect<void>>> = {
  // Logs so many lines and ends.
  burst: Effect.forEach(Array.from({ length: Number(count) }).keys(), log, { discard: true }),
  // Logs so many lines, tells, and waits for a signal.
  wait: Effect.andThen(
    Effect.forEach(Array.from({ length: Number(count) }).keys(), log, { discard: true }),
    Effect.andThen(tell("logged"), Effect.never)
  ),
  // Logs a line and tells it, again and again.
  tick: Effect.gen(function* () {
    for (let n = 0; ; n++) {
      yield* log(n)
      yield* tell(n)
      yield* Effect.sleep("1 millis")
    }
  })
}

NodeRuntime.runMain(
  Effect.provide(tasks[task]!, layerLive({ service: "game", level: "info", format: "json", outputPath })),
  { disableErrorReporting: true }
)
