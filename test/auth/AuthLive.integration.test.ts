// What several services see of each other, what is on the server, and what holds while it is away or has lost something.
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Redacted from "effect/Redacted"
import * as References from "effect/References"
import * as Scope from "effect/Scope"
import { Cluster, type Redis as Driver } from "ioredis"
import { Auth, type AuthError, type AuthSettings, Lockout, type Tokens } from "xdooria/auth"
import { AuthLive, makeLive } from "xdooria/auth/live"
import { ConfigTest } from "xdooria/config"
import { Health } from "xdooria/health"
import * as FaultProxy from "../support/FaultProxy.ts"
import * as Recorder from "../support/Recorder.ts"
import { client, driver, eventually, freshPrefix, type Options, single, suites } from "../support/RedisBackends.ts"
import * as RealServer from "../support/RealServer.ts"
import { fresh, goToken, reasonOf, secrets, standing, tagOf } from "./AuthContract.ts"

const quiet = Effect.provideService(References.MinimumLogLevel, "None")

/** A service of its own, with a client of its own. */
const service = (options: Options, keyPrefix: string, settings: Partial<AuthSettings> = {}) =>
  Effect.flatMap(client(options, { keyPrefix }), (redis) =>
    Effect.provide(makeLive({ ...secrets, ...settings }), redis)
  )

const authOf = (options: Options, keyPrefix: string, settings: Partial<AuthSettings> = {}) =>
  Effect.map(service(options, keyPrefix, settings), Context.get(Auth))

interface Made {
  readonly playerId: string
  readonly tokens: Tokens
}

const nodesOf = (native: Driver | Cluster): ReadonlyArray<Driver> =>
  native instanceof Cluster ? native.nodes("master") : [native]

interface Stored {
  readonly text: string
  readonly ttl: number
}

/** Everything that is on the servers under a prefix, as text, and how long each key lives. */
const stored = (options: Options, prefix: string): Effect.Effect<ReadonlyMap<string, Stored>> =>
  Effect.scoped(
    Effect.flatMap(driver(options), (native) =>
      Effect.promise(async () => {
        const found = new Map<string, Stored>()
        for (const node of nodesOf(native)) {
          for (const key of await node.keys(`${prefix}*`)) {
            const type = await node.type(key)
            const value: unknown =
              type === "hash"
                ? await node.hgetall(key)
                : type === "stream"
                  ? await node.xrange(key, "-", "+")
                  : type === "zset"
                    ? await node.zrange(key, "0", "-1", "WITHSCORES")
                    : await node.get(key)
            found.set(key.slice(prefix.length), { text: JSON.stringify(value), ttl: await node.pttl(key) })
          }
        }
        return found
      })
    )
  )

/** What Redis has of a player, by hand. */
const withPlayer = <A>(
  options: Options,
  keyPrefix: string,
  playerId: string,
  body: (native: Driver | Cluster, key: string) => Promise<A>
) =>
  Effect.scoped(
    Effect.flatMap(driver(options), (native) =>
      Effect.promise(() => body(native, `${keyPrefix}xd:auth-player:${playerId}`))
    )
  )

