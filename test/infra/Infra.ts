// Starts the real servers, remembers what it started, and stops that. All state is in .infra/ :
//   servers.json  the addresses, or why a server is missing; what tests read
//   state.json    what runs, and who uses it
import * as Effect from "effect/Effect"
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { type Composed, isAlive, isListening, isReachable, run, type Server, type Unavailable } from "./Server.ts"
import { servers as all } from "./servers.ts"

/** Somebody who wants the servers to stay: a command that said `up`, or a process id of a test run. */
export type User = "up" | number

/** A server that is processes of ours, all in one folder. */
interface Started {
  readonly pids: ReadonlyArray<number>
  readonly folder: string
}

interface State {
  readonly users: ReadonlyArray<User>
  /** The servers that are processes of ours. */
  readonly processes: Readonly<Record<string, Started>>
  /** Whether docker compose runs the others. */
  readonly compose: boolean
}

/** Where each server answers, or why it is missing. */
export type Addresses = Readonly<Record<string, { readonly port: number } | { readonly missing: string }>>

type AnyServer = Server<{ readonly port: number }>

/** Starts and stops a set of servers, with its state in a folder. */
export interface Infra {
  /**
   * Makes every server answer that can be had, reuses those that run, and writes the addresses. Never fails: what
   * cannot be had is written there with the reason.
   *
   * - `user`: for whom; the servers stay until each user has called `down`
   */
  readonly up: (user: User) => Effect.Effect<Addresses>
  /**
   * Says that a user no longer needs the servers; stops them, and removes their data, when nobody does.
   *
   * - `user`: as for `up`; "all" stops them whoever uses them
   */
  readonly down: (user: User | "all") => Effect.Effect<void>
  /** Installs what the servers run on; gives those that cannot be had, with the reason. */
  readonly install: Effect.Effect<Addresses>
}

const repository = fileURLToPath(new URL("../../", import.meta.url))
const composeProject = ["compose", "--project-name", "xdooria-test"]

const nothing: State = { users: [], processes: {}, compose: false }

const read = <A>(file: string, otherwise: A): A =>
  existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as A) : otherwise

/** Whole or not at all, and for nobody else: the addresses hold a password. */
const write = (file: string, value: unknown): void => {
  writeFileSync(`${file}.new`, JSON.stringify(value, undefined, 2), { mode: 0o600 })
  renameSync(`${file}.new`, file)
}

