import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { execFileSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Pg } from "xdooria/pg"
import { layerLive } from "xdooria/pg/live"

const decode = Schema.decodeUnknownEffect(Pg.PgConfig.schema)

describe("PgConfig", () => {
  it.effect("has defaults for everything", () =>
    Effect.gen(function* () {
      const values = yield* decode({})
      assert.include(values, { host: "localhost", port: 5432, user: "xdooria", database: "xdooria_game" })
      assert.deepStrictEqual(Pg.PgConfig.check(values, "dev"), [])
    })
  )

  it.effect("takes the values of the plan, and hides the password", () =>
    Effect.gen(function* () {
      const plan = {
        host: "db",
        port: 5432,
        user: "u",
        password: "canary8f2",
        database: "d",
        maxConns: 20,
        minConns: 5
      }
      const values = yield* decode({ ...plan, maxIdleTime: 300 })
      assert.strictEqual(Redacted.value(values.password), "canary8f2")
      assert.notInclude(JSON.stringify(values) + String(values.password), "canary8f2")
    })
  )

  it.effect("wants a password in prod, but for a Unix socket", () =>
    Effect.gen(function* () {
      const missing = { field: "password", expected: "a password in prod", hint: "set XDOORIA_DATABASE_PASSWORD" }
      assert.deepStrictEqual(Pg.PgConfig.check(yield* decode({}), "prod"), [missing])
      assert.deepStrictEqual(Pg.PgConfig.check(yield* decode({ password: "own" }), "prod"), [])
      assert.deepStrictEqual(Pg.PgConfig.check(yield* decode({ host: "/run/postgresql" }), "prod"), [])
    })
  )

  const malformed: ReadonlyArray<object> = [
    { port: 0 },
    { port: "80abc" },
    { host: "" },
    { maxConns: 0 },
    { maxConns: 1.5 },
    { minConns: -1 },
    { connectTimeout: -1 },
    { statementTimeout: "5 seconds" },
    { maxIdleTime: Number.NaN },
    { tls: "prefer" },
    { tls: "allow" },
    { password: 5 }
  ]
  for (const values of malformed) {
    it.effect(`refuses ${JSON.stringify(values)}`, () =>
      Effect.map(Effect.exit(decode(values)), (exit) => assert.strictEqual(exit._tag, "Failure"))
    )
  }

  it.effect("refuses times of 0 where nothing could be done in them, and more connections kept than allowed", () =>
    Effect.gen(function* () {
      const values = yield* decode({ statementTimeout: 0, lockTimeout: 0, maxIdleTime: 0, maxConns: 2, minConns: 3 })
      assert.deepStrictEqual(Pg.PgConfig.check(values, "dev"), [
        { field: "statementTimeout", expected: "more than 0" },
        { field: "lockTimeout", expected: "more than 0" },
        { field: "minConns", expected: "at most max_conns (2)" }
      ])
    })
  )
})

describe("tls_ca_file", () => {
  it.live("must be a regular file of 1 MB at most, and nobody waits for another one", () =>
    Effect.gen(function* () {
      const folder = yield* Effect.acquireRelease(
        Effect.sync(() => mkdtempSync(join(tmpdir(), "xdooria-test-pg-"))),
        (path) => Effect.sync(() => rmSync(path, { recursive: true }))
      )
      const pipe = join(folder, "pipe")
      execFileSync("mkfifo", [pipe])
      const large = join(folder, "large")
      writeFileSync(large, "x".repeat(1024 * 1024 + 1))
      const wrong = [
        [pipe, "no regular file"],
        ["/dev/zero", "no regular file"],
        [folder, "no regular file"],
        [large, "1048577 bytes"],
        [join(folder, "absent"), "ENOENT"]
      ] as const
      for (const [tlsCaFile, actual] of wrong) {
        const error = yield* Effect.flip(Effect.scoped(Layer.build(layerLive({ tls: "verify-full", tlsCaFile }))))
        assert.strictEqual(error._tag, "InvalidConfig")
        assert.include(error.message, tlsCaFile)
        assert.include(error.message, actual)
      }
    })
  )
})

it.effect("times that the server keeps are no longer than it takes", () =>
  Effect.gen(function* () {
    const longest = { statementTimeout: 2_147_483, lockTimeout: 2_147_483, idleInTransactionTimeout: 2_147_483 }
    assert.deepStrictEqual(Pg.PgConfig.check(yield* decode(longest), "dev"), [])
    const longer = { statementTimeout: 2_147_484, lockTimeout: 1e300, idleInTransactionTimeout: 2_147_484 }
    const expected = "at most 2147483 seconds"
    assert.deepStrictEqual(Pg.PgConfig.check(yield* decode(longer), "dev"), [
      { field: "statementTimeout", expected },
      { field: "lockTimeout", expected },
      { field: "idleInTransactionTimeout", expected }
    ])
  })
)
