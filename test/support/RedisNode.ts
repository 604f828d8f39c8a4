// One process of Redis, whatever it is told to be; RedisServer.ts tells it.
import * as Effect from "effect/Effect"
import { type ChildProcess, spawn } from "node:child_process"
import { closeSync, openSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { run, Unavailable } from "../infra/Server.ts"

/** A Redis process, and the one that takes its place after a restart. */
export interface Node {
  readonly host: "127.0.0.1"
  readonly port: number
  /** Its process id now; that of the last one while it is down. */
  readonly pid: number
  /** The folder that it works in, with its data; kept over restarts, removed with the scope. */
  readonly folder: string
  /**
   * Ends it and waits until it has ended; does nothing when it is down.
   *
   * - `signal`: SIGKILL unless told otherwise, as a crash
   */
  readonly kill: (signal?: NodeJS.Signals) => Effect.Effect<void>
  /** Starts it again, on the same port, in the same folder, with the same arguments; kills it first when it runs. */
  readonly restart: Effect.Effect<void, Unavailable>
  /** Stops it where it stands: connections stay open and nothing answers. */
  readonly pause: Effect.Effect<void>
  /** Lets it go on after {@link pause}. */
  readonly resume: Effect.Effect<void>
  /** What `redis-cli` prints, also when the server refuses; fails when nothing answers for 2 seconds. */
  readonly command: (...args: ReadonlyArray<string>) => Effect.Effect<string, Unavailable>
}

/** Where all of them listen. */
export const host = "127.0.0.1"

const tailOf = (log: string): string => readFileSync(log, "utf8").trim().split("\n").slice(-5).join("\n")

/** Polls in real time, also under a TestClock: what it waits for is another process. Times in milliseconds. */
export const until = <E>(
  condition: Effect.Effect<boolean, E>,
  { every, within, otherwise }: { readonly every: number; readonly within: number; readonly otherwise: () => string }
): Effect.Effect<void, E | Unavailable> =>
  Effect.gen(function* () {
    const end = performance.now() + within
    while (!(yield* condition)) {
      if (performance.now() > end) return yield* new Unavailable({ message: otherwise() })
      yield* Effect.promise(() => sleep(every))
    }
  })

/** What a server writes into its log when it takes commands. */
const isReady = (log: string): boolean => /Ready to accept connections|\+monitor master/.test(readFileSync(log, "utf8"))

/** In a process group of its own, so that Ctrl-C does not reach it, and with its output in a fresh log. */
const spawned = (args: ReadonlyArray<string>, folder: string, log: string): ChildProcess => {
  const out = openSync(log, "w", 0o600)
  const child = spawn("redis-server", args, { cwd: folder, detached: true, stdio: ["ignore", out, out] })
  closeSync(out)
  child.unref()
  // It has no process id then, and an exit code.
  child.on("error", () => undefined)
  return child
}

/**
 * Starts redis-server and waits until it takes commands; killed, with the children that save and replicate for it, when
 * the scope closes.
 *
 * - `folder`: where it works, and where its log is
 * - `port`: on which the arguments tell it to listen
 */
export const launch = (folder: string, port: number, args: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const log = join(folder, "log")
    let child: ChildProcess | undefined
    const isRunning = () => child !== undefined && child.exitCode === null && child.signalCode === null
    const ended = Effect.promise(async () => {
      while (isRunning()) await sleep(5)
    })
    // To the whole group, so that a child that it has forked ends or halts with it.
    const signal = (name: NodeJS.Signals) =>
      Effect.sync(() => {
        if (isRunning() && child?.pid !== undefined) process.kill(-child.pid, name)
      })
    const kill = (name: NodeJS.Signals = "SIGKILL") => Effect.andThen(signal(name), ended)
    const begin = Effect.gen(function* () {
      child = spawned(args, folder, log)
      yield* until(
        Effect.sync(() => !isRunning() || isReady(log)),
        { every: 5, within: 10_000, otherwise: () => `redis-server on port ${port} is not ready: ${tailOf(log)}` }
      )
      if (!isRunning()) return yield* new Unavailable({ message: `redis-server does not run: ${tailOf(log)}` })
    })
    yield* Effect.addFinalizer(() => kill())
    yield* begin
    const node: Node = {
      host,
      port,
      folder,
      get pid() {
        return child!.pid!
      },
      kill,
      restart: Effect.andThen(kill(), begin),
      pause: signal("SIGSTOP"),
      resume: signal("SIGCONT"),
      command: (...words) => run("redis-cli", ["-h", host, "-p", String(port), ...words], { timeout: 2_000 })
    }
    return node
  })
