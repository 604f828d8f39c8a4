// What a real server is to the tests. One file per kind (postgres.ts, redis.ts), listed in servers.ts.
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { spawn, type SpawnOptions } from "node:child_process"
import { accessSync, constants, existsSync, readFileSync, statSync } from "node:fs"
import * as Net from "node:net"
import { dirname } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"

/** A server that cannot be had here, and what would provide it. */
export class Unavailable extends Schema.TaggedError<Unavailable>("xdooria/test/Unavailable")("Unavailable", {
  message: Schema.String
}) {}

/** A started server: where it answers, and the processes that it is. */
export interface Running<A> {
  readonly address: A
  readonly pids: ReadonlyArray<number>
}

/**
 * A server that the tests need.
 *
 * - `install`: makes available what it runs on; does nothing when that is there
 * - `start`: starts it in an empty folder of its own, and returns when it answers. Each of its processes names that
 *   folder on its command line and outlives this process, in a process group of its own so that Ctrl-C does not reach
 *   it. Where the start fails, none of them is left
 * - `stopSignal`: makes it end at once and in order
 * - `isCurrent`: whether one that runs is the one that would be started now; always, where nothing here can change it
 * - `compose`: its service in docker-compose.yml, the variable there for its port, the port inside, and the address.
 *   A server without one runs as processes of this machine also where docker answers
 */
export interface Server<A> {
  readonly install: Effect.Effect<void, Unavailable>
  readonly start: (folder: string) => Effect.Effect<Running<A>, Unavailable>
  readonly stopSignal: NodeJS.Signals
  isCurrent?(address: A): boolean
  readonly compose?: Composed<A>
}

/** A server's part in docker-compose.yml, see {@link Server}. */
export interface Composed<A> {
  readonly service: string
  readonly portVariable: string
  readonly port: number
  readonly address: (port: number) => A
}

/** The user and group that servers run as when this process is root, which some of them refuse: nobody. */
export const unprivileged: { readonly uid?: number; readonly gid?: number } =
  process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {}

/** Whether that user may reach a path: every folder above it must let others through. */
export const isReachable = (path: string): boolean => {
  if (unprivileged.uid === undefined) return true
  for (let folder = path; folder !== dirname(folder); folder = dirname(folder)) {
    if ((statSync(folder).mode & 0o001) === 0) return false
  }
  return true
}

/** Whether a file may be executed. */
export const isExecutable = (path: string): boolean => {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** What was started stays, unless the start fails; for starts that are made for tests of their own. */
export const staying = <A, E>(start: Effect.Effect<A, E, Scope.Scope>): Effect.Effect<A, E> =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    return yield* start.pipe(
      Scope.provide(scope),
      Effect.onError((cause) => Scope.close(scope, Exit.failCause(cause)))
    )
  })

/** Runs a program to its end; fails with the last lines of what it printed. */
export const run = (
  command: string,
  args: ReadonlyArray<string>,
  options: SpawnOptions = {}
): Effect.Effect<string, Unavailable> =>
  Effect.callback((resume) => {
    const child = spawn(command, args, { ...options, stdio: ["ignore", "pipe", "pipe"] })
    let output = ""
    for (const stream of [child.stdout, child.stderr]) stream?.on("data", (bytes: Buffer) => (output += String(bytes)))
    child.on("error", (error) => resume(Effect.fail(new Unavailable({ message: `${command}: ${error.message}` }))))
    child.on("close", (code) =>
      resume(
        code === 0
          ? Effect.succeed(output)
          : Effect.fail(
              new Unavailable({
                message: `${command} ended with ${code}: ${output.trim().split("\n").slice(-5).join("\n")}`
              })
            )
      )
    )
  })

const accepts = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = Net.connect({ host: "127.0.0.1", port, timeout: 1_000 })
    const answer = (open: boolean) => () => {
      socket.destroy()
      resolve(open)
    }
    socket.on("connect", answer(true)).on("error", answer(false)).on("timeout", answer(false))
  })

/** Whether something listens on a port of 127.0.0.1. */
export const isListening = (port: number): Effect.Effect<boolean> => Effect.promise(() => accepts(port))

/** Waits until a port of 127.0.0.1 is listened on, or the process that should do so has ended. */
export const awaitPort = (port: number, pid: number, log: string): Effect.Effect<void, Unavailable> =>
  Effect.promise(async () => {
    const end = performance.now() + 30_000
    while (performance.now() < end && isAlive(pid)) {
      if (await accepts(port)) return true
      await sleep(20)
    }
    return false
  }).pipe(
    Effect.filterOrFail(
      (open) => open,
      () => {
        const said = existsSync(log) ? readFileSync(log, "utf8").trim().split("\n").slice(-5).join("\n") : ""
        return new Unavailable({ message: `nothing listens on port ${port}: ${said}` })
      }
    ),
    Effect.asVoid
  )

/** Whether a process exists. */
export const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    // EPERM: it is there and belongs to somebody else.
    return (error as NodeJS.ErrnoException).code === "EPERM"
  }
}
