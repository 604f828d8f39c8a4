// A program of the tests as a process of its own.
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import * as Recorder from "./Recorder.ts"

/** A process, and what it has told. */
export interface Child<Report> {
  readonly reports: Recorder.Recorder<Report>
  /** Gives it its next order. */
  readonly order: Effect.Effect<void>
  readonly signal: (name: NodeJS.Signals) => Effect.Effect<void>
  /** Kills it at once, for callbacks. */
  readonly kill: () => void
}

/**
 * Starts a program; killed when the scope closes.
 *
 * - `file`: where it is
 * - `settings`: its one argument, as JSON
 * - `onReport`: called with each of its reports, at once
 */
export const start = <Report>(
  file: URL,
  settings: object,
  onReport: (report: Report) => void = () => {}
): Effect.Effect<Child<Report>, never, Scope.Scope> =>
  Effect.gen(function* () {
    const reports = yield* Recorder.make<Report>()
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        fork(fileURLToPath(file), [JSON.stringify(settings)], {
          execArgv: ["--conditions=xdooria-source"]
        })
      ),
      (child) =>
        Effect.callback<void>((resume) => {
          if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
          child.once("exit", () => resume(Effect.void))
          child.kill("SIGKILL")
        })
    )
    child.on("message", (report) => {
      onReport(report as Report)
      reports.recordUnsafe(report as Report)
    })
    return {
      reports,
      order: Effect.sync(() => void child.send("go")),
      signal: (name) => Effect.sync(() => void child.kill(name)),
      kill: () => void child.kill("SIGKILL")
    }
  })
