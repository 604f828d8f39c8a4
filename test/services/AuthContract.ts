import { assert, layer } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { SqlClient } from "effect/sql/SqlClient"
import { createHook } from "node:async_hooks"
import { Auth, type AuthError, type Lockout } from "xdooria/auth"
import { ConfigTest, type InvalidConfig } from "xdooria/config"
import { Grpc, type GrpcClient, GrpcError, GrpcServer } from "xdooria/grpc"
import { LoggerTest, LogRecorder } from "xdooria/logger"
import type { PgError } from "xdooria/pg"
import type { RedisFailure } from "xdooria/redis"
import { Registry, RegistryEmbedded } from "xdooria/registry"
import { Session, type SessionError } from "xdooria/session"
import { Crypto, Uuid } from "xdooria/utils"
import { AccountsConfig } from "../../src/services/auth/Accounts.ts"
import { AuthApi } from "../../src/services/auth/api.ts"
import { AuthApp } from "../../src/services/auth/app.ts"

/** What the suite is run on. */
export type Infra = Layer.Layer<
  SqlClient | Auth | Lockout | Session,
  AuthError | InvalidConfig | PgError | RedisFailure | SessionError
>

export type Transport = Layer.Layer<GrpcServer | GrpcClient, InvalidConfig>

const adminPassword = "the first of all passwords"

const config = ConfigTest(
  {
    server: { name: "auth-service", port: 0 },
    grpc: { drain_delay: 0, trusted_proxies: ["127.0.0.0/8", "::1"] },
    auth: { secret: "a-secret-of-tests-alone-0123456789" },
    accounts: { admin_name: "Root", admin_password: adminPassword }
  },
  { sections: [AccountsConfig] }
)

/** The service, with an admin Root, on rooms that know its callers. */
export const on = (transport: Transport, infra: Infra) =>
  AuthApp.pipe(
    Layer.provideMerge(transport),
    Layer.provideMerge(Auth.layerAuthenticator),
    Layer.provideMerge(Layer.merge(infra, RegistryEmbedded)),
    Layer.provideMerge(LoggerTest),
    Layer.provideMerge(config)
  )

let last = 0

/** A player of a test, as the gateway passes its calls on: from an address of its own. */
const caller = Effect.gen(function* () {
  const server = yield* GrpcServer
  const auth = yield* Grpc.client(AuthApi, { target: yield* server.address })
  const from = `10.1.${++last >> 8}.${last & 255}`
  const metadata = { "x-forwarded-for": from }
  return {
    auth,
    from,
    /** What an anonymous call says. */
    plain: { metadata },
    /** What a call with a token says. */
    as: (token: string | undefined) => ({ metadata: { ...metadata, authorization: `Bearer ${token}` } })
  }
})

const password = "correct horse battery staple"

const registered = Effect.gen(function* () {
  const player = yield* caller
  const name = `p${(yield* Uuid.v4).slice(0, 20)}`
  const { account, tokens } = yield* player.auth.register({ name, password }, player.plain)
  return { ...player, name, account: account!, tokens: tokens! }
})

const admin = Effect.gen(function* () {
  const root = yield* caller
  const { account, tokens } = yield* root.auth.login({ name: "root", password: adminPassword }, root.plain)
  return { ...root, account: account!, as: root.as(tokens?.accessToken) }
})

const failure = <A, E, R>(call: Effect.Effect<A, E | GrpcError, R>) =>
  Effect.map(Effect.flip(call), (error) => {
    if (error instanceof GrpcError) assert.fail(`an undeclared error: ${error.message}`)
    return error
  })

const reason = <A, E, R>(call: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(call), (error) => (error instanceof GrpcError ? error.reason._tag : String(error)))

