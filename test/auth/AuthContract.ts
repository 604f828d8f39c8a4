import { assert, layer as layerTest } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { createHmac, randomUUID } from "node:crypto"
import { inspect } from "node:util"
import { Auth, type AuthError, type AuthErrorReason, type AuthSettings, type Lockout, type Tokens } from "xdooria/auth"
import type { InvalidConfig } from "xdooria/config"

/** Opens the room with settings of one test, on what the layer of the suite is. */
export class Backend extends Context.Service<
  Backend,
  {
    readonly open: (
      settings?: Partial<AuthSettings>
    ) => Effect.Effect<Context.Context<Auth | Lockout>, AuthError | InvalidConfig, Scope.Scope>
  }
>()("test/auth/Backend") {}

/** A player, or an account, of one test. */
export const fresh = (kind: string): string => `${kind}-${randomUUID().slice(0, 8)}`

/** A secret of 32 bytes for tokens of ours, and one of profile `plan`. */
export const secrets = {
  secret: Redacted.make("a secret of ours, 32 bytes or more"),
  planSecret: Redacted.make("a secret of the Go services, 32 bytes")
}

/** The reason of a failure. */
export const reasonOf = <A, R>(effect: Effect.Effect<A, AuthError, R>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => reason)

const nameOf = (reason: AuthErrorReason): string => (reason._tag === "Revoked" ? `Revoked ${reason.how}` : reason._tag)

/** The tag of the reason, and how it was revoked. */
export const tagOf = <A, R>(effect: Effect.Effect<A, AuthError, R>) => Effect.map(reasonOf(effect), nameOf)

/** Whether the tokens are good: of the access token and of the refresh token, which is used by that. */
export const standing = (auth: Auth["Service"], { access, refresh }: Tokens) =>
  Effect.forEach(
    [auth.verify(access), auth.refresh(refresh)] as ReadonlyArray<Effect.Effect<unknown, AuthError>>,
    (use) => Effect.match(use, { onSuccess: () => "good", onFailure: ({ reason }) => nameOf(reason) })
  )

const segment = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url")

/** A token as a Go service of the plan writes it. */
export const goToken = (playerId: string, iat: number, secret: Redacted.Redacted = secrets.planSecret) => {
  const signed = `${segment({ alg: "HS256", typ: "JWT" })}.${segment({ player_id: playerId, exp: iat + 86_400, iat })}`
  return Redacted.make(`${signed}.${createHmac("sha256", Redacted.value(secret)).update(signed).digest("base64url")}`)
}

/**
 * The promises of tokens, for a backend on a store that nobody else uses.
 *
 * - `clock`: `test` where the backend takes its time from Effect, `live` where a server has a clock of its own
 */