suites("AuthLive in several processes", (options) => {
  describe("together", () => {
    it.live("refuses everywhere what was ended anywhere", () =>
      Effect.gen(function* () {
        const prefix = freshPrefix()
        const [one, two, three] = yield* Effect.all([
          authOf(options, prefix),
          authOf(options, prefix),
          authOf(options, prefix)
        ])
        for (const [how, end] of [
          ["ended", ({ tokens }) => Effect.flatMap(two.verify(tokens.access), two.logout)],
          ["ended", ({ playerId }) => two.logoutAll(playerId)],
          ["banned", ({ playerId }) => two.ban(playerId, "forever")]
        ] as ReadonlyArray<readonly [how: string, end: (made: Made) => Effect.Effect<void, AuthError>]>) {
          const playerId = fresh("p")
          const tokens = yield* one.issue({ playerId })
          for (const auth of [one, two, three]) yield* auth.verify(tokens.access)
          yield* end({ playerId, tokens })
          for (const auth of [one, two, three]) {
            yield* eventually(
              how,
              Effect.match(auth.verify(tokens.access), {
                onSuccess: () => false,
                onFailure: ({ reason }) => reason._tag === "Revoked" && reason.how === how
              })
            )
            assert.isUndefined(auth.recall(Redacted.value(tokens.access)))
          }
        }
      }).pipe(Effect.scoped)
    )

    it.live("gives one successor to all services that ask at once", () =>
      Effect.gen(function* () {
        const prefix = freshPrefix()
        const services = yield* Effect.all(Array.from({ length: 3 }, () => authOf(options, prefix)))
        const { refresh } = yield* services[0]!.issue({ playerId: fresh("p"), roles: ["admin"] })
        const all = yield* Effect.forEach([...services, ...services], (auth) => auth.refresh(refresh), {
          concurrency: "unbounded"
        })
        assert.strictEqual(new Set(all.map((tokens) => Redacted.value(tokens.refresh))).size, 1)
        assert.deepStrictEqual((yield* services[1]!.verify(all[2]!.access)).roles, ["admin"])
      }).pipe(Effect.scoped)
    )

    it.live("knows from its start what was ended before", () =>
      Effect.gen(function* () {
        const prefix = freshPrefix()
        const before = yield* authOf(options, prefix)
        const [left, gone, banned, kept, freed] = yield* Effect.forEach([1, 2, 3, 4, 5], () =>
          before.issue({ playerId: fresh("p") })
        )
        const idOf = (tokens: Tokens | undefined) =>
          Effect.map(before.verify(tokens!.access), ({ playerId }) => playerId)
        const [bannedId, freedId] = [yield* idOf(banned), yield* idOf(freed)]
        const second = Math.floor((yield* Clock.currentTimeMillis) / 1_000)
        yield* before.logout(yield* before.verify(left!.access))
        yield* before.logoutAll(yield* idOf(gone))
        yield* before.ban(bannedId, "forever")
        yield* before.ban(freedId, DateTime.makeUnsafe((yield* Clock.currentTimeMillis) + 3_600_000))
        yield* before.unban(freedId)
        const auth = yield* authOf(options, prefix, { plan: "verify" })
        assert.strictEqual(yield* tagOf(auth.verify(left!.access)), "Revoked ended")
        assert.strictEqual(yield* tagOf(auth.verify(gone!.access)), "Revoked ended")
        assert.strictEqual(yield* tagOf(auth.verify(banned!.access)), "Revoked banned")
        assert.strictEqual(yield* tagOf(auth.verify(goToken(bannedId, second + 4))), "Revoked banned")
        assert.strictEqual((yield* auth.verify(goToken(freedId, second + 4))).playerId, freedId)
        assert.deepStrictEqual(yield* standing(auth, kept!), ["good", "good"])
      }).pipe(Effect.scoped)
    )

    it.live("counts failed logins together", () =>
      Effect.gen(function* () {
        const prefix = freshPrefix()
        const services = yield* Effect.all(
          Array.from({ length: 3 }, () => service(options, prefix, { lockoutAccount: 3 }))
        )
        const account = fresh("account")
        for (const [index, one] of services.entries()) {
          const lockout = Context.get(one, Lockout)
          yield* lockout.failed(yield* lockout.check({ account, address: `10.0.0.${index}` }))
        }
        const locked = Context.get(services[0]!, Lockout).check({ account, address: "10.0.0.9" })
        assert.strictEqual(yield* tagOf(locked), "LockedOut")
      }).pipe(Effect.scoped)
    )
  })

  describe("on the server", () => {
    it.live("stores nothing that anybody could use, and nothing for ever but bans", () =>
      Effect.gen(function* () {
        const prefix = freshPrefix()
        const context = yield* service(options, prefix)
        const [auth, lockout] = [Context.get(context, Auth), Context.get(context, Lockout)]
        const [playerId, bannedId, account] = [fresh("p"), fresh("p"), fresh("account")]
        const first = yield* auth.issue({ playerId })
        const second = yield* auth.refresh(first.refresh)
        const other = yield* auth.issue({ playerId })
        yield* auth.logout(yield* auth.verify(other.access))
        yield* auth.issue({ playerId: bannedId })
        yield* auth.ban(bannedId, "forever")
        yield* lockout.failed(yield* lockout.check({ account, address: "10.9.8.7" }))
        yield* lockout.check({ account, address: "10.9.8.7" })
        const found = yield* stored(options, prefix)
        const all = [...found].map(([key, { text }]) => `${key} ${text}`).join("\n")
        for (const tokens of [first, second, other]) {
          for (const text of [tokens.access, tokens.refresh].map((one) => Redacted.value(one))) {
            for (const part of text.split(".").filter((one) => one.length > 40)) assert.notInclude(all, part)
          }
        }
        assert.notInclude(all, account)
        assert.notInclude(all, "10.9.8.7")
        const forever = [...found].filter(([, { ttl }]) => ttl < 0).map(([key]) => key)
        const bans = "xd:auth-bans:{xd:auth-players}"
        assert.deepStrictEqual(
          forever.toSorted().map((key) => key.replaceAll(prefix, "")),
          [bans, `xd:auth-player:${bannedId}`].toSorted()
        )
        yield* auth.unban(bannedId)
        assert.deepStrictEqual(
          [...(yield* stored(options, prefix)).values()].filter(({ ttl }) => ttl < 0),
          []
        )
        const untils = [...found].filter(([key]) => key === `xd:auth-player:${playerId}`).map(([, { ttl }]) => ttl)
        assert.isAbove(untils[0]!, 2_592_000_000)
      }).pipe(Effect.scoped)
    )

    it.live("tells a refresh token whose time is over", () =>
      Effect.gen(function* () {
        const prefix = freshPrefix()
        const auth = yield* authOf(options, prefix)
        const playerId = fresh("p")
        const { refresh } = yield* auth.issue({ playerId })
        const past = (yield* Clock.currentTimeMillis) - 1_000
        yield* withPlayer(options, prefix, playerId, async (native, key) => {
          for (const [field, text] of Object.entries(await native.hgetall(key))) {
            if (field.startsWith("f:")) await native.hset(key, field, text.replace(/^\d+/, String(past)))
          }
        })
        assert.strictEqual(yield* tagOf(auth.refresh(refresh)), "Expired")
        // And forgets it a day later, when somebody logs in.
        yield* withPlayer(options, prefix, playerId, async (native, key) => {
          for (const [field, text] of Object.entries(await native.hgetall(key))) {
            if (field.startsWith("f:")) await native.hset(key, field, text.replace(/^\d+/, String(past - 86_400_000)))
          }
        })
        yield* auth.issue({ playerId })
        assert.strictEqual(yield* tagOf(auth.refresh(refresh)), "Revoked ended")
      }).pipe(Effect.scoped)
    )

    it.live("ends again what a server has forgotten that it ended", () =>
      Effect.gen(function* () {
        const prefix = freshPrefix()
        const auth = yield* authOf(options, prefix)
        const playerId = fresh("p")
        const tokens = yield* auth.issue({ playerId })
        const before = yield* withPlayer(options, prefix, playerId, (native, key) => native.hgetall(key))
        yield* auth.logoutAll(playerId)
        // As after a failover to a replica that was behind.
        const forget = withPlayer(options, prefix, playerId, (native, key) => native.hset(key, before))
        yield* forget
        assert.strictEqual(yield* tagOf(auth.refresh(tokens.refresh)), "Revoked ended")
        yield* forget
        assert.deepStrictEqual(yield* standing(auth, yield* auth.issue({ playerId })), ["good", "good"])
        assert.strictEqual(yield* tagOf(auth.refresh(tokens.refresh)), "Revoked ended")
        // And of whom it has forgotten everything.
        yield* withPlayer(options, prefix, playerId, (native, key) => native.del(key))
        assert.deepStrictEqual(yield* standing(auth, yield* auth.issue({ playerId })), ["good", "good"])
      }).pipe(Effect.scoped)
    )

    it.live("refuses what somebody else has put at its keys", () =>
      Effect.gen(function* () {
        const prefix = freshPrefix()
        const auth = yield* authOf(options, prefix)
        const playerId = fresh("p")
        yield* withPlayer(options, prefix, playerId, (native, key) => native.set(key, "a text"))
        const reason = yield* reasonOf(auth.issue({ playerId }))
        assert.deepStrictEqual([reason._tag, reason.isRetryable], ["Refused", false])
      }).pipe(Effect.scoped)
    )
  })
})

