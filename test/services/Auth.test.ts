import { assert, describe, it, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { SqlClient } from "effect/sql/SqlClient"
import { Auth, AuthError, type Identity, Lockout, Refused, Unavailable } from "xdooria/auth"
import { type ConfigValues, ConfigTest } from "xdooria/config"
import { Grpc, GrpcEmbedded, GrpcError, GrpcServer } from "xdooria/grpc"
import { LoggerTest, LogRecorder } from "xdooria/logger"
import { Pg, PgError, Deadlock, OutcomeUnknown, UniqueViolation } from "xdooria/pg"
import { PgEmbedded } from "xdooria/pg/embedded"
import { SessionEmbedded } from "xdooria/session"
import { AuthEmbedded } from "../../src/auth/AuthEmbedded.ts"
import { Accounts, AccountsConfig, AccountsLive } from "../../src/services/auth/Accounts.ts"
import { AccountName, AuthApi } from "../../src/services/auth/api.ts"
import { migrations } from "../../src/services/auth/migrations.ts"
import { StorageUnavailable } from "../../src/services/errors.ts"
import * as RealServer from "../support/RealServer.ts"
import { on, suite } from "./AuthContract.ts"

RealServer.embedded("the auth service", () =>
  suite("Auth on embedded rooms", GrpcEmbedded, Layer.mergeAll(PgEmbedded, AuthEmbedded, SessionEmbedded))
)

const admin: Identity = {
  playerId: "root",
  roles: ["admin"],
  tokenId: "t",
  family: "f",
  profile: "own",
  issuedAt: 0,
  expiresAt: Number.MAX_SAFE_INTEGER
}

/** Tokens of a store that answers nothing, and takes every caller for an admin. */
const without = (error: AuthError) => {
  const failing = () => Effect.fail(error)
  return Layer.mergeAll(
    Layer.mock(Auth, {
      verify: () => Effect.succeed(admin),
      recall: () => admin,
      issue: failing,
      refresh: failing,
      logout: failing,
      logoutAll: failing,
      ban: failing,
      unban: failing
    }),
    Layer.mock(Lockout, { check: failing, failed: failing, succeeded: failing, withdrawn: failing })
  )
}

const away = new AuthError({ reason: new Unavailable({ detail: "of a test" }) })
const refusing = new AuthError({ reason: new Refused({ detail: "of a test" }) })

const root = { metadata: { authorization: "Bearer x" } }
const password = "correct horse battery staple"

const connect = Effect.gen(function* () {
  const server = yield* GrpcServer
  return yield* Grpc.client(AuthApi, { target: yield* server.address })
})

RealServer.embedded("the auth service without a store of tokens", () => {
  layer(on(GrpcEmbedded, Layer.mergeAll(PgEmbedded, SessionEmbedded, without(away))), { excludeTestServices: true })(
    "that does not answer",
    (it) => {
      it.effect("says so, for each call that asks it, and lets nobody try a password", () =>
        Effect.gen(function* () {
          const auth = yield* connect
          for (const call of [
            auth.register({ name: "somebody", password }),
            auth.login({ name: "somebody", password }),
            auth.login({ name: "root", password: "wrong" }),
            auth.refresh({ refreshToken: "x" }),
            auth.logout({}, root),
            auth.logoutAll({ playerId: "" }, root),
            auth.ban({ playerId: "p1", seconds: 0n, reason: "" }, root),
            auth.unban({ playerId: "p2" }, root)
          ]) {
            assert.deepInclude(yield* Effect.flip(call as Effect.Effect<unknown, unknown>), {
              _tag: "StorageUnavailable",
              outcome: "unknown"
            })
          }
        })
      )

      it.effect("has made the account, and written down the ban", () =>
        Effect.gen(function* () {
          const auth = yield* connect
          const sql = yield* SqlClient
          yield* Effect.flip(auth.register({ name: "made", password }))
          yield* Effect.flip(auth.ban({ playerId: "p3", seconds: 0n, reason: "why" }, root))
          const again = yield* Effect.flip(auth.register({ name: "made", password }))
          assert.strictEqual(again._tag, "AccountTaken")
          assert.deepStrictEqual(yield* sql`SELECT banned_by, reason FROM bans WHERE player_id = 'p3'`, [
            { banned_by: "root", reason: "why" }
          ])
        })
      )
    }
  )

  layer(on(GrpcEmbedded, Layer.mergeAll(PgEmbedded, SessionEmbedded, without(refusing))), {
    excludeTestServices: true
  })("that refuses", (it) => {
    it.effect("takes it for a fault of its own, and tells nobody", () =>
      Effect.gen(function* () {
        const auth = yield* connect
        const error = yield* Effect.flip(auth.refresh({ refreshToken: "x" }))
        assert.instanceOf(error, GrpcError)
        assert.strictEqual(error.reason._tag, "Internal")
        assert.notInclude(error.message, "of a test")
      })
    )
  })
})

const accounts = (values: ConfigValues[string]) =>
  Effect.service(Accounts).pipe(
    Effect.provide(Layer.provide(AccountsLive, ConfigTest({ accounts: values }, { sections: [AccountsConfig] })))
  )

const name = AccountName.make

RealServer.embedded("the first admin", () =>
  layer(Pg.layerMigrations(migrations).pipe(Layer.provideMerge(PgEmbedded), Layer.provideMerge(LoggerTest)), {
    excludeTestServices: true
  })("of section accounts", (it) => {
    it.effect("is made once, by whichever instance comes first, and keeps the first password", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient
        const first = { admin_name: "Boss", admin_password: "first password" }
        yield* Effect.all([accounts(first), accounts(first), accounts(first)], { concurrency: "unbounded" })
        const later = yield* accounts({ admin_name: "boss", admin_password: "second password" })
        assert.deepInclude(yield* later.logIn(name("boss"), Redacted.make("first password")), { roles: ["admin"] })
        yield* Effect.flip(later.logIn(name("boss"), Redacted.make("second password")))
        assert.deepStrictEqual(yield* sql`SELECT count(*)::int AS n FROM accounts WHERE name_key = 'boss'`, [{ n: 1 }])
      })
    )

    it.effect("is nobody who has taken the name", () =>
      Effect.gen(function* () {
        const none = yield* accounts({})
        const player = yield* none.register(name("Grabber"), Redacted.make(password))
        const later = yield* accounts({ admin_name: "grabber", admin_password: "other password" })
        assert.deepInclude(yield* later.logIn(name("grabber"), Redacted.make(password)), { roles: [] })
        const { find } = yield* LogRecorder
        yield* find(({ level, msg }) => level === "warn" && msg.includes("accounts.admin_name"))
        assert.deepStrictEqual(
          Option.map(yield* later.find(player.playerId), ({ roles }) => roles),
          Option.some([])
        )
        assert.isTrue(Option.isNone(yield* later.find("nobody")))
      })
    )
  })
)

