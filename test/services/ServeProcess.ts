// `xdooria serve` as an operator runs it: a process of its own, with a temporary folder of its own, so that what it
// leaves behind can be told.
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { chmodSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

/** How the process ended. */
export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  /** From the first signal that it was sent, or from its start, in milliseconds. */
  readonly millis: number
}

/** A running `xdooria serve`. */
export interface ServeProcess {
  readonly pid: number
  /** The address of its gateway, or of its one service, once all serve. Dies with what it wrote when it ends before. */
  readonly address: Effect.Effect<string>
  readonly kill: (signal: NodeJS.Signals) => Effect.Effect<void>
  readonly ended: Effect.Effect<Ended>
  /** What it wrote to stdout and stderr. */
  readonly output: () => string
  /** Files in its temporary folder and processes that belong to it: nothing, when it has ended as promised. */
  readonly leftovers: () => ReadonlyArray<string>
}

const root = fileURLToPath(new URL("../../", import.meta.url))

const isOver = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null

const waitFor = (child: ChildProcess, predicate: () => boolean): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    const look = () => {
      if (predicate()) resume(Effect.void)
    }
    child.stdout!.on("data", look)
    child.on("close", look)
    look()
    return Effect.sync(() => child.off("close", look).stdout!.off("data", look))
  })

/** Starts it with these flags and variables; stopped, with all that it left, when the scope closes. */
export const start = (
  flags: ReadonlyArray<string>,
  variables: Readonly<Record<string, string>> = {}
): Effect.Effect<ServeProcess, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const folder = mkdtempSync(join(tmpdir(), "xdooria-serve-"))
      // An embedded PostgreSQL of root's runs as nobody, who must get to its folder within.
      chmodSync(folder, 0o755)
      const child = spawn(process.execPath, ["src/main.ts", "serve", ...flags], {
        cwd: root,
        env: { ...process.env, TMPDIR: folder, XDOORIA_SERVER_PORT: "0", XDOORIA_LOG_OUTPUT_PATH: "", ...variables }
      })
      return { child, folder, startedAt: performance.now() }
    }),
    ({ child, folder }) =>
      Effect.suspend(() => {
        if (!isOver(child)) child.kill("SIGTERM")
        return waitFor(child, () => isOver(child))
      }).pipe(
        Effect.timeoutOrElse({ duration: "20 seconds", orElse: () => Effect.sync(() => child.kill("SIGKILL")) }),
        Effect.ensuring(Effect.sync(() => rmSync(folder, { recursive: true, force: true, maxRetries: 50 })))
      )
  ).pipe(
    Effect.map(({ child, folder, startedAt }) => {
      let output = ""
      let since = startedAt
      const keep = (bytes: Buffer) => {
        output += String(bytes)
      }
      child.stdout.on("data", keep)
      child.stderr.on("data", keep)
      const addressIn = () =>
        output.includes("Ctrl-C stops it")
          ? (/gateway +gRPC on (\S+)/.exec(output) ?? /gRPC on (\S+)/.exec(output))?.[1]
          : undefined
      return {
        pid: child.pid!,
        address: Effect.andThen(
          waitFor(child, () => addressIn() !== undefined || isOver(child)),
          Effect.suspend(() => {
            const address = addressIn()
            return address === undefined ? Effect.die(new Error(output)) : Effect.succeed(address)
          })
        ),
        kill: (signal) =>
          Effect.sync(() => {
            if (since === startedAt) since = performance.now()
            child.kill(signal)
          }),
        ended: Effect.callback<Ended>((resume) => {
          const tell = (code: number | null, signal: NodeJS.Signals | null) =>
            resume(Effect.succeed({ code, signal, millis: performance.now() - since }))
          if (isOver(child)) tell(child.exitCode, child.signalCode)
          else child.once("close", tell)
          return Effect.sync(() => child.off("close", tell))
        }),
        output: () => output,
        leftovers: () => [
          ...readdirSync(folder),
          ...execFileSync("ps", ["-eo", "pid=,args="], { encoding: "utf8" })
            .split("\n")
            .filter((line) => line.includes(folder))
        ]
      }
    })
  )
