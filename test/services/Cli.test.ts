import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { closeSync, existsSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
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
  it.live("serves, is called, and leaves nothing on Ctrl-C", () =>
    Effect.gen(function* () {
      const serve = yield* ServeProcess.start([])
      const addr = yield* serve.address
      assert.match(serve.output(), /PostgreSQL \(embedded\) on \S+\n +leaderboards \(embedded\) in memory\n/)
      const call = (method: string, ...rest: ReadonlyArray<string>) =>
        xdooria(["call", "--addr", addr, `game.GameService/${method}`, ...rest])

      const health = yield* call("HealthCheck")
      assert.deepStrictEqual(JSON.parse(health.stdout), { status: "SERVING" })
      const standard = yield* xdooria(["call", "--addr", addr, "grpc.health.v1.Health/Check"])
      assert.deepStrictEqual(JSON.parse(standard.stdout), { status: "SERVING" })
      const created = yield* call("CreatePlayer", '{"player_id":"p1","name":"Ann"}')
      assert.deepStrictEqual(JSON.parse(created.stdout), { player: { id: "p1", name: "Ann", level: 1, exp: "0" } })
      const absent = yield* call("GetPlayer", '{"player_id":"nobody"}')
      assert.deepStrictEqual(absent, {
        code: 1,
        stdout: "",
        stderr: 'NOT_FOUND PlayerNotFound {"playerId":"nobody"}\n'
      })
      const unknown = yield* call("Fly")
      assert.strictEqual(unknown.code, 1)
      assert.match(unknown.stderr, /^UNIMPLEMENTED .*Fly/)
      const malformed = yield* call("GetPlayer", '{"player_id":')
      assert.strictEqual(malformed.code, 1)
      assert.match(malformed.stderr, /^INVALID_ARGUMENT /)

      yield* serve.kill("SIGINT")
      const { code } = yield* serve.ended
      assert.strictEqual(code, 0, serve.output())
      assert.deepStrictEqual(serve.leftovers(), [])
    }).pipe(Effect.scoped)
  )

  it.live("says which port is taken and what to do", () =>
    Effect.gen(function* () {
      const first = yield* ServeProcess.start([])
      const port = (yield* first.address).split(":").at(-1)!
      const second = yield* ServeProcess.start([], { XDOORIA_SERVER_PORT: port })
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
      const second = yield* xdooria(["migrate", "--services", "game"], variables(server))
      assert.deepStrictEqual([second.code, second.stdout.includes("game: up to date")], [0, true])
    }).pipe(Effect.scoped)
  )

  RealServer.suite("redis", "and a real Redis", (redis) => {
    it.live.each([
      { what: "a wrong password", at: "pg", change: { XDOORIA_DATABASE_PASSWORD: "canary-secret" } },
      { what: "an absent database", at: "pg", change: { XDOORIA_DATABASE_DATABASE: "absent" } },
      { what: "no database", at: "pg", change: { XDOORIA_DATABASE_PORT: "1", XDOORIA_DATABASE_START_TIMEOUT: "0.5" } },
      {
        what: "an unknown user of Redis",
        at: "redis",
        change: { XDOORIA_REDIS_USERNAME: "nobody", XDOORIA_REDIS_PASSWORD: "canary-secret" }
      },
      {
        what: "no Redis",
        at: "redis",
        change: { XDOORIA_REDIS_ADDRS: "127.0.0.1:1", XDOORIA_REDIS_START_TIMEOUT: "0.5" }
      }
    ])("ends with one message on $what", ({ at, change }) =>
      Effect.gen(function* () {
        const server = yield* TemporaryDatabase.make(postgres)
        const { code, stderr, stdout } = yield* xdooria(["serve", "--infra", "live"], {
          ...variables(server),
          XDOORIA_REDIS_ADDRS: `${redis.host}:${redis.port}`,
          ...change
        })
        assert.strictEqual(code, 1)
        assert.match(stderr.trimEnd(), new RegExp(`^${at} 127\\.0\\.0\\.1:\\d+(/\\w+)?: [^\\n]+$`))
        assert.notInclude(stdout + stderr, "canary-secret")
      }).pipe(Effect.scoped)
    )
  })
})