/** One at a time, over all processes; the lock of a process that has died is taken over. */
const exclusively =
  (lock: string) =>
  <A, E>(work: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.acquireUseRelease(
      Effect.promise(async () => {
        for (;;) {
          try {
            return writeFileSync(lock, String(process.pid), { flag: "wx" })
          } catch {
            if (existsSync(lock) && !isAlive(Number(readFileSync(lock, "utf8")))) rmSync(lock, { force: true })
            else await sleep(50)
          }
        }
      }),
      () => work,
      () => Effect.sync(() => rmSync(lock))
    )

/** The process is one that we started, not another one that got its number: its command line names the folder. */
const isOurs = (pid: number, folder: string): boolean => {
  if (!isAlive(pid)) return false
  const commandLine = `/proc/${pid}/cmdline`
  return !existsSync(commandLine) || readFileSync(commandLine, "utf8").includes(folder)
}

/** Those of its processes that still run. */
const living = ({ pids, folder }: Started): ReadonlyArray<number> => pids.filter((pid) => isOurs(pid, folder))

const isUp = (state: State, addresses: Addresses, name: string, server: AnyServer): Effect.Effect<boolean> => {
  const address = addresses[name]
  const owned = state.processes[name]
  if (address === undefined || !("port" in address) || server.isCurrent?.(address) === false) {
    return Effect.succeed(false)
  }
  if (owned === undefined ? !state.compose : living(owned).length < owned.pids.length) return Effect.succeed(false)
  return isListening(address.port)
}

const livingUsers = (state: State, without: User): ReadonlyArray<User> =>
  state.users.filter((user) => user !== without && (user === "up" || isAlive(user)))

const withDocker: Effect.Effect<boolean> = run("docker", ["info"]).pipe(
  Effect.andThen(run("docker", ["compose", "version"])),
  Effect.timeout("10 seconds"),
  Effect.isSuccess
)

type Entries = ReadonlyArray<readonly [string, AnyServer]>

const startComposed = (
  services: ReadonlyArray<readonly [string, Composed<{ readonly port: number }>]>
): Effect.Effect<Addresses, Unavailable> =>
  Effect.gen(function* () {
    // Port 0 of the host: whichever is free.
    const ports = Object.fromEntries(services.map(([, { portVariable }]) => [portVariable, "0"]))
    const options = { cwd: repository, env: { ...process.env, ...ports } }
    const names = services.map(([, { service }]) => service)
    yield* run("docker", [...composeProject, "up", "--detach", "--wait", ...names], options)
    const addresses: Record<string, { readonly port: number }> = {}
    for (const [name, { address, port, service }] of services) {
      const printed = yield* run("docker", [...composeProject, "port", service, String(port)], options)
      addresses[name] = address(Number(printed.trim().split(":").at(-1)))
    }
    return addresses
  })

/** Ends a server, by force when it does not within 5 seconds, and removes what it wrote. */
const stop = (started: Started, signal: NodeJS.Signals): Effect.Effect<void> =>
  Effect.promise(async () => {
    const end = performance.now() + 5_000
    for (const pid of living(started)) process.kill(pid, signal)
    while (living(started).length > 0 && performance.now() < end) await sleep(10)
    // The whole group: what it had started itself must not outlive it.
    for (const pid of living(started)) process.kill(-pid, "SIGKILL")
    while (living(started).length > 0) await sleep(10)
    rmSync(started.folder, { recursive: true, force: true, maxRetries: 5 })
  })

/**
 * The servers of a folder.
 *
 * - `folder`: for the state and the data; made when something is started, and removed when nothing is left in it
 * - `servers`: by name
 */
export const make = (folder: string, servers: Readonly<Record<string, AnyServer>>): Infra => {
  const entries: Entries = Object.entries(servers)
  const stateFile = join(folder, "state.json")
  const serversFile = join(folder, "servers.json")
  const locked = exclusively(join(folder, "lock"))

  const start = (name: string, server: AnyServer) =>
    Effect.suspend(() => {
      const own = mkdtempSync(join(isReachable(folder) ? folder : tmpdir(), `${name}-`))
      return server.start(own).pipe(
        Effect.map((running) => ({ ...running, folder: own })),
        Effect.tapError(() => Effect.sync(() => rmSync(own, { recursive: true, force: true })))
      )
    })

  const startProcesses = Effect.fnUntraced(function* (absent: Entries, state: State) {
    const addresses: Record<string, Addresses[string]> = {}
    const processes: Record<string, Started> = { ...state.processes }
    const startOne = Effect.fnUntraced(function* ([name, server]: Entries[number]) {
      const dead = processes[name]
      if (dead !== undefined) yield* stop(dead, server.stopSignal)
      delete processes[name]
      const outcome = yield* Effect.result(start(name, server))
      if (outcome._tag === "Success") {
        const { address, folder: own, pids } = outcome.success
        addresses[name] = address
        processes[name] = { folder: own, pids }
      } else {
        addresses[name] = { missing: `${outcome.failure.message}; run \`npm run infra:install\`` }
      }
    })
    yield* Effect.forEach(absent, startOne, { concurrency: "unbounded", discard: true })
    return { ...state, addresses, processes }
  })

  /** By docker compose where an engine answers and has or gets the images; as processes of this machine otherwise. */
  const startAll = Effect.fnUntraced(function* (absent: Entries, state: State) {
    const services = absent.flatMap(([name, { compose }]) => (compose === undefined ? [] : [[name, compose] as const]))
    if (services.length === 0 || (!state.compose && !(yield* withDocker))) return yield* startProcesses(absent, state)
    const composed = yield* Effect.orElseSucceed(startComposed(services), (): Addresses => ({}))
    const others = absent.filter(([name]) => !(name in composed))
    const outcome = yield* startProcesses(others, { ...state, compose: true })
    return { ...outcome, addresses: { ...composed, ...outcome.addresses } }
  })

  const up = Effect.fnUntraced(function* (user: User) {
    const state = read(stateFile, nothing)
    const known = read<Addresses>(serversFile, {})
    const absent = yield* Effect.filter(entries, ([name, server]) =>
      Effect.map(isUp(state, known, name, server), (is) => !is)
    )
    const { addresses, ...rest } = absent.length === 0 ? { ...state, addresses: {} } : yield* startAll(absent, state)
    const now = Object.fromEntries(entries.map(([name]) => [name, addresses[name] ?? known[name]!]))
    write(serversFile, now)
    write(stateFile, { ...rest, users: [...livingUsers(state, user), user] } satisfies State)
    return now
  })

  const down = Effect.fnUntraced(function* (user: User | "all") {
    const state = read(stateFile, nothing)
    const users = user === "all" ? [] : livingUsers(state, user)
    if (users.length > 0) return write(stateFile, { ...state, users })
    for (const [name, started] of Object.entries(state.processes)) {
      yield* stop(started, servers[name]?.stopSignal ?? "SIGTERM")
    }
    if (state.compose)
      yield* Effect.ignore(run("docker", [...composeProject, "down", "--volumes"], { cwd: repository }))
    rmSync(stateFile, { force: true })
    rmSync(serversFile, { force: true })
  })

  return {
    up: (user) =>
      Effect.suspend(() => {
        mkdirSync(folder, { recursive: true })
        return locked(up(user))
      }),
    down: (user) =>
      Effect.suspend(() => {
        if (!existsSync(folder)) return Effect.void
        return Effect.map(locked(down(user)), () => {
          if (readdirSync(folder).length === 0) rmdirSync(folder)
        })
      }),
    install: Effect.map(
      Effect.forEach(entries, ([name, server]) =>
        server.install.pipe(
          Effect.as([]),
          Effect.catch((error) => Effect.succeed([[name, { missing: error.message }] as const]))
        )
      ),
      (outcomes) => Object.fromEntries(outcomes.flat())
    )
  }
}

/** The servers of this repository, in .infra/ . */
export const infra: Infra = make(join(repository, ".infra"), all)
