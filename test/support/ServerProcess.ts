// One process of a server on loopback, which tests may kill, halt and start again, and what groups of them have in
// common. RedisServer.ts and EtcdServer.ts say what it runs.
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type ChildProcess, spawn } from "node:child_process"
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { run, Unavailable } from "../infra/Server.ts"
import * as Ports from "./Ports.ts"

/** A process of a server, and the one that takes its place after a restart. */
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
  /** What its client on the command line prints; fails when that fails, and when nothing answers for 2 seconds. */
  readonly command: (...args: ReadonlyArray<string>) => Effect.Effect<string, Unavailable>
}

/** How a server is run. */
export interface Program {
  /** On the path, or where it is. */
  readonly program: string
  readonly args: ReadonlyArray<string>
  /** Where it works, and where its log is. */
  readonly folder: string
  /** On which the arguments tell it to listen. */
  readonly port: number
  /** What it writes into its log when it takes commands. */
  readonly ready: RegExp
  /** Its client on the command line, with the arguments that lead to it. */
  readonly client: readonly [program: string, ...args: ReadonlyArray<string>]
}

/** Where all of them listen. */
export const host = "127.0.0.1"

const tailOf = (log: string): string => readFileSync(log, "utf8").trim().split("\n").slice(-5).join("\n")

/** Polls in real time, also under a TestClock: what it waits for is another process. Times in milliseconds. */
const until = <E>(
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

/** In a process group of its own, so that Ctrl-C does not reach it, and with its output in a fresh log. */
const spawned = ({ args, folder, program }: Program, log: string): ChildProcess => {
  const out = openSync(log, "w", 0o600)
  const child = spawn(program, args, { cwd: folder, detached: true, stdio: ["ignore", out, out] })
  closeSync(out)
  child.unref()
  // It has no process id then, and an exit code.
  child.on("error", () => undefined)
  return child
}

/**
 * Starts a server and waits until it takes commands; killed, with the children that it has started, when the scope
 * closes. Fails when it ends by itself, and when it does not take commands within 30 seconds.
 */
export const launch = (told: Program) =>
  Effect.gen(function* () {
    const { folder, port, program, ready } = told
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
      child = spawned(told, log)
      yield* until(
        Effect.sync(() => !isRunning() || ready.test(readFileSync(log, "utf8"))),
        { every: 5, within: 30_000, otherwise: () => `${program} on port ${port} is not ready: ${tailOf(log)}` }
      )
      if (!isRunning()) return yield* new Unavailable({ message: `${program} does not run: ${tailOf(log)}` })
    })
    yield* Effect.addFinalizer(() => kill())
    yield* begin
    const [client, ...args] = told.client
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
      command: (...words) => run(client, [...args, ...words], { timeout: 2_000 })
    }
    return node
  })

/** A folder as it was named, or one of its own, which is removed when the scope closes. */
export const folderOr = (folder: string | undefined): Effect.Effect<string, never, Scope.Scope> =>
  folder !== undefined
    ? Effect.succeed(folder)
    : Effect.acquireRelease(
        Effect.sync(() => mkdtempSync(join(tmpdir(), "server-"))),
        (own) => Effect.sync(() => rmSync(own, { recursive: true, force: true, maxRetries: 5 }))
      )

/** The folder of one of several nodes: inside theirs, named by its port. */
export const folderIn = (folder: string, port: number): Effect.Effect<string> =>
  Effect.sync(() => {
    const own = join(folder, String(port))
    mkdirSync(own)
    return own
  })

/** Different free ports: what is free is told one at a time, and may be told twice. */
export const freePorts = (count: number): Effect.Effect<Array<number>> =>
  Effect.gen(function* () {
    const ports = new Set<number>()
    while (ports.size < count) ports.add(yield* Ports.free)
    return [...ports]
  })

/** All nodes at the same time. */
export const together = { concurrency: "unbounded" } as const

/** Until several nodes have come to rest, which they tell by commands: each is a process. Fails after 30 seconds. */
export const settles = (what: string, condition: Effect.Effect<boolean>): Effect.Effect<void, Unavailable> =>
  until(condition, {
    every: 100,
    within: 30_000,
    otherwise: () => `the ${what} has not come to rest within 30 seconds`
  })

/** Whether it holds for all; not while one is down. */
export const holdsForAll = (
  nodes: ReadonlyArray<Node>,
  holds: (node: Node) => Effect.Effect<boolean, Unavailable>
): Effect.Effect<boolean> =>
  Effect.forEach(nodes, holds, together).pipe(
    Effect.map((all) => all.every(Boolean)),
    Effect.orElseSucceed(() => false)
  )

/** What a living node says; those that are down are passed over. */
export const ask = <A>(nodes: ReadonlyArray<Node>, question: (node: Node) => Effect.Effect<A, Unavailable>) =>
  Effect.firstSuccessOf(nodes.map(question))