/** What the auth service promises, on a transport and rooms of the caller's choice. */
export const suite = (name: string, transport: Transport, infra: Infra) =>
  layer(on(transport, infra), { excludeTestServices: true })(name, (it) => {
    it.effect("answers the health check of anybody", () =>
      Effect.gen(function* () {
        const { auth } = yield* caller
        assert.deepStrictEqual(yield* auth.healthCheck({}), { status: "SERVING" })
      })
    )

    it.effect("is found under its name", () =>
      Effect.gen(function* () {
        const registry = yield* Registry
        const { endpoints } = yield* registry.discover("auth-service")
        const { address } = yield* GrpcServer
        assert.deepStrictEqual(
          endpoints.map((one) => one.address),
          [yield* address]
        )
      })
    )

    it.effect("makes an account with a player id of its own, and logs it in", () =>
      Effect.gen(function* () {
        const { account, as, auth, name, tokens } = yield* registered
        const id = Option.getOrThrow(Uuid.parse(account.playerId))
        const now = DateTime.toEpochMillis(yield* DateTime.now)
        const made = DateTime.toEpochMillis(Option.getOrThrow(Uuid.timestamp(id)))
        assert.isBelow(Math.abs(now - made), 60_000)
        assert.isBelow(Math.abs(now / 1000 - Number(account.createdAt)), 60)
        assert.deepInclude(account, { name, roles: [] })
        assert.isTrue(tokens.accessExpiresIn > 0n && tokens.accessExpiresIn <= 900n)
        assert.isTrue(tokens.refreshExpiresIn > tokens.accessExpiresIn)
        assert.deepStrictEqual(yield* auth.whoami({}, as(tokens.accessToken)), { account })
      })
    )

    it.effect("logs in by name and password, with the name in any case", () =>
      Effect.gen(function* () {
        const { account, as, auth, name, plain } = yield* registered
        const login = yield* auth.login({ name: name.toUpperCase(), password }, plain)
        assert.deepStrictEqual(login.account, account)
        assert.deepStrictEqual((yield* auth.whoami({}, as(login.tokens?.accessToken))).account, account)
      })
    )

    it.effect("refuses a name that is taken, in any case, also when many want it at once", () =>
      Effect.gen(function* () {
        const { auth, name, plain } = yield* registered
        assert.strictEqual(
          (yield* failure(auth.register({ name: name.toUpperCase(), password }, plain)))._tag,
          "AccountTaken"
        )
        const wanted = `w${name}`
        const all = yield* Effect.all(
          Array.from({ length: 6 }, () => Effect.result(auth.register({ name: wanted, password }, plain))),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(all.map((one) => (one._tag === "Success" ? "made" : one.failure._tag)).toSorted(), [
          ...Array.from({ length: 5 }, () => "AccountTaken"),
          "made"
        ])
      })
    )

    it.effect("says one thing for a wrong password and for a name that there is not", () =>
      Effect.gen(function* () {
        const { auth, name, plain } = yield* registered
        const wrong = yield* failure(auth.login({ name, password: "wrong password" }, plain))
        const unknown = yield* failure(auth.login({ name: `n${name}`, password }, plain))
        assert.strictEqual(wrong._tag, "WrongCredentials")
        assert.deepStrictEqual(JSON.stringify(unknown), JSON.stringify(wrong))
        assert.strictEqual(unknown.message, wrong.message)
      })
    )

    it.effect("hashes once for a wrong password, and once for a name that there is not: time tells nobody", () =>
      Effect.gen(function* () {
        const { auth, name, plain } = yield* registered
        let hashed = 0
        const hook = createHook({ init: (_, type) => void (type === "ARGON2REQUEST" && hashed++) }).enable()
        yield* Effect.addFinalizer(() => Effect.sync(() => hook.disable()))
        yield* failure(auth.login({ name, password: "wrong password" }, plain))
        assert.strictEqual(hashed, 1)
        yield* failure(auth.login({ name: `n${name}`, password }, plain))
        assert.strictEqual(hashed, 2)
      })
    )

    it.effect("locks an account after five wrong passwords, and lets its player in from no address", () =>
      Effect.gen(function* () {
        const { auth, name, plain } = yield* registered
        for (let i = 0; i < 5; i++) {
          const error = yield* failure(auth.login({ name, password: `wrong ${i}` }, plain))
          assert.strictEqual(error._tag, "WrongCredentials")
        }
        const elsewhere = yield* caller
        const error = yield* failure(elsewhere.auth.login({ name, password }, elsewhere.plain))
        assert.strictEqual(error._tag, "TooManyFailures")
        assert.isTrue(error._tag === "TooManyFailures" && error.retryAfterMillis > 0)
        // Others at that address come in.
        const other = yield* registered
        yield* auth.login({ name: other.name, password }, plain)
      })
    )

    it.effect("locks an account after five wrong passwords that come at once", () =>
      Effect.gen(function* () {
        const { auth, name } = yield* registered
        const callers = yield* Effect.all(Array.from({ length: 20 }, () => caller))
        const errors = yield* Effect.forEach(
          callers,
          ({ plain }) => failure(auth.login({ name, password: "wrong password" }, plain)),
          { concurrency: "unbounded" }
        )
        assert.strictEqual(errors.filter(({ _tag }) => _tag === "WrongCredentials").length, 5)
        assert.strictEqual(errors.filter(({ _tag }) => _tag === "TooManyFailures").length, 15)
      })
    )

    it.effect("locks an address after ten failures, whichever accounts they were for", () =>
      Effect.gen(function* () {
        const { auth, name, plain } = yield* registered
        for (let i = 0; i < 10; i++) {
          const error = yield* failure(auth.login({ name: `x${i}${name}`.slice(0, 32), password }, plain))
          assert.strictEqual(error._tag, "WrongCredentials")
        }
        assert.strictEqual((yield* failure(auth.login({ name, password }, plain)))._tag, "TooManyFailures")
        const elsewhere = yield* caller
        yield* auth.login({ name, password }, elsewhere.plain)
      })
    )

    it.effect("gives new tokens for a refresh token, and the login ends when an old one is used again", () =>
      Effect.gen(function* () {
        const { account, as, auth, plain, tokens } = yield* registered
        const second = (yield* auth.refresh({ refreshToken: tokens.refreshToken }, plain)).tokens!
        assert.notStrictEqual(second.refreshToken, tokens.refreshToken)
        assert.strictEqual((yield* auth.whoami({}, as(second.accessToken))).account?.playerId, account.playerId)
        const third = (yield* auth.refresh({ refreshToken: second.refreshToken }, plain)).tokens!
        const replay = yield* failure(auth.refresh({ refreshToken: tokens.refreshToken }, plain))
        assert.strictEqual(replay._tag, "RefreshRejected")
        const ended = yield* failure(auth.refresh({ refreshToken: third.refreshToken }, plain))
        assert.strictEqual(ended._tag, "RefreshRejected")
      })
    )

    it.effect("takes no refresh token that is none", () =>
      Effect.gen(function* () {
        const { auth, plain, tokens } = yield* registered
        for (const refreshToken of ["", "x", tokens.accessToken, `${tokens.refreshToken}x`, "x".repeat(20_000)]) {
          assert.strictEqual((yield* failure(auth.refresh({ refreshToken }, plain)))._tag, "RefreshRejected")
        }
        // Nor is a refresh token an access token.
        const player = yield* caller
        assert.strictEqual(yield* reason(auth.whoami({}, player.as(tokens.refreshToken))), "Unauthenticated")
      })
    )

    it.effect("ends a login, and no other of the player", () =>
      Effect.gen(function* () {
        const { as, auth, name, plain, tokens } = yield* registered
        const other = (yield* auth.login({ name, password }, plain)).tokens!
        yield* auth.logout({}, as(tokens.accessToken))
        assert.strictEqual(yield* reason(auth.whoami({}, as(tokens.accessToken))), "Unauthenticated")
        assert.strictEqual(
          (yield* failure(auth.refresh({ refreshToken: tokens.refreshToken }, plain)))._tag,
          "RefreshRejected"
        )
        yield* auth.whoami({}, as(other.accessToken))
      })
    )

    it.effect("ends all logins and sessions of a player, who then logs in again", () =>
      Effect.gen(function* () {
        const { account, as, auth, name, plain, tokens } = yield* registered
        const session = yield* Session
        const other = (yield* auth.login({ name, password }, plain)).tokens!
        yield* session.login({ playerId: account.playerId, gateway: "g1", token: Redacted.make("any") })
        yield* auth.logoutAll({ playerId: "" }, as(tokens.accessToken))
        for (const { accessToken, refreshToken } of [tokens, other]) {
          assert.strictEqual(yield* reason(auth.whoami({}, as(accessToken))), "Unauthenticated")
          assert.strictEqual((yield* failure(auth.refresh({ refreshToken }, plain)))._tag, "RefreshRejected")
        }
        assert.isUndefined(yield* session.get(account.playerId))
        const again = (yield* auth.login({ name, password }, plain)).tokens!
        yield* auth.whoami({}, as(again.accessToken))
      })
    )

    it.effect("lets nobody put out, ban or pardon another without the role", () =>
      Effect.gen(function* () {
        const { as, auth, tokens } = yield* registered
        const { account } = yield* registered
        const { playerId } = account
        const options = as(tokens.accessToken)
        for (const call of [
          auth.logoutAll({ playerId }, options),
          auth.ban({ playerId, seconds: 0n, reason: "" }, options),
          auth.unban({ playerId }, options)
        ]) {
          assert.deepInclude(yield* failure(call), { _tag: "NotAllowed", role: "admin" })
        }
      })
    )

    it.effect("bans a player from everything, until the ban is ended", () =>
      Effect.gen(function* () {
        const root = yield* admin
        const session = yield* Session
        const { account, as, auth, name, plain, tokens } = yield* registered
        const { playerId } = account
        yield* session.login({ playerId, gateway: "g1", token: Redacted.make("any") })
        const withNul = auth.ban({ playerId, seconds: 0n, reason: "a\u0000" }, root.as)
        assert.strictEqual(yield* reason(withNul), "InvalidArgument")
        yield* auth.ban({ playerId, seconds: 0n, reason: "bots" }, root.as)
        assert.strictEqual(yield* reason(auth.whoami({}, as(tokens.accessToken))), "Unauthenticated")
        const refreshed = yield* failure(auth.refresh({ refreshToken: tokens.refreshToken }, plain))
        assert.include(["RefreshRejected", "AccountBanned"], refreshed._tag)
        assert.strictEqual(
          (yield* Effect.flip(session.login({ playerId, gateway: "g1", token: Redacted.make("any") }))).reason._tag,
          "Banned"
        )
        // Who has not the password is not told of it.
        const wrong = yield* failure(auth.login({ name, password: "wrong password" }, plain))
        assert.strictEqual(wrong._tag, "WrongCredentials")
        const banned = yield* failure(auth.login({ name, password }, plain))
        assert.isTrue(banned._tag === "AccountBanned" && banned.until === undefined)
        yield* auth.unban({ playerId }, root.as)
        yield* auth.login({ name, password }, plain)
        yield* session.login({ playerId, gateway: "g1", token: Redacted.make("any") })
      })
    )

    it.effect("tells until when a ban is, and writes down whose it was", () =>
      Effect.gen(function* () {
        const root = yield* admin
        const sql = yield* SqlClient
        const { account, auth, name, plain } = yield* registered
        const { playerId } = account
        yield* auth.ban({ playerId, seconds: 3600n, reason: "first" }, root.as)
        yield* auth.ban({ playerId, seconds: 7200n, reason: "second" }, root.as)
        const now = DateTime.toEpochMillis(yield* DateTime.now)
        const error = yield* failure(auth.login({ name, password }, plain))
        assert.isTrue(error._tag === "AccountBanned" && Math.abs(error.until! - now - 7_200_000) < 60_000)
        assert.deepStrictEqual(yield* sql`SELECT banned_by, reason FROM bans WHERE player_id = ${playerId}`, [
          { banned_by: root.account.playerId, reason: "second" }
        ])
      })
    )

    it.effect("lets a player in whose ban is over", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient
        const { account, auth, name, plain } = yield* registered
        yield* sql`INSERT INTO bans VALUES (${account.playerId}, now() - interval '1 second', 'x', 'over')`
        yield* auth.login({ name, password }, plain)
      })
    )

    it.effect("keeps a ban that the store of tokens has forgotten", () =>
      Effect.gen(function* () {
        const root = yield* admin
        const tokens = yield* Auth
        const { account, auth, name, plain } = yield* registered
        yield* auth.ban({ playerId: account.playerId, seconds: 0n, reason: "" }, root.as)
        yield* tokens.unban(account.playerId)
        assert.strictEqual((yield* failure(auth.login({ name, password }, plain)))._tag, "AccountBanned")
      })
    )

    it.effect("refuses a ban that the store of tokens alone knows", () =>
      Effect.gen(function* () {
        const tokens = yield* Auth
        const { account, auth, name, plain } = yield* registered
        yield* tokens.ban(account.playerId, "forever")
        assert.strictEqual((yield* failure(auth.login({ name, password }, plain)))._tag, "AccountBanned")
      })
    )

    it.effect("bans and puts out a player who has no account here", () =>
      Effect.gen(function* () {
        const root = yield* admin
        const tokens = yield* Auth
        const player = yield* caller
        const playerId = `go-${yield* Uuid.v4}`
        const { access } = yield* tokens.issue({ playerId })
        const { account } = yield* player.auth.whoami({}, player.as(Redacted.value(access)))
        assert.deepStrictEqual(account, { playerId, name: "", roles: [], createdAt: 0n })
        yield* root.auth.ban({ playerId, seconds: 0n, reason: "" }, root.as)
        assert.strictEqual((yield* Effect.flip(tokens.issue({ playerId }))).reason._tag, "Banned")
        yield* root.auth.unban({ playerId }, root.as)
        yield* tokens.issue({ playerId })
        yield* root.auth.logoutAll({ playerId }, root.as)
      })
    )

    it.effect("makes the admin of the configuration, whom no name in another case can be mistaken for", () =>
      Effect.gen(function* () {
        const root = yield* admin
        assert.deepInclude(root.account, { name: "Root", roles: ["admin"] })
        assert.deepStrictEqual((yield* root.auth.whoami({}, root.as)).account, root.account)
        const error = yield* failure(root.auth.register({ name: "ROOT", password }, root.plain))
        assert.strictEqual(error._tag, "AccountTaken")
      })
    )

    it.effect("makes a hash of an older cost anew at the next login", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient
        const { account, auth, name, plain } = yield* registered
        const older = yield* Crypto.passwords({ memory: 64, passes: 1, parallelism: 1 })
        const hash = Redacted.value(yield* older.hash(Redacted.make(password)))
        const stored = sql<{
          hash: string
        }>`SELECT password_hash AS hash FROM accounts WHERE player_id = ${account.playerId}`
        yield* sql`UPDATE accounts SET password_hash = ${hash} WHERE player_id = ${account.playerId}`
        yield* failure(auth.login({ name, password: "wrong password" }, plain))
        assert.strictEqual((yield* stored)[0]?.hash, hash)
        yield* auth.login({ name, password }, plain)
        assert.match((yield* stored)[0]!.hash, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$/)
        yield* auth.login({ name, password }, plain)
      })
    )

    it.effect("refuses a request before anything is looked up, and names the field, not the value", () =>
      Effect.gen(function* () {
        const { auth, plain } = yield* caller
        const root = yield* admin
        const name = "somebody"
        const secret = "s3cret!"
        const calls = [
          ["name", auth.register({ name: "ab", password }, plain)],
          ["name", auth.register({ name: "x".repeat(33), password }, plain)],
          ["name", auth.register({ name: "a b c", password }, plain)],
          ["name", auth.register({ name: "аdmin", password }, plain)],
          ["name", auth.login({ name: "x'; DROP TABLE accounts; --", password }, plain)],
          ["password", auth.register({ name, password: secret }, plain)],
          ["password", auth.register({ name, password: secret.repeat(100) }, plain)],
          ["password", auth.login({ name, password: "" }, plain)],
          ["player_id", auth.ban({ playerId: "", seconds: 0n, reason: "" }, root.as)],
          ["player_id", auth.ban({ playerId: "..", seconds: 0n, reason: "" }, root.as)],
          ["player_id", auth.logoutAll({ playerId: "a:b" }, root.as)],
          ["player_id", auth.unban({ playerId: "{x}" }, root.as)],
          ["seconds", auth.ban({ playerId: "p", seconds: -1n, reason: "" }, root.as)],
          ["seconds", auth.ban({ playerId: "p", seconds: 2n ** 62n, reason: "" }, root.as)],
          ["reason", auth.ban({ playerId: "p", seconds: 1n, reason: "x".repeat(257) }, root.as)]
        ] as const
        for (const [field, call] of calls) {
          const error = yield* Effect.flip(call as Effect.Effect<unknown, GrpcError>)
          assert.instanceOf(error, GrpcError)
          assert.strictEqual(error.reason._tag, "InvalidArgument", field)
          const { violations } = error.reason as Extract<typeof error.reason, { _tag: "InvalidArgument" }>
          assert.deepStrictEqual(
            violations.map((one) => one.field),
            [field]
          )
          assert.notInclude(JSON.stringify(error), secret)
        }
      })
    )

    it.effect("takes some hundred calls in a minute from one address, of what costs a hash", () =>
      Effect.gen(function* () {
        const { auth, plain } = yield* caller
        // Refused for its name, so that it costs none here: it counts all the same.
        const wrong = { name: "", password }
        for (const call of [reason(auth.register(wrong, plain)), reason(auth.login(wrong, plain))]) {
          const all = yield* Effect.all(
            Array.from({ length: 400 }, () => call),
            { concurrency: 10 }
          )
          assert.deepStrictEqual([...new Set(all)].toSorted(), ["InvalidArgument", "ResourceExhausted"])
          assert.strictEqual(all.indexOf("ResourceExhausted") >= 300, true)
        }
      })
    )

    it.effect("needs a token for what is of a player", () =>
      Effect.gen(function* () {
        const { auth, plain } = yield* caller
        for (const call of [
          auth.whoami({}, plain),
          auth.logout({}, plain),
          auth.logoutAll({ playerId: "" }, plain),
          auth.ban({ playerId: "p", seconds: 0n, reason: "" }, plain),
          auth.unban({ playerId: "p" }, plain)
        ]) {
          assert.strictEqual(yield* reason(call), "Unauthenticated")
        }
      })
    )

    it.effect("logs who came in and who did not, and never a password or a token", () =>
      Effect.gen(function* () {
        const { account, auth, name, plain, tokens } = yield* registered
        const canary = "canary-of-a-password"
        yield* failure(auth.login({ name, password: canary }, plain))
        yield* failure(auth.refresh({ refreshToken: `${tokens.refreshToken}x` }, plain))
        const all = JSON.stringify(yield* Effect.flatMap(LogRecorder, ({ lines }) => lines))
        for (const text of ["logged in", "wrong credentials", account.playerId]) assert.include(all, text)
        for (const text of [canary, password, adminPassword, tokens.accessToken, tokens.refreshToken]) {
          assert.notInclude(all, text)
        }
      })
    )
  })