RealServer.suite("redis", "AuthLive through a link that fails", (server) => {
  it.live("verifies what is known while Redis is away, and refreshes nothing", () =>
    Effect.gen(function* () {
      const proxy = yield* FaultProxy.make({ ...server, seed: 1 })
      const prefix = freshPrefix()
      const through = single({ host: "127.0.0.1", port: proxy.port })
      const strict = yield* authOf(through, prefix, { revocationMaxAge: Duration.seconds(2) })
      const lenient = yield* service(through, prefix)
      const auth = Context.get(lenient, Auth)
      const other = yield* authOf(single(server), prefix)
      const [kept, ended] = [yield* other.issue({ playerId: fresh("p") }), yield* other.issue({ playerId: fresh("p") })]
      yield* Effect.forEach([auth, strict], (one) => one.verify(kept.access))
      yield* proxy.blackhole
      yield* other.logout(yield* other.verify(ended.access))
      assert.strictEqual(yield* tagOf(auth.refresh(kept.refresh)), "Unavailable")
      for (const operation of [
        auth.issue({ playerId: "p" }),
        auth.logoutAll("p"),
        auth.ban("p", "forever"),
        auth.unban("p"),
        Effect.asVoid(Context.get(lenient, Lockout).check({ account: "a", address: "10.0.0.1" }))
      ] as ReadonlyArray<ReturnType<typeof auth.logoutAll>>) {
        assert.strictEqual(yield* tagOf(operation), "Unavailable")
      }
      const refusal = Effect.match(strict.verify(kept.access), {
        onSuccess: () => false,
        onFailure: ({ reason }) => reason._tag === "Unavailable"
      })
      yield* eventually("the list is too old", refusal)
      assert.isUndefined(strict.recall(Redacted.value(kept.access)))
      yield* auth.verify(kept.access)
      yield* auth.verify(ended.access)
      yield* proxy.heal
      yield* eventually(
        "the list is known again",
        Effect.map(refusal, (refused) => !refused)
      )
      for (const one of [auth, strict]) {
        yield* eventually(
          "what was ended meanwhile is refused",
          Effect.map(Effect.exit(one.verify(ended.access)), ({ _tag }) => _tag === "Failure")
        )
      }
      assert.deepStrictEqual(yield* standing(auth, kept), ["good", "good"])
    }).pipe(quiet, Effect.scoped)
  )

  it.live("is degraded while what is revoked is not known, and tells how old that is", () =>
    Effect.gen(function* () {
      const proxy = yield* FaultProxy.make({ ...server, seed: 4 })
      const reports = yield* Recorder.make<string>()
      const reporter = {
        ...Health.Reporter.defaultValue(),
        report: (name: string, { status }: Health.HealthState) =>
          name === "auth" ? reports.record(status) : Effect.void,
        forget: (name: string) => (name === "auth" ? reports.record("gone") : Effect.void)
      }
      const scope = yield* Scope.make()
      yield* authOf(single({ host: "127.0.0.1", port: proxy.port }), freshPrefix()).pipe(
        Effect.provideService(Health.Reporter, reporter),
        Scope.provide(scope)
      )
      const age = Effect.map(Metric.snapshot, (all) => {
        const found = all.find(({ id }) => id === "auth_revocations_age_seconds")
        return found?.type === "Gauge" ? Number(found.state.value) : -1
      })
      assert.isTrue((yield* age) >= 0)
      yield* proxy.blackhole
      yield* reports.first((status) => status === "degraded")
      yield* eventually(
        "it gets older",
        Effect.map(age, (seconds) => seconds > 1)
      )
      yield* proxy.heal
      yield* reports.atLeast(2, (status) => status === "up")
      yield* eventually(
        "it is new again",
        Effect.map(age, (seconds) => seconds < 1)
      )
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(yield* reports.all, ["up", "degraded", "up", "gone"])
    }).pipe(quiet, Effect.scoped)
  )

  it.live("uses a refresh token once also where the answer is lost and there is no grace", () =>
    Effect.gen(function* () {
      const proxy = yield* FaultProxy.make({ ...server, seed: 2 })
      const prefix = freshPrefix()
      const auth = yield* authOf(single({ host: "127.0.0.1", port: proxy.port }), prefix, {
        refreshGrace: Duration.zero
      })
      const playerId = fresh("p")
      const tokens = yield* auth.issue({ playerId })
      let isMet = false
      const first = (bytes: Buffer) => !isMet && (isMet = bytes.includes(playerId))
      const rule = yield* proxy.onRequest(first, "cutAfterReply")
      const next = yield* auth.refresh(tokens.refresh)
      assert.strictEqual(yield* rule.fired, 1)
      assert.deepStrictEqual(yield* standing(auth, next), ["good", "good"])
    }).pipe(quiet, Effect.scoped)
  )

  it.live("fails at the start, with a reason, when what was revoked cannot be read", () =>
    Effect.gen(function* () {
      const proxy = yield* FaultProxy.make({ ...server, seed: 3 })
      const redis = yield* client(single({ host: "127.0.0.1", port: proxy.port }))
      yield* proxy.blackhole
      const error = yield* Effect.flip(Effect.provide(makeLive(secrets), redis))
      // Whoever cleans up goes the same way.
      yield* proxy.heal
      assert.deepInclude({ ...error.reason }, { _tag: "Unavailable" })
    }).pipe(quiet, Effect.scoped)
  )

  it.live("does not start without a key, or with one that is too short", () =>
    Effect.gen(function* () {
      const redis = yield* client(single(server))
      for (const values of [{}, { auth: { secret: "short" } }]) {
        const error = yield* ConfigTest(values).pipe(
          Layer.provideMerge(Layer.succeedContext(redis)),
          (services) => Layer.build(Layer.provide(AuthLive, services)),
          Effect.flip
        )
        assert.strictEqual(error._tag, "InvalidConfig")
        assert.include(error.message, "auth.secret")
      }
    }).pipe(Effect.scoped)
  )
})
