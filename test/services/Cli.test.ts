import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { SqlClient } from "effect/sql/SqlClient"
import { spawn } from "node:child_process"
import { closeSync, existsSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { layerLive } from "xdooria/pg/live"
import * as Ports from "../support/Ports.ts"
import * as RealServer from "../support/RealServer.ts"
import * as TemporaryDatabase from "../support/TemporaryDatabase.ts"
import * as ServeProcess from "./ServeProcess.ts"
import * as Xdooria from "./Xdooria.ts"

const xdooria = Xdooria.run

const temporaryFile = (name: string, text: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const folder = mkdtempSync(join(tmpdir(), "xdooria-cli-"))
      writeFileSync(join(folder, name), text)
      return { folder, file: join(folder, name) }
    }),
    ({ folder }) => Effect.sync(() => rmSync(folder, { recursive: true }))
  )

RealServer.embedded("xdooria on PgEmbedded", () => {
  it.live("serves all services, is called through the gateway, and leaves nothing on Ctrl-C", () =>
    Effect.gen(function* () {
      const serve = yield* ServeProcess.start([])
      const addr = yield* serve.address
      assert.match(serve.output(), /auth +gRPC on \S+\n +PostgreSQL \(embedded\) on (\S+)xdooria_auth\n/)
      assert.match(serve.output(), /game +gRPC on \S+\n +PostgreSQL \(embedded\) on (\S+)xdooria_game\n/)
      assert.match(
        serve.output(),
        /gateway +gRPC on \S+\n +sessions, tokens, messages, registry \(embedded\) in memory\n/
      )
      const call = (method: string, ...rest: ReadonlyArray<string>) =>
        xdooria(["call", "--addr", addr, ...rest.slice(1), method, ...rest.slice(0, 1)])

      const health = yield* call("game.GameService/HealthCheck")
      assert.deepStrictEqual(JSON.parse(health.stdout), { status: "SERVING" })
      const listed = yield* xdooria(["grpc", "list", "--addr", addr])
      assert.match(listed.stdout, /auth.AuthService\/Login +unary\n[^]*game.GameService\/Buy +unary\n/)
      const registered = yield* call(
        "auth.AuthService/Register",
        '{"name":"ann","password":"correct horse"}',
        "--field",
        "tokens.access_token"
      )
      const identity = ["--token", registered.stdout.trimEnd()]
      const created = yield* call(
        "game.GameService/CreatePlayer",
        '{"name":"Ann"}',
        ...identity,
        "--field",
        "player.level"
      )
      assert.deepStrictEqual(created, { code: 0, stdout: "1\n", stderr: "" })
      const others = yield* call("game.GameService/GetPlayer", '{"player_id":"nobody"}', ...identity)
      assert.deepStrictEqual(others, {
        code: 1,
        stdout: "",
        stderr: 'PERMISSION_DENIED NotAllowed {"role":"game-master"}\n'
      })
      const nameless = yield* call("game.GameService/GetPlayer", "{}")
      assert.match(nameless.stderr, /^UNAUTHENTICATED /)
      const absent = yield* call("game.GameService/HealthCheck", "{}", "--field", "state")
      assert.deepStrictEqual(absent, { code: 1, stdout: "", stderr: "the response has no field state\n" })

      yield* serve.kill("SIGINT")
      const { code } = yield* serve.ended
      assert.strictEqual(code, 0, serve.output())
      const stopped = [...serve.output().matchAll(/grpc server stopped service=(\S+)/g)].map(([, name]) => name)
      assert.deepStrictEqual(stopped, ["gateway-service", "game-service", "auth-service"])
      assert.deepStrictEqual(serve.leftovers(), [])
    }).pipe(Effect.scoped)
  )

  it.live("plays with many players, and finds that the services keep what they said", () =>
    Effect.gen(function* () {
      const serve = yield* ServeProcess.start([])
      const addr = yield* serve.address
      const { code, stderr, stdout } = yield* xdooria(["demo", "--players", "3", "--seconds", "2", "--addr", addr])
      assert.deepStrictEqual([code, stderr], [0, ""], stdout)
      assert.match(stdout, /\nsecond 2 of 2  connected 3 of 3  calls\/s \d+ /)
      assert.match(stdout, /\nreconciliation: clean, \d+ acknowledged changes are there once/)
    }).pipe(Effect.scoped)
  )

  it.live("says which port is taken and what to do", () =>
    Effect.gen(function* () {
      const first = yield* ServeProcess.start(["--services", "auth"])
      const port = (yield* first.address).split(":").at(-1)!
      const second = yield* ServeProcess.start(["--services", "auth"], { XDOORIA_AUTH__SERVER_PORT: port })
      const { code } = yield* second.ended
      assert.strictEqual(code, 1)
      assert.include(second.output(), `127.0.0.1:${port}: another process does`)
      assert.notInclude(second.output(), "    at ")
      assert.deepStrictEqual(second.leftovers(), [])
    }).pipe(Effect.scoped)
  )
})

