// `xdooria` as a user runs it: a process of its own.
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process"
import { fileURLToPath } from "node:url"

/** What it came to. */
export interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** The root of the repository, where it runs. */
export const root = fileURLToPath(new URL("../../", import.meta.url))

/** A process that runs: killed with the scope, if it does not end by itself. */
export interface Running {
  readonly child: ChildProcessWithoutNullStreams
  /** Waits until it has written so many lines to stdout, and gives them. */
  readonly lines: (count: number) => Effect.Effect<ReadonlyArray<string>>
  readonly ended: Effect.Effect<Ran>
}

/** Starts it. Standard input is open. */
export const start = (
  args: ReadonlyArray<string>,
  variables: Readonly<Record<string, string>> = {}
): Effect.Effect<Running, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn(process.execPath, ["bin/xdooria.js", ...args], {
        cwd: root,
        env: { ...process.env, XDOORIA_LOG_OUTPUT_PATH: "", ...variables }
      })
      let stdout = ""
      let stderr = ""
      child.stdout.on("data", (bytes) => (stdout += String(bytes)))
      child.stderr.on("data", (bytes) => (stderr += String(bytes)))
      // It may have ended before it read all.
      child.stdin.on("error", () => {})
      return {
        child,
        lines: (count: number) =>
          Effect.callback<ReadonlyArray<string>>((resume) => {
            const look = () => {
              const lines = stdout.split("\n").slice(0, -1)
              if (lines.length >= count) resume(Effect.succeed(lines.slice(0, count)))
            }
            child.stdout.on("data", look)
            look()
            return Effect.sync(() => child.stdout.off("data", look))
          }),
        ended: Effect.callback<Ran>((resume) => {
          const tell = () => resume(Effect.succeed({ code: child.exitCode, stdout, stderr }))
          if (child.exitCode !== null || child.signalCode !== null) return tell()
          child.on("close", tell)
          return Effect.sync(() => child.off("close", tell))
        })
      }
    }),
    ({ child, ended }) =>
      Effect.andThen(
        Effect.sync(() => child.kill("SIGKILL")),
        ended
      )
  )

/** Runs it to its end, with this text as its standard input. */
export const run = (
  args: ReadonlyArray<string>,
  variables: Readonly<Record<string, string>> = {},
  input = ""
): Effect.Effect<Ran> =>
  Effect.scoped(
    Effect.flatMap(start(args, variables), ({ child, ended }) =>
      Effect.andThen(
        Effect.sync(() => child.stdin.end(input)),
        ended
      )
    )
  )