describe("section accounts", () => {
  it.effect.each([
    [{ admin_name: "root" }, "accounts.admin_password"],
    [{ admin_password: "long enough" }, "accounts.admin_name"],
    [{ admin_name: "ro ot", admin_password: "long enough" }, "accounts.admin_name"],
    [{ admin_name: "root", admin_password: "short7!" }, "accounts.admin_password"]
  ] as const)("refuses %j", ([values, path]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        Effect.scoped(Layer.build(ConfigTest({ accounts: values }, { sections: [AccountsConfig] })))
      )
      assert.include(error.message, path)
      assert.notInclude(error.message, "short7!")
    })
  )
})

describe("StorageUnavailable", () => {
  it.effect("says whether something may have been applied, and leaves bugs to be bugs", () =>
    Effect.gen(function* () {
      const lost = yield* Effect.flip(
        StorageUnavailable.from(new PgError({ reason: new OutcomeUnknown({ detail: "x" }) }))
      )
      assert.strictEqual(lost.outcome, "unknown")
      const busy = yield* Effect.flip(StorageUnavailable.from(new PgError({ reason: new Deadlock() })))
      assert.strictEqual(busy.outcome, "not_applied")
      const bug = yield* Effect.exit(
        StorageUnavailable.from(new PgError({ reason: new UniqueViolation({ constraint: "x" }) }))
      )
      assert.isTrue(bug._tag === "Failure" && bug.cause.reasons.every(({ _tag }) => _tag === "Die"))
    })
  )
})
