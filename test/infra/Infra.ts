// Starts the real servers, remembers what it started, and stops that. All state is in .infra/ :
//   servers.json  the addresses, or why a server is missing; what tests read
//   state.json    what runs, and who uses it
import * as Effect from "effect/Effect"
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmdirSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { isAlive, isListening, isReachable, run, type Running, type Server, type Unavailable } from "./Server.ts"
import { servers as all } from "./servers.ts"

/** Somebody who wants the servers to stay: a command that said `up`, or a process id of a test run. */
type User = "up" | number

interface Process {
  readonly pid: number
  readonly folder: string
}

interface State {
  readonly users: ReadonlyArray<User>
  /** The servers that are processes of ours. */
  readonly processes: Readonly<Record<string, Process>>
  /** Whether docker compose runs the others. */
  readonly compose: boolean
}

type Addresses = Readonly<Record<string, { readonly port: number } | { readonly missing: string }>>

const entries = Object.entries(all) as ReadonlyArray<readonly [string, Server<{ readonly port: number }>]>
const repository = fileURLToPath(new URL("../../", import.meta.url))
const folder = join(repository, ".infra")
const stateFile = join(folder, "state.json")
const serversFile = join(folder, "servers.json")
const lockFile = join(folder, "lock")
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
const exclusively = <A, E>(work: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.acquireUseRelease(
    Effect.promise(async () => {
      mkdirSync(folder, { recursive: true })
      for (;;) {
        try {
          return writeFileSync(lockFile, String(process.pid), { flag: "wx" })
        } catch {
          if (existsSync(lockFile) && !isAlive(Number(readFileSync(lockFile, "utf8"))))
            rmSync(lockFile, { force: true })
          else await sleep(50)
        }
      }
    }),
    () => work,
    () => Effect.sync(() => rmSync(lockFile))
  )

/** The process is the one that we started, not another one that got its number: its command line names the folder. */
const isOurs = ({ pid, folder }: Process): boolean => {
  if (!isAlive(pid)) return false
  const commandLine = `/proc/${pid}/cmdline`
  return !existsSync(commandLine) || readFileSync(commandLine, "utf8").includes(folder)
}

const isUp = (state: State, addresses: Addresses, name: string): Effect.Effect<boolean> => {
  const address = addresses[name]
  const owned = state.processes[name]
  if (address === undefined || !("port" in address)) return Effect.succeed(false)
  if (owned === undefined ? !state.compose : !isOurs(owned)) return Effect.succeed(false)
  return isListening(address.port)
}

const withDocker: Effect.Effect<boolean> = run("docker", ["info"]).pipe(
  Effect.andThen(run("docker", ["compose", "version"])),
  Effect.timeout("10 seconds"),
  Effect.isSuccess
)

const startComposed = (names: ReadonlyArray<(typeof entries)[number]>): Effect.Effect<Addresses, Unavailable> =>
  Effect.gen(function* () {
    const env = { ...process.env, ...Object.fromEntries(names.map(([, { compose }]) => [compose.portVariable, "0"])) }
    const services = names.map(([, { compose }]) => compose.service)
    yield* run("docker", [...composeProject, "up", "--detach", "--wait", ...services], { cwd: repository, env })
    const addresses: Record<string, { readonly port: number }> = {}
    for (const [name, { compose }] of names) {
      const args = [...composeProject, "port", compose.service, String(compose.port)]
      const printed = yield* run("docker", args, { cwd: repository, env })
      addresses[name] = compose.address(Number(printed.trim().split(":").at(-1)))
    }
    return addresses
  })

const newFolder = (name: string): string => mkdtempSync(join(isReachable(folder) ? folder : tmpdir(), `${name}-`))

const startProcess = (
  name: string,
  server: Server<{ readonly port: number }>
): Effect.Effect<Running<{ readonly port: number }> & Process, Unavailable> =>
  Effect.suspend(() => {
    const own = newFolder(name)
    return server.start(own).pipe(
      Effect.map((running) => ({ ...running, folder: own })),
      Effect.tapError(() => Effect.sync(() => rmSync(own, { recursive: true, force: true })))
    )
  })

/**
 * Makes every server answer that can be had, reuses those that run, and writes `.infra/servers.json`. Never fails:
 * what cannot be had is written there with the reason.
 *
 * - `user`: for whom; the servers stay until each user has called {@link down}
 */
export const up = (user: User): Effect.Effect<Addresses> =>
  exclusively(
    Effect.gen(function* () {
      const state = read(stateFile, nothing)
      const known = read<Addresses>(serversFile, {})
      const addresses: Record<string, Addresses[string]> = {}
      const processes: Record<string, Process> = { ...state.processes }
      const down: Array<(typeof entries)[number]> = []
      for (const entry of entries) {
        const [name] = entry
        if (yield* isUp(state, known, name)) addresses[name] = known[name]!
        else down.push(entry)
      }
      const compose = state.compose || (down.length > 0 && (yield* withDocker))
      if (compose && down.length > 0) {
        const missing = (error: Unavailable) =>
          Object.fromEntries(down.map(([name]) => [name, { missing: `docker compose: ${error.message}` }]))
        Object.assign(addresses, yield* Effect.catch(startComposed(down), (error) => Effect.succeed(missing(error))))
      } else {
        for (const [name, server] of down) {
          const left = processes[name]
          if (left !== undefined) yield* stop(left, server.stopSignal)
          delete processes[name]
          const outcome = yield* Effect.result(startProcess(name, server))
          if (outcome._tag === "Success") {
            const { address, folder, pid } = outcome.success
            addresses[name] = address
            processes[name] = { folder, pid }
          } else {
            addresses[name] = { missing: `${outcome.failure.message}; run \`npm run infra:install\`` }
          }
        }
      }
      write(serversFile, addresses)
      write(stateFile, { users: [...livingUsers(state, user), user], processes, compose } satisfies State)
      return addresses
    })
  )

const livingUsers = (state: State, without: User): ReadonlyArray<User> =>
  state.users.filter((user) => user !== without && (user === "up" || isAlive(user)))

/** Ends a server, by force when it does not within 5 seconds, and removes what it wrote. */
const stop = (started: Process, signal: NodeJS.Signals): Effect.Effect<void> =>
  Effect.promise(async () => {
    const end = performance.now() + 5_000
    if (isOurs(started)) process.kill(started.pid, signal)
    while (isOurs(started) && performance.now() < end) await sleep(10)
    // The whole group: what it had started itself must not outlive it.
    if (isOurs(started)) process.kill(-started.pid, "SIGKILL")
    while (isOurs(started)) await sleep(10)
    rmSync(started.folder, { recursive: true, force: true, maxRetries: 5 })
  })

/**
 * Says that a user no longer needs the servers; stops them, and removes their data, when nobody does.
 *
 * - `user`: as for {@link up}; "all" stops them whoever uses them
 */
export const down = (user: User | "all"): Effect.Effect<void> =>
  exclusively(
    Effect.gen(function* () {
      const state = read(stateFile, nothing)
      const users = user === "all" ? [] : livingUsers(state, user)
      if (users.length > 0) return write(stateFile, { ...state, users })
      for (const [name, started] of Object.entries(state.processes)) {
        yield* stop(started, all[name as keyof typeof all].stopSignal)
      }
      if (state.compose)
        yield* Effect.ignore(run("docker", [...composeProject, "down", "--volumes"], { cwd: repository }))
      rmSync(stateFile, { force: true })
      rmSync(serversFile, { force: true })
    })
  ).pipe(
    Effect.andThen(
      Effect.sync(() => {
        // Gone when nothing of anybody else is in it.
        try {
          rmdirSync(folder)
        } catch {}
      })
    )
  )

/** Installs what the servers run on; gives the names of those that cannot be had, with the reason. */
export const install: Effect.Effect<Addresses> = Effect.map(
  Effect.forEach(entries, ([name, server]) =>
    server.install.pipe(
      Effect.as([]),
      Effect.catch((error) => Effect.succeed([[name, { missing: error.message }] as const]))
    )
  ),
  (outcomes) => Object.fromEntries(outcomes.flat())
)