export const suite = <E>(
  name: string,
  layer: Layer.Layer<Backend, E>,
  { clock }: { readonly clock: "test" | "live" }
): void => {
  /** Lets so many milliseconds pass: the one permitted wait. */
  const advance = (millis: number) => (clock === "test" ? TestClock.adjust(millis) : Effect.sleep(millis))
  /** The second that it is; TestClock begins with the epoch, before which there is nothing. */
  const someSecond = Effect.map(
    Effect.andThen(clock === "test" ? TestClock.adjust("1 hour") : Effect.void, Clock.currentTimeMillis),
    (now) => Math.floor(now / 1_000)
  )
  const open = (settings: Partial<AuthSettings> = {}) =>
    Effect.map(
      Effect.flatMap(Effect.service(Backend), (backend) => backend.open({ ...secrets, ...settings })),
      Context.get(Auth)
    )

  layerTest(layer, { excludeTestServices: clock === "live", timeout: "60 seconds" })(name, (it) => {
    it.effect("issues tokens that say whose they are", () =>
      Effect.gen(function* () {
        const auth = yield* open()
        const playerId = fresh("p")
        const before = yield* Clock.currentTimeMillis
        const tokens = yield* auth.issue({ playerId, roles: ["admin", "game-master"] })
        const identity = yield* auth.verify(tokens.access)
        assert.strictEqual(identity.playerId, playerId)
        assert.deepStrictEqual(identity.roles, ["admin", "game-master"])
        assert.strictEqual(identity.profile, "own")
        assert.strictEqual(identity.expiresAt, tokens.accessExpiresAt)
        assert.strictEqual(identity.expiresAt - identity.issuedAt, 900_000)
        // Clocks of two machines, or of two processes, are not quite alike.
        assert.isAtLeast(tokens.refreshExpiresAt, before + 2_592_000_000 - 5_000)
        assert.deepStrictEqual(auth.recall(Redacted.value(tokens.access)), identity)
        const other = yield* auth.verify((yield* auth.issue({ playerId })).access)
        assert.deepStrictEqual(other.roles, [])
        assert.notStrictEqual(other.tokenId, identity.tokenId)
        assert.notStrictEqual(other.family, identity.family)
      })
    )

    it.effect("exchanges a refresh token for tokens of the same login", () =>
      Effect.gen(function* () {
        const auth = yield* open()
        const playerId = fresh("p")
        const first = yield* auth.issue({ playerId, roles: ["admin"] })
        const second = yield* auth.refresh(first.refresh)
        const third = yield* auth.refresh(second.refresh)
        const identities = yield* Effect.forEach([first, second, third], ({ access }) => auth.verify(access))
        assert.strictEqual(new Set(identities.map(({ family }) => family)).size, 1)
        assert.strictEqual(new Set(identities.map(({ tokenId }) => tokenId)).size, 3)
        for (const { playerId: id, roles } of identities) assert.deepStrictEqual([id, roles], [playerId, ["admin"]])
        assert.isAtLeast(third.refreshExpiresAt, first.refreshExpiresAt)
      })
    )

    it.effect("gives one successor to all who use a refresh token at once", () =>
      Effect.gen(function* () {
        const auth = yield* open()
        const { refresh } = yield* auth.issue({ playerId: fresh("p") })
        const all = yield* Effect.all(
          Array.from({ length: 20 }, () => auth.refresh(refresh)),
          { concurrency: "unbounded" }
        )
        assert.strictEqual(new Set(all.map((tokens) => Redacted.value(tokens.refresh))).size, 1)
        assert.strictEqual(new Set(all.map(({ refreshExpiresAt }) => refreshExpiresAt)).size, 1)
        assert.deepStrictEqual(yield* standing(auth, all[7]!), ["good", "good"])
      })
    )

    it.effect("ends a login whose refresh token is used again after the grace", () =>
      Effect.gen(function* () {
        const auth = yield* open({ refreshGrace: Duration.seconds(1) })
        const playerId = fresh("p")
        const other = yield* auth.issue({ playerId })
        const first = yield* auth.issue({ playerId })
        const second = yield* auth.refresh(first.refresh)
        yield* advance(1_100)
        assert.strictEqual(yield* tagOf(auth.refresh(first.refresh)), "Revoked used")
        assert.strictEqual(yield* tagOf(auth.refresh(first.refresh)), "Revoked ended")
        assert.deepStrictEqual(yield* standing(auth, second), ["Revoked ended", "Revoked ended"])
        assert.strictEqual(yield* tagOf(auth.verify(first.access)), "Revoked ended")
        assert.deepStrictEqual(yield* standing(auth, other), ["good", "good"])
      })
    )

    it.effect("ends a login whose refresh token is used again after its successor", () =>
      Effect.gen(function* () {
        const auth = yield* open({ refreshGrace: Duration.seconds(60) })
        const first = yield* auth.issue({ playerId: fresh("p") })
        const third = yield* auth.refresh((yield* auth.refresh(first.refresh)).refresh)
        assert.strictEqual(yield* tagOf(auth.refresh(first.refresh)), "Revoked used")
        assert.deepStrictEqual(yield* standing(auth, third), ["Revoked ended", "Revoked ended"])
      })
    )

    it.effect("takes a refresh token once where there is no grace", () =>
      Effect.gen(function* () {
        const auth = yield* open({ refreshGrace: Duration.zero })
        const first = yield* auth.issue({ playerId: fresh("p") })
        yield* auth.refresh(first.refresh)
        yield* advance(2)
        assert.strictEqual(yield* tagOf(auth.refresh(first.refresh)), "Revoked used")
      })
    )

    it.effect("ends one login, and no other of the player", () =>
      Effect.gen(function* () {
        const auth = yield* open()
        const playerId = fresh("p")
        const [one, other] = [yield* auth.issue({ playerId }), yield* auth.issue({ playerId })]
        const later = yield* auth.refresh(one.refresh)
        const identity = yield* auth.verify(one.access)
        yield* auth.logout(identity)
        yield* auth.logout(identity)
        assert.isUndefined(auth.recall(Redacted.value(one.access)))
        assert.strictEqual(yield* tagOf(auth.verify(one.access)), "Revoked ended")
        assert.deepStrictEqual(yield* standing(auth, later), ["Revoked ended", "Revoked ended"])
        assert.deepStrictEqual(yield* standing(auth, other), ["good", "good"])
      })
    )

    it.effect("ends all logins of a player, and none after that", () =>
      Effect.gen(function* () {
        const auth = yield* open()
        const playerId = fresh("p")
        const [one, two] = [yield* auth.issue({ playerId }), yield* auth.issue({ playerId })]
        const other = yield* auth.issue({ playerId: fresh("p") })
        yield* auth.logoutAll(playerId)
        const next = yield* auth.issue({ playerId })
        for (const ended of [one, two]) {
          assert.deepStrictEqual(yield* standing(auth, ended), ["Revoked ended", "Revoked ended"])
        }
        assert.deepStrictEqual(yield* standing(auth, next), ["good", "good"])
        yield* auth.logoutAll(playerId)
        assert.strictEqual(yield* tagOf(auth.verify(next.access)), "Revoked ended")
        assert.deepStrictEqual(yield* standing(auth, other), ["good", "good"])
        // Of whom nothing is known.
        yield* auth.logoutAll(fresh("p"))
      })
    )

    it.effect("bans a player for ever, until that is lifted", () =>
      Effect.gen(function* () {
        const auth = yield* open()
        const playerId = fresh("p")
        const tokens = yield* auth.issue({ playerId })
        yield* auth.ban(playerId, "forever")
        assert.deepStrictEqual({ ...(yield* reasonOf(auth.issue({ playerId }))) }, { _tag: "Banned" } as object)
        assert.deepStrictEqual(yield* standing(auth, tokens), ["Revoked banned", "Banned"])
        yield* auth.unban(playerId)
        yield* auth.unban(playerId)
        assert.deepStrictEqual(yield* standing(auth, tokens), ["Revoked ended", "Revoked ended"])
        assert.deepStrictEqual(yield* standing(auth, yield* auth.issue({ playerId })), ["good", "good"])
        // Of whom nothing is known.
        const unknown = fresh("p")
        yield* auth.unban(unknown)
        yield* auth.ban(unknown, "forever")
        assert.strictEqual(yield* tagOf(auth.issue({ playerId: unknown })), "Banned")
      })
    )

    it.effect("bans a player for a while", () =>
      Effect.gen(function* () {
        const auth = yield* open()
        const playerId = fresh("p")
        const tokens = yield* auth.issue({ playerId })
        const until = DateTime.addDuration(yield* DateTime.now, "500 millis")
        yield* auth.ban(playerId, until)
        const reason = yield* reasonOf(auth.issue({ playerId }))
        assert.strictEqual(reason._tag === "Banned" && reason.until, DateTime.toEpochMillis(until))
        yield* advance(600)
        assert.deepStrictEqual(yield* standing(auth, yield* auth.issue({ playerId })), ["good", "good"])
        assert.deepStrictEqual(yield* standing(auth, tokens), ["Revoked ended", "Revoked ended"])
      })
    )

    it.effect("tells what is no refresh token of a login from what was", () =>
      Effect.gen(function* () {
        const auth = yield* open()
        const refresh = (text: string) => auth.refresh(Redacted.make(text))
        const tokens = yield* auth.issue({ playerId: fresh("p") })
        const text = Redacted.value(tokens.refresh)
        const [player = "", family = "", secret = ""] = text.split(".")
        const secondBefore = family.slice(1) + family.slice(0, 1)
        assert.strictEqual(yield* tagOf(refresh("")), "Missing")
        assert.strictEqual(yield* tagOf(refresh("x".repeat(8_193))), "TooLarge")
        for (const bad of [
          Redacted.value(tokens.access),
          `${text}.`,
          `${text}\n`,
          `${text}=`,
          text.slice(0, -1),
          `${player}.${family}`,
          `.${family}.${secret}`,
          `a:b.${family}.${secret}`,
          `...${family}.${secret}`,
          `玩家.${family}.${secret}`,
          `${"x".repeat(65)}.${family}.${secret}`
        ]) {
          assert.strictEqual(yield* tagOf(refresh(bad)), "Malformed", bad)
        }
        // A family that there is not, or not of this player: nobody's login ends.
        assert.strictEqual(yield* tagOf(refresh(`${player}.${secondBefore}.${secret}`)), "Revoked ended")
        assert.strictEqual(yield* tagOf(refresh(`${fresh("p")}.${family}.${secret}`)), "Revoked ended")
        assert.strictEqual(yield* tagOf(refresh(`__proto__.${family}.${secret}`)), "Revoked ended")
        const next = yield* auth.refresh(tokens.refresh)
        // Who knows the family and not the secret had one of its tokens.
        assert.strictEqual(yield* tagOf(refresh(`${player}.${family}.${"A".repeat(43)}`)), "Revoked used")
        assert.deepStrictEqual(yield* standing(auth, next), ["Revoked ended", "Revoked ended"])
        assert.strictEqual(yield* tagOf(auth.verify(tokens.refresh)), "Malformed")
      })
    )

    it.effect("refuses names that are none, before it asks the store", () =>
      Effect.gen(function* () {
        const auth = yield* open()
        const identity = yield* auth.verify((yield* auth.issue({ playerId: fresh("p") })).access)
        for (const playerId of ["", "a:b", "a b", "玩家", "..", "\0", "x".repeat(65), "a/b", "a{b}", "\r\n"]) {
          const tags = yield* Effect.forEach(
            [
              auth.issue({ playerId }),
              auth.logout({ ...identity, playerId }),
              auth.logoutAll(playerId),
              auth.ban(playerId, "forever"),
              auth.unban(playerId)
            ] as ReadonlyArray<Effect.Effect<unknown, AuthError>>,
            tagOf
          )
          assert.deepStrictEqual([...new Set(tags)], ["InvalidInput"], inspect(playerId))
        }
        for (const roles of [
          [""],
          ["."],
          ["admin", ".."],
          ["a,b"],
          ["a b"],
          [","],
          ["admin\n"],
          ["x".repeat(65)],
          Array.from({ length: 17 }, () => "r")
        ]) {
          assert.strictEqual(yield* tagOf(auth.issue({ playerId: "p", roles })), "InvalidInput", inspect(roles))
        }
        for (const family of [
          "",
          "f",
          "\ud800",
          "a b",
          "x".repeat(23),
          "x".repeat(2_000_000),
          `${identity.family}\n`
        ]) {
          assert.strictEqual(yield* tagOf(auth.logout({ ...identity, family })), "InvalidInput", inspect(family))
        }
        const longest = { playerId: "A_b.c-9".padEnd(64, "x"), roles: Array.from({ length: 16 }, () => "r".repeat(64)) }
        const tokens = yield* auth.issue(longest)
        assert.deepStrictEqual((yield* auth.verify((yield* auth.refresh(tokens.refresh)).access)).roles, longest.roles)
      })
    )

    it.effect("keeps roles as they are through refreshes, whatever they are called", () =>
      Effect.gen(function* () {
        const auth = yield* open()
        for (const roles of [[], ["-"], ["-", "-"], ["_"], [".-"], ["-", "admin"], ["0"], ["a", "a"], ["__proto__"]]) {
          const first = yield* auth.issue({ playerId: fresh("p"), roles })
          const second = yield* auth.refresh(first.refresh)
          const third = yield* auth.refresh(second.refresh)
          for (const { access } of [first, second, third]) {
            assert.deepStrictEqual((yield* auth.verify(access)).roles, roles)
          }
        }
      })
    )

    it.effect("gives an identity that nobody changes for who asks next", () =>
      Effect.gen(function* () {
        const auth = yield* open({ plan: "verify" })
        const second = yield* someSecond
        const { access } = yield* auth.issue({ playerId: fresh("p"), roles: ["admin"] })
        for (const token of [access, goToken(fresh("p"), second)]) {
          const identity = yield* auth.verify(token)
          const before = { ...identity, roles: [...identity.roles] }
          assert.throws(() => (identity.roles as Array<string>).push("owner"), TypeError)
          assert.throws(() => Object.assign(identity, { playerId: "other", expiresAt: Infinity }), TypeError)
          assert.deepStrictEqual({ ...(yield* auth.verify(token)) }, before)
          assert.deepStrictEqual({ ...auth.recall(Redacted.value(token))! }, before)
        }
      })
    )

    it.effect("lets a player have 64 logins, and a further one end the first", () =>
      Effect.gen(function* () {
        const auth = yield* open()
        const playerId = fresh("p")
        const login = Effect.andThen(advance(2), auth.issue({ playerId }))
        const all = yield* Effect.all(Array.from({ length: 65 }, () => login))
        assert.strictEqual(yield* tagOf(auth.refresh(all[0]!.refresh)), "Revoked ended")
        assert.deepStrictEqual(yield* standing(auth, all[1]!), ["good", "good"])
        assert.deepStrictEqual(yield* standing(auth, all[64]!), ["good", "good"])
      })
    )

    it.effect("refuses an access token whose time is over, remembered or not", () =>
      Effect.gen(function* () {
        for (const cacheSize of [0, 100]) {
          const auth = yield* open({ accessTtl: Duration.seconds(2), clockSkew: Duration.zero, cacheSize })
          const { access } = yield* auth.issue({ playerId: fresh("p") })
          yield* auth.verify(access)
          yield* advance(2_100)
          assert.strictEqual(yield* tagOf(auth.verify(access)), "Expired")
          assert.isUndefined(auth.recall(Redacted.value(access)))
        }
      })
    )

    it.effect("ends the tokens of a Go service by the second in which they were issued", () =>
      Effect.gen(function* () {
        const auth = yield* open({ plan: "verify" })
        const playerId = fresh("p")
        const second = yield* someSecond
        const [older, other] = [goToken(playerId, second - 10), goToken(fresh("p"), second - 10)]
        const identity = yield* auth.verify(older)
        assert.deepStrictEqual([identity.profile, identity.playerId, identity.family], ["plan", playerId, undefined])
        yield* auth.logout(identity)
        assert.strictEqual(yield* tagOf(auth.verify(older)), "Revoked ended")
        assert.strictEqual(yield* tagOf(auth.verify(goToken(playerId, second - 1))), "Revoked ended")
        // The clock of who issues is ahead by what is allowed.
        assert.strictEqual((yield* auth.verify(goToken(playerId, second + 3))).playerId, playerId)
        yield* auth.verify(other)
        const own = yield* auth.issue({ playerId })
        assert.strictEqual((yield* auth.verify(own.access)).profile, "own")
      })
    )

    it.effect("takes no token of a Go service for a player that is banned", () =>
      Effect.gen(function* () {
        const auth = yield* open({ plan: "verify" })
        const playerId = fresh("p")
        const second = yield* someSecond
        yield* auth.ban(playerId, "forever")
        const later = goToken(playerId, second + 3)
        assert.strictEqual(yield* tagOf(auth.verify(later)), "Revoked banned")
        yield* auth.unban(playerId)
        assert.strictEqual((yield* auth.verify(later)).playerId, playerId)
        assert.strictEqual(yield* tagOf(auth.verify(goToken(playerId, second - 3))), "Revoked ended")
      })
    )

    it.effect("issues what a Go service takes, where that is configured", () =>
      Effect.gen(function* () {
        const auth = yield* open({ plan: "issue" })
        const playerId = fresh("p")
        const first = yield* auth.issue({ playerId })
        assert.strictEqual((yield* auth.verify(first.access)).profile, "plan")
        yield* auth.refresh(first.refresh)
        yield* auth.logout(yield* auth.verify(first.access))
        assert.deepStrictEqual(yield* standing(auth, first), ["Revoked ended", "Revoked ended"])
      })
    )

    it.effect("shows no token, in what it gives, fails with or logs", () => {
      const logged: Array<string> = []
      const recorder = Logger.layer([Logger.make((options) => void logged.push(inspect(options, { depth: 9 })))])
      return Effect.gen(function* () {
        const auth = yield* open({ refreshGrace: Duration.zero })
        const tokens = yield* auth.issue({ playerId: fresh("p") })
        const identity = yield* auth.verify(tokens.access)
        yield* auth.refresh(tokens.refresh)
        yield* advance(2)
        const replay = yield* Effect.flip(auth.refresh(tokens.refresh))
        assert.isTrue(logged.some((line) => line.includes("refresh_replayed")))
        const shown = [tokens, identity, replay, logged].map((one) => inspect(one, { depth: 9 }) + JSON.stringify(one))
        for (const text of [Redacted.value(tokens.access), Redacted.value(tokens.refresh)]) {
          for (const part of text.split(".").filter((one) => one.length > 40)) {
            for (const one of shown) assert.notInclude(one, part)
          }
        }
      }).pipe(Effect.provide(recorder))
    })
  })
}
