// Redis servers as processes of this machine, on loopback: alone, as a cluster, and with sentinels. For tests that need
// one of their own, because they kill it or configure it, and for those that all tests share (infra/redis.ts).
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { spawn } from "node:child_process"
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { isAlive, run, Unavailable } from "../infra/Server.ts"
import * as Ports from "./Ports.ts"

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
  /** What `redis-cli` prints for a command, an error of the server included; fails when nothing answers for 2 seconds. */
  readonly command: (...args: ReadonlyArray<string>) => Effect.Effect<string, Unavailable>
}

/** Where a server keeps its data and what it is told beyond that. */
export interface Options {
  /** A folder that is there; one of its own unless told otherwise, removed when the scope closes. */
  readonly folder?: string
  /** More arguments of redis-server, after those of this file, which they override: `["--appendonly", "yes"]`. */
  readonly args?: ReadonlyArray<string>
  /** Whether its port speaks TLS, and only that; the certificates are among the arguments. */
  readonly tls?: boolean
}

const host = "127.0.0.1"

const temporaryFolder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "redis-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }))
)

const folderOf = (options: Options): Effect.Effect<string, never, Scope.Scope> =>
  options.folder === undefined ? temporaryFolder : Effect.succeed(options.folder)

const tailOf = (log: string): string => readFileSync(log, "utf8").trim().split("\n").slice(-5).join("\n")

/** Polls in real time, also under a TestClock: what it waits for is another process. */
const until = <E>(
  condition: Effect.Effect<boolean, E>,
  millis: number,
  otherwise: () => string
): Effect.Effect<void, E | Unavailable> =>
  Effect.gen(function* () {
    const end = performance.now() + millis
    while (!(yield* condition)) {
      if (performance.now() > end) return yield* Effect.fail(new Unavailable({ message: otherwise() }))
      yield* Effect.promise(() => sleep(20))
    }
  })

/** What a server writes into its log when it takes commands. */
const isReady = (log: string): boolean => /Ready to accept connections|\+monitor master/.test(readFileSync(log, "utf8"))

/** Starts redis-server; killed, with the children that save and replicate for it, when the scope closes. */
const launch = (folder: string, port: number, args: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const log = join(folder, "log")
    let pid = 0
    const isRunning = () => pid !== 0 && isAlive(pid)
    const ended = Effect.promise(async () => {
      while (isRunning()) await sleep(5)
    })
    // To the whole group, so that a child that it has forked ends or halts with it.
    const signal = (name: NodeJS.Signals) =>
      Effect.sync(() => {
        if (isRunning()) process.kill(-pid, name)
      })
    const kill = (name: NodeJS.Signals = "SIGKILL") => Effect.andThen(signal(name), ended)
    const begin = Effect.gen(function* () {
      pid = yield* spawned(args, folder, log)
      yield* until(
        Effect.sync(() => !isRunning() || isReady(log)),
        10_000,
        () => `redis-server on port ${port} is not ready: ${tailOf(log)}`
      )
      if (!isRunning()) {
        return yield* Effect.fail(new Unavailable({ message: `redis-server has ended: ${tailOf(log)}` }))
      }
    })
    yield* Effect.addFinalizer(() => kill())
    yield* begin
    return {
      host,
      port,
      folder,
      get pid() {
        return pid
      },
      kill,
      restart: Effect.andThen(kill(), begin),
      pause: signal("SIGSTOP"),
      resume: signal("SIGCONT"),
      command: (...words) => run("redis-cli", ["-h", host, "-p", String(port), ...words], { timeout: 2_000 })
    } satisfies Node as Node
  })

/** In a process group of its own, so that Ctrl-C does not reach it, and with its output in a fresh log. */
const spawned = (args: ReadonlyArray<string>, folder: string, log: string): Effect.Effect<number, Unavailable> =>
  Effect.callback((resume) => {
    const out = openSync(log, "w", 0o600)
    const child = spawn("redis-server", args, { cwd: folder, detached: true, stdio: ["ignore", out, out] })
    closeSync(out)
    child.unref()
    child.on("error", (error) => resume(Effect.fail(new Unavailable({ message: `redis-server: ${error.message}` }))))
    child.on("spawn", () => resume(Effect.succeed(child.pid!)))
  })

/**
 * Arguments of every server but a sentinel. Nothing is kept, a replica has its copy at once, an end does not wait for
 * replicas, and the command line stays as it is, so that it names the folder.
 */
const common: Readonly<Record<string, string>> = {
  "--bind": host,
  "--save": "",
  "--appendonly": "no",
  "--repl-diskless-sync": "yes",
  "--repl-diskless-sync-delay": "0",
  "--repl-ping-replica-period": "1",
  "--shutdown-timeout": "0",
  "--set-proc-title": "no"
}

const argsOf = (folder: string, port: number, { args = [], tls = false }: Options): ReadonlyArray<string> => [
  ...Object.entries({ ...common, "--dir": folder }).flat(),
  ...(tls ? ["--port", "0", "--tls-port", String(port)] : ["--port", String(port)]),
  ...args
]

/**
 * One server, without a password.
 *
 * Fails with Unavailable when redis-server is not on the path or does not take its arguments. Killed, and its data
 * removed, when the scope closes.
 */
export const start = Effect.fnUntraced(function* (options: Options = {}) {
  const folder = yield* folderOf(options)
  const port = yield* Ports.free
  return yield* launch(folder, port, argsOf(folder, port, options))
})