describe("xdooria", () => {
  it.live("tells all that is wrong with the environment at once, and shows no secret", () =>
    Effect.gen(function* () {
      const { code, stderr } = yield* xdooria(["serve"], {
        XDOORIA_SERVER_PORT: "80abc",
        XDOORIA_DATABASE_MAX_CONNS: "-1",
        XDOORIA_DATABASE_PASWORD: "canary-secret"
      })
      assert.strictEqual(code, 1)
      for (const part of ["env XDOORIA_SERVER_PORT", "env XDOORIA_DATABASE_MAX_CONNS", "XDOORIA_DATABASE_PASSWORD?"]) {
        assert.include(stderr, part)
      }
      assert.notInclude(stderr, "canary-secret")
    })
  )

  it.live("refuses one port for two services before it starts any, and says how to give each its own", () =>
    Effect.gen(function* () {
      const { code, stderr, stdout } = yield* xdooria(["serve"], {
        XDOORIA_SERVER_PORT: "21000",
        XDOORIA_GAEM__SERVER_PORT: "21001"
      })
      assert.deepStrictEqual([code, stdout], [1, ""])
      assert.strictEqual(
        stderr,
        "warning: env XDOORIA_GAEM__SERVER_PORT: expected the variable of a service, got an unknown one (did you mean XDOORIA_GAME__SERVER_PORT?)\n" +
          "env XDOORIA_SERVER_PORT: server.port: expected a port for each service of the process, or 0, got 21000 for auth and for game (set XDOORIA_GAME__SERVER_PORT for game alone)\n"
      )
    })
  )

  it.live("says that there is no gateway to play at", () =>
    Effect.gen(function* () {
      const port = yield* Ports.free
      const { code, stderr } = yield* xdooria(["demo", "--addr", `127.0.0.1:${port}`])
      assert.deepStrictEqual([code, stderr.includes(`No gateway answers at 127.0.0.1:${port}`)], [1, true])
      assert.strictEqual((yield* xdooria(["demo", "--players", "0"])).code, 1)
      assert.strictEqual((yield* xdooria(["demo", "--addr", "nowhere"])).code, 1)
    })
  )

  it.live("refuses an embedded database in prod, an unknown service and an unknown command", () =>
    Effect.gen(function* () {
      const prod = yield* xdooria(["serve", "--env", "prod", "--infra", "embedded"])
      assert.deepStrictEqual([prod.code, prod.stderr.includes("--infra live")], [1, true])
      assert.strictEqual((yield* xdooria(["serve", "--services", "game,chess"])).code, 1)
      assert.strictEqual((yield* xdooria(["fly"])).code, 1)
    })
  )

  it.live.skipIf(!existsSync("/dev/full"))("fails when it cannot say what it has to say", () =>
    Effect.gen(function* () {
      const full = yield* Effect.acquireRelease(
        Effect.sync(() => openSync("/dev/full", "w")),
        (descriptor) => Effect.sync(() => closeSync(descriptor))
      )
      const code = yield* Effect.callback<number | null>((resume) => {
        const child = spawn(process.execPath, ["bin/xdooria.js", "--help"], {
          cwd: Xdooria.root,
          stdio: ["ignore", full, "ignore"]
        })
        child.on("close", (code) => resume(Effect.succeed(code)))
      })
      assert.strictEqual(code, 1)
    }).pipe(Effect.scoped)
  )

  it.live("sends a token to this machine only", () =>
    Effect.gen(function* () {
      const { code, stderr } = yield* xdooria(["call", "--addr", "10.0.0.1:50051", "--token", "canary-secret", "a.B/C"])
      assert.strictEqual(code, 1)
      assert.include(stderr, "10.0.0.1:50051 is not a loopback address")
      assert.notInclude(stderr, "canary-secret")
    })
  )

  it.live("says that nobody answers", () =>
    Effect.gen(function* () {
      const port = yield* Ports.free
      const { code, stderr } = yield* xdooria(["call", "--addr", `127.0.0.1:${port}`, "game.GameService/HealthCheck"])
      assert.strictEqual(code, 1)
      assert.include(stderr, `UNAVAILABLE at 127.0.0.1:${port}: No connection established. Does a service run there?`)
    })
  )

  it.live("checks a configuration file", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* xdooria(["config", "check", "--file", "config/dev/game.yaml"])).code, 0)
      const { file } = yield* temporaryFile("game.yaml", "server:\n  port: 70000\nlog:\n  levl: info\n")
      const { code, stderr } = yield* xdooria(["config", "check", "--file", file])
      assert.strictEqual(code, 1)
      assert.include(stderr, `${file}:2`)
      assert.include(stderr, "did you mean level?")
      const absent = yield* xdooria(["config", "check", "--file", `${file}.absent`])
      assert.deepStrictEqual([absent.code, absent.stderr.includes("no such file")], [1, true])
    }).pipe(Effect.scoped)
  )
})

RealServer.suite("postgres", "xdooria on a real PostgreSQL", (postgres) => {
  const variables = (server: typeof postgres) => ({
    XDOORIA_DATABASE_HOST: server.host,
    XDOORIA_DATABASE_PORT: String(server.port),
    XDOORIA_DATABASE_USER: server.user,
    XDOORIA_DATABASE_PASSWORD: server.password,
    XDOORIA_DATABASE_DATABASE: server.database
  })

  it.live("migrates once", () =>
    Effect.gen(function* () {
      const server = yield* TemporaryDatabase.make(postgres)
      const first = yield* xdooria(["migrate", "--services", "game"], variables(server))
      assert.deepStrictEqual([first.code, first.stdout.includes("game: applied 1 create_players")], [0, true])
      // For people, whatever the service itself writes.
      assert.match(first.stdout, /^\S+ +INFO +.*applied a migration/im)
      const other = yield* xdooria(["migrate", "--services", "auth"], variables(server))
      assert.deepStrictEqual(
        [other.code, other.stderr.startsWith(`pg auth in database ${server.database}: `)],
        [1, true]
      )
      const second = yield* xdooria(["migrate", "--services", "gateway,game"], variables(server))
      assert.deepStrictEqual(second, { code: 0, stdout: "game: up to date\ngateway: has no tables\n", stderr: "" })
    }).pipe(Effect.scoped)
  )

  it.live("makes the databases that are missing", () =>
    Effect.gen(function* () {
      const server = yield* TemporaryDatabase.make(postgres)
      const { database, password } = server
      yield* Effect.flatMap(SqlClient, (sql) => sql`DROP DATABASE ${sql(database)}`).pipe(
        Effect.provide(layerLive({ ...postgres, password: Redacted.make(password), maxConns: 1 }))
      )
      const args = ["migrate", "--create", "--services", "auth"]
      const first = yield* xdooria(args, variables(server))
      assert.deepInclude(first, { code: 0, stderr: "" })
      assert.match(first.stdout, /^auth: made its database\n[^]*auth: applied 1 create_accounts\n$/)
      assert.deepStrictEqual((yield* xdooria(args, variables(server))).stdout, "auth: up to date\n")
    }).pipe(Effect.scoped)
  )

  RealServer.suite("redis", "and a real Redis", (redis) => {
    RealServer.suite("etcd", "and a real etcd", (etcd) => {
      it.live.each([
        { what: "a wrong password", at: "pg", change: { XDOORIA_DATABASE_PASSWORD: "canary-secret" } },
        { what: "an absent database", at: "pg", change: { XDOORIA_DATABASE_DATABASE: "absent" } },
        {
          what: "no database",
          at: "pg",
          change: { XDOORIA_DATABASE_PORT: "1", XDOORIA_DATABASE_START_TIMEOUT: "0.5" }
        },
        {
          what: "an unknown user of Redis",
          at: "redis",
          change: { XDOORIA_REDIS_USERNAME: "nobody", XDOORIA_REDIS_PASSWORD: "canary-secret" }
        },
        {
          what: "no Redis",
          at: "redis",
          change: { XDOORIA_REDIS_ADDRS: "127.0.0.1:1", XDOORIA_REDIS_START_TIMEOUT: "0.5" }
        },
        {
          what: "no etcd",
          at: "registry",
          change: { XDOORIA_ETCD_ENDPOINTS: "127.0.0.1:1", XDOORIA_ETCD_DIAL_TIMEOUT: "0.5" }
        }
      ])("ends with one message on $what", ({ at, change, what }) =>
        Effect.gen(function* () {
          const server = yield* TemporaryDatabase.make(postgres)
          const { code, stderr, stdout } = yield* xdooria(["serve", "--infra", "live", "--services", "game"], {
            ...variables(server),
            XDOORIA_REDIS_ADDRS: `${redis.host}:${redis.port}`,
            XDOORIA_ETCD_ENDPOINTS: `${etcd.host}:${etcd.port}`,
            XDOORIA_AUTH_SECRET: "a-secret-of-tests-alone-0123456789",
            ...change
          })
          assert.strictEqual(code, 1)
          assert.match(stderr.trimEnd(), new RegExp(`^${at}[ :][^\\n]*127\\.0\\.0\\.1:\\d+(/\\w+)?: [^\\n]+$`))
          assert.strictEqual(stderr.includes("xdooria migrate --create --services game"), what === "an absent database")
          assert.notInclude(stdout + stderr, "canary-secret")
        }).pipe(Effect.scoped)
      )
    })
  })
})
