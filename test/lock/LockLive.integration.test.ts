// What LockLive does on real servers beyond the contract: what is on the wire, lost replies, lost leases, fences, guards.
import { assert, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as SqlClient from "effect/sql/SqlClient"
import type { Cluster, Redis as Driver } from "ioredis"
import { CurrentLease, Fence, Lock, type LockError } from "xdooria/lock"
import { layerLive } from "xdooria/lock/live"
import { Pg } from "xdooria/pg"
import { layerLive as pgLive } from "xdooria/pg/live"
import { Key, Redis } from "xdooria/redis"
import { addressOf, fresh } from "../pg/Database.ts"
import { client, driver, eventually, type Options, single, suites } from "../support/RedisBackends.ts"
import * as FaultProxy from "../support/FaultProxy.ts"
import * as RealServer from "../support/RealServer.ts"
import { isMissing, servers } from "../support/Servers.ts"
import { holder, isFree, newKey, said, tagOf, unaware } from "./LockContract.ts"

const quiet = Effect.provideService(References.MinimumLogLevel, "None")

/** Redis and Lock for one test. */
const context = (options: Options, extra: Options = {}) =>
  Effect.gen(function* () {
    const redis = yield* client(options, extra)
    const lock = yield* Layer.build(
      Layer.provide(layerLive({ pollInterval: Duration.millis(100) }), Layer.succeedContext(redis))
    )
    return Context.merge(redis, lock)
  })

const withLock =
  (options: Options, extra?: Options) =>
  <A, E>(body: Effect.Effect<A, E, Redis | Lock | Scope.Scope>) =>
    Effect.scoped(Effect.flatMap(context(options, extra), (services) => Effect.provide(body, services)))

/** The plan's holder: go-redis sends these very words. */
const releaseOfPlan = `if redis.call("get", KEYS[1]) == ARGV[1] then return redis.call("del", KEYS[1]) else return 0 end`
const extendOfPlan = `if redis.call("get", KEYS[1]) == ARGV[1] then return redis.call("pexpire", KEYS[1], ARGV[2]) else return 0 end`

/** A driver's client beside the room, which looks at what the server has. */
const raw = Effect.fnUntraced(function* (options: Options) {
  const { keyPrefix } = yield* Redis
  const native = yield* driver(options)
  const run = <A>(f: (redis: Driver | Cluster) => Promise<A>) => Effect.promise(() => f(native))
  const nameOf = (key: Key.Any) => Key.render(key, keyPrefix)
  return {
    run,
    nameOf,
    get: (key: Key.Any) => run((redis) => redis.get(nameOf(key))),
    del: (key: Key.Any) => run((redis) => redis.del(nameOf(key))),
    /** How many wait. */
    waiting: (key: Key.Key<"lock">) => run((redis) => redis.zcard(nameOf(Key.beside(key, "xd:lock")))),
    take: (key: Key.Any, value: string, ttl: number) => run((redis) => redis.set(nameOf(key), value, "PX", ttl, "NX"))
  }
})

suites("LockLive on the wire", (options) => {
  const test = withLock(options)

  it.live("is a text of 32 hex digits at the very key, with an expiry", () =>
    Effect.gen(function* () {
      const { get, nameOf, run } = yield* raw(options)
      const key = yield* newKey
      yield* Effect.gen(function* () {
        assert.match((yield* get(key)) ?? "", /^[0-9a-f]{32}$/)
        const left = yield* run((redis) => redis.pttl(nameOf(key)))
        assert.isTrue(left > 8_000 && left <= 10_000)
      }).pipe(Lock.withLock(key, { ttl: "10 seconds" }))
      assert.strictEqual(yield* get(key), null)
    }).pipe(test)
  )

  it.live("keeps out a holder of the plan, whose scripts do not touch it", () =>
    Effect.gen(function* () {
      const { get, nameOf, run, take } = yield* raw(options)
      const key = yield* newKey
      yield* Effect.gen(function* () {
        const held = yield* get(key)
        const go = "0123456789abcdef0123456789abcdef"
        assert.strictEqual(yield* take(key, go, 5_000), null)
        assert.strictEqual(yield* run((redis) => redis.eval(releaseOfPlan, 1, nameOf(key), go)), 0)
        assert.strictEqual(yield* run((redis) => redis.eval(extendOfPlan, 1, nameOf(key), go, 60_000)), 0)
        assert.strictEqual(yield* get(key), held)
      }).pipe(Lock.withLock(key))
      assert.strictEqual(yield* take(key, "0123456789abcdef0123456789abcdef", 5_000), "OK")
    }).pipe(test)
  )

  it.live("is kept out by a holder of the plan, and comes in when that has released, within a poll interval", () =>
    Effect.gen(function* () {
      const { get, nameOf, run, take, waiting } = yield* raw(options)
      const key = yield* newKey
      const go = "0123456789abcdef0123456789abcdef"
      yield* take(key, go, 60_000)
      assert.strictEqual(yield* tagOf(Lock.withLock(key, { wait: 0 })(Effect.void)), "Held")
      assert.strictEqual(yield* get(key), go)
      const next = yield* holder(key, { wait: "20 seconds" })
      yield* eventually(
        "it waits",
        Effect.map(waiting(key), (n) => n === 1)
      )
      assert.strictEqual(yield* run((redis) => redis.eval(releaseOfPlan, 1, nameOf(key), go)), 1)
      yield* next.lease
      yield* next.stop
    }).pipe(test)
  )

  it.live("comes in when the lock of a holder that died has ended", () =>
    Effect.gen(function* () {
      const { take } = yield* raw(options)
      const key = yield* newKey
      yield* take(key, "0123456789abcdef0123456789abcdef", 300)
      yield* Lock.withLock(key, { wait: "20 seconds" })(Effect.void)
    }).pipe(test)
  )

  it.live("is refused by a key of any type and value, which it leaves as it is", () =>
    Effect.gen(function* () {
      const { nameOf, run } = yield* raw(options)
      for (const set of [
        (redis: Driver | Cluster, name: string) => redis.set(name, ""),
        (redis: Driver | Cluster, name: string) => redis.hset(name, "a", "b"),
        (redis: Driver | Cluster, name: string) => redis.rpush(name, "a"),
        (redis: Driver | Cluster, name: string) => redis.zadd(name, 1, "a")
      ]) {
        const key = yield* newKey
        yield* run((redis) => set(redis, nameOf(key)) as Promise<unknown>)
        const before = yield* run((redis) => redis.type(nameOf(key)))
        assert.strictEqual(yield* tagOf(Lock.withLock(key, { wait: 0 })(Effect.void)), "Held")
        assert.strictEqual(yield* tagOf(Lock.withLock(key, { wait: "150 millis" })(Effect.void)), "Timeout")
        assert.strictEqual(yield* run((redis) => redis.type(nameOf(key))), before)
      }
    }).pipe(test)
  )

  it.live("lets nobody pass those who wait, even when the lock is free", () =>
    Effect.gen(function* () {
      const { nameOf, run } = yield* raw(options)
      const key = yield* newKey
      // One who waits and is slow to come: a place in the queue that lasts for another second.
      const [seconds, micros] = yield* run((redis) => redis.time())
      const until = (Number(seconds) + 1) * 1_000_000 + Number(micros)
      yield* run((redis) => redis.zadd(nameOf(Key.beside(key, "xd:lock")), 1, "slow"))
      yield* run((redis) => redis.hset(nameOf(Key.beside(key, "xd:waiting")), "slow", `${until} 1000 nowhere`))
      assert.isFalse(yield* isFree(key))
      // It died: its place ends by itself.
      yield* Lock.withLock(key, { wait: "20 seconds" })(Effect.void)
      assert.strictEqual(yield* run((redis) => redis.exists(nameOf(Key.beside(key, "xd:lock")))), 0)
    }).pipe(test)
  )

  it.live("leaves nothing but the last token behind, which rises also when the key is gone", () =>
    Effect.gen(function* () {
      const { nameOf, run } = yield* raw(options)
      const key = yield* newKey
      const fence = Effect.map(Lock.withLock(key)(CurrentLease), (lease) => lease.fence)
      const first = yield* fence
      const beside = ["xd:lock", "xd:waiting", "xd:fence"] as const
      const there = yield* Effect.forEach(beside, (words) => run((redis) => redis.pttl(nameOf(Key.beside(key, words)))))
      assert.deepStrictEqual(there.slice(0, 2), [-2, -2])
      assert.isTrue(there[2]! > 86_000_000 && there[2]! <= 86_400_000)
      // As a flush does.
      yield* run((redis) => redis.del(nameOf(Key.beside(key, "xd:fence"))))
      const second = yield* fence
      assert.isTrue(second > first)
      // As a clock does that was set back: the last token is an hour ahead of it.
      const ahead = second + 3_600_000_000n
      yield* run((redis) => redis.set(nameOf(Key.beside(key, "xd:fence")), String(ahead)))
      assert.strictEqual(yield* fence, ahead + 1n)
    }).pipe(test)
  )

  it.live("wakes the next one by a message, long before it would look by itself", () =>
    Effect.gen(function* () {
      const redis = yield* client(options)
      const layer = layerLive({ pollInterval: Duration.seconds(20) }).pipe(Layer.provide(Layer.succeedContext(redis)))
      yield* Effect.gen(function* () {
        const { waiting } = yield* raw(options)
        const key = yield* newKey
        const one = yield* holder(key)
        yield* one.lease
        const two = yield* holder(key, { wait: "30 seconds" })
        yield* eventually(
          "it waits",
          Effect.map(waiting(key), (n) => n === 1)
        )
        // The subscription is there before its first message counts.
        yield* Effect.sleep("300 millis")
        yield* one.stop
        yield* Effect.timeout(two.lease, "10 seconds")
        yield* two.stop
      }).pipe(Effect.provide(Layer.merge(Layer.succeedContext(redis), layer)))
    }).pipe(Effect.scoped)
  )

  it.live("leaves nothing behind when the service is closed", () =>
    Effect.gen(function* () {
      const { get, waiting } = yield* raw(options)
      const scope = yield* Scope.make()
      const redis = yield* Redis
      const odd = { ttl: Duration.micros(3_333_333n), pollInterval: Duration.micros(333_333n) }
      const layer = Layer.provide(layerLive(odd), Layer.succeed(Redis, redis))
      const services = yield* Layer.buildWithScope(layer, scope)
      const key = yield* newKey
      const one = yield* Effect.provide(holder(key), services)
      yield* one.lease
      const two = yield* Effect.provide(holder(key, { wait: Duration.infinity }), services)
      yield* eventually(
        "it waits",
        Effect.map(waiting(key), (n) => n === 1)
      )
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(yield* get(key), null)
      assert.strictEqual(yield* waiting(key), 0)
      const reasons = yield* Effect.forEach([one, two], ({ fiber }) => tagOf(Fiber.join(fiber)))
      assert.deepStrictEqual(reasons, ["Lost", "Closed"])
    }).pipe(quiet, test)
  )

  it.live("does not wait for a place that a clock that was set back made too long", () =>
    Effect.gen(function* () {
      const { nameOf, run } = yield* raw(options)
      const key = yield* newKey
      const tickets = nameOf(Key.beside(key, "xd:waiting"))
      const [seconds] = yield* run((redis) => redis.time())
      yield* run((redis) => redis.zadd(nameOf(Key.beside(key, "xd:lock")), 1, "slow"))
      yield* run((redis) => redis.hset(tickets, "slow", `${Number(seconds) + 3600}000000 300 nowhere`))
      // It lasts as long as one that was made now.
      assert.isFalse(yield* isFree(key))
      yield* Lock.withLock(key, { wait: "10 seconds" })(Effect.void)
    }).pipe(test)
  )

  it.live("interrupts its work when its key is deleted or another's", () =>
    Effect.gen(function* () {
      const { del, nameOf, run } = yield* raw(options)
      for (const harm of [del, (key: Key.Any) => run((redis) => redis.set(nameOf(key), "another"))]) {
        const key = yield* newKey
        const working = yield* Deferred.make<void>()
        const stopped = yield* Deferred.make<void>()
        const fiber = yield* Effect.andThen(Deferred.succeed(working, undefined), Effect.never).pipe(
          Effect.onInterrupt(() => Deferred.succeed(stopped, undefined)),
          Lock.withLock(key, { ttl: "600 millis" }),
          Effect.flip,
          Effect.forkChild
        )
        yield* said(working, fiber)
        yield* harm(key)
        const { reason } = yield* Fiber.join(fiber) as Effect.Effect<LockError>
        assert.deepInclude({ ...reason } as object, { _tag: "Lost", how: "taken" })
        assert.isTrue(yield* Deferred.isDone(stopped))
      }
    }).pipe(quiet, test)
  )
})

RealServer.suite("redis", "LockLive on a link that fails", (address) => {
  /** Lock and Redis through a proxy, and a client beside it that sees what the server has. */
  const setup = Effect.gen(function* () {
    const proxy = yield* FaultProxy.make({ ...address, seed: 1 })
    const through = yield* context(single({ host: "127.0.0.1", port: proxy.port }), {
      commandTimeout: Duration.millis(400)
    })
    const { keyPrefix } = Context.get(through, Redis)
    const beside = yield* client(single(address), { keyPrefix })
    // Its scripts are loaded and its connections open: a request that the test chooses is the one that it means.
    yield* Effect.provide(Lock.withLock(yield* newKey)(Effect.void), through)
    const look = yield* Effect.provide(raw(single(address)), beside)
    return { proxy, through, look }
  })

  it.live("holds the lock once when the reply to its claim was lost", () =>
    Effect.gen(function* () {
      const { look, proxy, through } = yield* setup
      const key = yield* newKey
      const rule = yield* proxy.onRequest((bytes) => bytes.includes(key.name), "cutAfterReply")
      yield* Effect.forkChild(Effect.andThen(rule.first, proxy.heal))
      yield* Effect.gen(function* () {
        yield* rule.first
        assert.match((yield* look.get(key)) ?? "", /^[0-9a-f]{32}$/)
      }).pipe(Lock.withLock(key), Effect.provide(through))
      assert.strictEqual(yield* look.get(key), null)
    }).pipe(quiet, Effect.scoped)
  )

  it.live("leaves no lock behind when it gives up on a claim whose reply was lost", () =>
    Effect.gen(function* () {
      const { look, proxy, through } = yield* setup
      const key = yield* newKey
      yield* proxy.dropReplies
      const tag = yield* tagOf(Effect.provide(Lock.withLock(key, { wait: 0, ttl: "1 minute" })(Effect.void), through))
      assert.strictEqual(tag, "Unavailable")
      yield* proxy.heal
      yield* eventually(
        "the lock is gone",
        Effect.map(look.get(key), (value) => value === null)
      )
    }).pipe(quiet, Effect.scoped)
  )

  it.live("leaves no lock behind when it is interrupted while the reply is in flight", () =>
    Effect.gen(function* () {
      const { look, proxy, through } = yield* setup
      for (let round = 0; round < 20; round++) {
        const key = yield* newKey
        yield* proxy.delay(round % 4)
        const fiber = yield* Effect.forkChild(
          Effect.provide(
            Lock.withLock(key, { ttl: "1 minute", wait: round % 2 === 0 ? 0 : "1 minute" })(Effect.never),
            through
          )
        )
        yield* Effect.sleep(round % 5)
        const [took] = yield* Effect.timed(Fiber.interrupt(fiber))
        assert.isBelow(Duration.toMillis(took), 1_000)
        yield* eventually(
          "the lock is gone",
          Effect.map(look.get(key), (value) => value === null)
        )
        yield* eventually(
          "nobody waits",
          Effect.map(look.waiting(key), (n) => n === 0)
        )
      }
    }).pipe(quiet, Effect.scoped)
  )

  it.live("leaves no place in the queue behind when one who waits is interrupted", () =>
    Effect.gen(function* () {
      const { look, through } = yield* setup
      const key = yield* newKey
      yield* look.take(key, "another", 60_000)
      const fiber = yield* Effect.forkChild(
        Effect.provide(Lock.withLock(key, { wait: Duration.infinity })(Effect.void), through)
      )
      yield* eventually(
        "it waits",
        Effect.map(look.waiting(key), (n) => n === 1)
      )
      const exit = yield* Effect.andThen(Fiber.interrupt(fiber), Fiber.await(fiber))
      assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
      assert.strictEqual(yield* look.waiting(key), 0)
    }).pipe(quiet, Effect.scoped)
  )

  it.live("interrupts its work on a dead link before the lock has ended, and lets go in time", () =>
    Effect.gen(function* () {
      const { look, proxy, through } = yield* setup
      const key = yield* newKey
      const working = yield* Deferred.make<void>()
      const stillHeld = yield* Deferred.make<boolean>()
      const fiber = yield* Effect.andThen(Deferred.succeed(working, undefined), Effect.never).pipe(
        Effect.onInterrupt(() => Effect.flatMap(look.get(key), (value) => Deferred.succeed(stillHeld, value !== null))),
        Lock.withLock(key, { ttl: "1500 millis" }),
        Effect.flip,
        Effect.provide(through),
        Effect.forkChild
      )
      yield* said(working, fiber)
      yield* proxy.blackhole
      const { reason } = yield* Fiber.join(fiber) as Effect.Effect<LockError>
      assert.deepInclude({ ...reason } as object, { _tag: "Lost", how: "expired" })
      assert.isTrue(yield* Deferred.await(stillHeld))
      yield* proxy.heal
    }).pipe(quiet, Effect.scoped)
  )

  it.live("goes on polling when nobody may listen to its channel", () =>
    Effect.gen(function* () {
      const { run } = yield* Effect.provide(raw(single(address)), yield* client(single(address)))
      const user = `u${crypto.randomUUID().slice(0, 8)}`
      yield* Effect.acquireRelease(
        run((redis) => redis.call("ACL", "SETUSER", user, "on", "nopass", "~*", "resetchannels", "+@all")),
        () => run((redis) => redis.call("ACL", "DELUSER", user))
      )
      const services = yield* context(single(address), { username: user })
      yield* Effect.gen(function* () {
        const key = yield* newKey
        const { take } = yield* raw(single(address))
        yield* take(key, "another", 200)
        yield* Lock.withLock(key, { wait: "20 seconds" })(Effect.void)
      }).pipe(Effect.provide(services))
    }).pipe(quiet, Effect.scoped)
  )
})

RealServer.suite("redis", "Fence", (address) => {
  const test = withLock(single(address))

  it.live("refuses a guarded write to Redis with a lower token, and writes nothing", () =>
    Effect.gen(function* () {
      const { get, nameOf, run } = yield* raw(single(address))
      const key = yield* newKey
      const data = yield* Effect.fromResult(Key.make("gold", "p1"))
      const stale = unaware(yield* Lock.withLock(key)(CurrentLease))
      yield* Fence.set(data, "1").pipe(Lock.withLock(key))
      yield* Effect.andThen(Fence.set(data, "2"), Fence.set(data, "3", "1 minute")).pipe(Lock.withLock(key))
      assert.strictEqual(yield* tagOf(Effect.provideService(Fence.set(data, "stale"), CurrentLease, stale)), "Stale")
      assert.strictEqual(yield* get(data), "3")
      assert.isAbove(yield* run((redis) => redis.pttl(nameOf(data))), 50_000)
      assert.strictEqual(
        yield* tagOf(Effect.provideService(Fence.set(Key.beside(data, "xd:x"), ""), CurrentLease, stale)),
        "InvalidInput"
      )
    }).pipe(test)
  )

  it.live("is no write of a fork that has outlived the lock", () =>
    Effect.gen(function* () {
      const { get } = yield* raw(single(address))
      const data = yield* Effect.fromResult(Key.make("gold", "p4"))
      const go = yield* Deferred.make<void>()
      const fork = yield* Effect.andThen(Deferred.await(go), Fence.set(data, "late")).pipe(
        Effect.forkDetach,
        Lock.withLock(yield* newKey)
      )
      yield* Deferred.succeed(go, undefined)
      const error = yield* Effect.flip(Fiber.join(fork))
      assert.deepInclude({ ...error.reason } as object, { _tag: "Lost", how: "released" })
      assert.strictEqual(yield* get(data), null)
    }).pipe(test)
  )

  it.live("compares tokens beyond what a double holds", () =>
    Effect.gen(function* () {
      const data = yield* Effect.fromResult(Key.make("gold", "p2"))
      const lease = unaware(yield* Lock.withLock(yield* newKey)(CurrentLease))
      const set = (fence: bigint) =>
        Effect.isSuccess(Effect.provideService(Fence.set(data, "x"), CurrentLease, { ...lease, fence }))
      const max = 9_223_372_036_854_775_807n
      const given = [9n, 10n, 9n, max - 1n, max - 2n, max, max - 1n, max]
      assert.deepStrictEqual(yield* Effect.forEach(given, set), [true, true, false, true, false, true, false, true])
    }).pipe(test)
  )

  it.live("does not say that nothing was written when the reply was lost", () =>
    Effect.gen(function* () {
      const proxy = yield* FaultProxy.make({ ...address, seed: 1 })
      const services = yield* context(single({ host: "127.0.0.1", port: proxy.port }), {
        commandTimeout: Duration.millis(300)
      })
      const data = yield* Effect.fromResult(Key.make("gold", "p3"))
      const locked = Lock.withLock(yield* newKey, { ttl: "20 seconds" })
      yield* Effect.provide(locked(Fence.set(data, "1")), services)
      const tag = yield* Effect.gen(function* () {
        yield* proxy.onRequest((bytes) => bytes.includes(data.name), "dropReply")
        return yield* tagOf(Fence.set(data, "2"))
      }).pipe(locked, Effect.tap(proxy.heal), Effect.provide(services))
      assert.strictEqual(tag, "OutcomeUnknown")
    }).pipe(quiet, Effect.scoped)
  )
})

RealServer.suite("postgres", "Fence with PostgreSQL", (postgres) => {
  const redisAddress = servers.redis
  if (isMissing(redisAddress)) return RealServer.suite("redis", "and Redis", () => {})

  /** A database with what fences need, Redis, and locks whose tokens come from a sequence. */
  const setup = Effect.gen(function* () {
    const database = yield* Layer.build(pgLive(yield* fresh(addressOf(postgres))))
    const redis = yield* client(single(redisAddress))
    const both = Context.merge(database, redis)
    const lock = yield* Layer.build(
      Layer.provide(
        layerLive({ fence: Fence.sequence, pollInterval: Duration.millis(100) }),
        Layer.succeedContext(both)
      )
    )
    return Context.merge(both, lock)
  })
  const test = <A, E>(body: Effect.Effect<A, E, Redis | Lock | SqlClient.SqlClient | Scope.Scope>) =>
    quiet(Effect.scoped(Effect.flatMap(setup, (services) => Effect.provide(body, services))))
  const accounts = Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* Pg.migrate([
      Fence.migration(1),
      { id: 2, name: "create_accounts", up: "CREATE TABLE accounts (id int PRIMARY KEY, gold int NOT NULL)" }
    ])
    yield* sql`INSERT INTO accounts VALUES (1, 0)`
    return {
      add: (gold: number) => sql`UPDATE accounts SET gold = gold + ${gold} WHERE id = 1`,
      gold: Effect.map(sql<{ gold: number }>`SELECT gold FROM accounts`, ([row]) => row!.gold)
    }
  })

  it.live("draws tokens from the sequence, which rises whatever happens to Redis", () =>
    Effect.gen(function* () {
      yield* accounts
      const { nameOf, run } = yield* raw(single(redisAddress))
      const key = yield* newKey
      const fence = Effect.map(Lock.withLock(key)(CurrentLease), (lease) => lease.fence)
      // Above whatever Redis gives.
      const first = 2n ** 62n
      assert.strictEqual(yield* fence, first)
      yield* run((redis) => redis.del(nameOf(Key.beside(key, "xd:fence"))))
      assert.strictEqual(yield* fence, first + 1n)
      const all = yield* Effect.all(
        Array.from({ length: 10 }, () => fence),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(
        all.toSorted((a, b) => Number(a - b)),
        Array.from({ length: 10 }, (_, i) => first + 2n + BigInt(i))
      )
    }).pipe(test)
  )

  it.live("does not give a token that was drawn after the lock had passed on", () =>
    Effect.gen(function* () {
      const { del } = yield* raw(single(redisAddress))
      const key = yield* newKey
      const services = yield* Effect.context<Redis>()
      let drawn = 0n
      const slow: Fence.Source<never> = {
        // The first one is so late that the lock is gone by then.
        next: Effect.suspend(() => (++drawn === 1n ? Effect.as(del(key), drawn) : Effect.succeed(drawn)))
      }
      const layer = layerLive({ fence: slow }).pipe(Layer.provide(Layer.succeedContext(services)))
      assert.strictEqual(
        (yield* Effect.provide(Lock.withLock(key, { wait: "20 seconds" })(CurrentLease), layer)).fence,
        2n
      )
      drawn = 0n
      assert.strictEqual(yield* tagOf(Effect.provide(Lock.withLock(key, { wait: 0 })(CurrentLease), layer)), "Held")
    }).pipe(test)
  )

  it.live("says that the sequence is missing, and leaves no lock behind", () =>
    Effect.gen(function* () {
      const { get } = yield* raw(single(redisAddress))
      const key = yield* newKey
      const { reason } = yield* Effect.flip(Lock.withLock(key)(Effect.void))
      assert.deepInclude({ ...reason } as object, { _tag: "Refused", detail: "42P01" })
      yield* eventually(
        "the lock is gone",
        Effect.map(get(key), (value) => value === null)
      )
    }).pipe(test)
  )

  it.live("refuses a guarded transaction with a lower token, and undoes what it wrote", () =>
    Effect.gen(function* () {
      const { add, gold } = yield* accounts
      const key = yield* newKey
      const stale = unaware(yield* Lock.withLock(key)(CurrentLease))
      yield* Lock.withLock(key)(Effect.andThen(Fence.guard(add(1)), Fence.guard(add(10))))
      const late = Effect.provideService(Fence.guard(add(100)), CurrentLease, stale)
      const error = yield* Effect.flip(late)
      assert.strictEqual(error.reason._tag, "Stale")
      // Within a transaction of the caller's the stale one is undone with it, or alone when that goes on.
      yield* Effect.flip(Pg.transaction(Effect.andThen(add(1_000), late)))
      yield* Pg.transaction(Effect.andThen(add(10_000), Effect.ignore(late)))
      assert.strictEqual(yield* gold, 10_011)
    }).pipe(test)
  )

  it.live("runs nothing of a fork that has outlived the lock", () =>
    Effect.gen(function* () {
      const { add, gold } = yield* accounts
      const go = yield* Deferred.make<void>()
      const fork = yield* Effect.andThen(Deferred.await(go), Fence.guard(add(1))).pipe(
        Effect.forkDetach,
        Lock.withLock(yield* newKey)
      )
      yield* Deferred.succeed(go, undefined)
      const { reason } = yield* Effect.flip(Fiber.join(fork))
      assert.deepInclude({ ...reason } as object, { _tag: "Lost", how: "released" })
      assert.strictEqual(yield* gold, 0)
    }).pipe(test)
  )

  it.live("knows the locks of two key prefixes as two", () =>
    Effect.gen(function* () {
      const { add, gold } = yield* accounts
      const key = yield* newKey
      const other = yield* client(single(redisAddress))
      const sql = yield* SqlClient.SqlClient
      const first = unaware(yield* Lock.withLock(key)(CurrentLease))
      const layer = Layer.provide(
        layerLive({ fence: Fence.sequence }),
        Layer.merge(Layer.succeedContext(other), Layer.succeed(SqlClient.SqlClient, sql))
      )
      const later = yield* Effect.provide(Lock.withLock(key)(Effect.andThen(Fence.guard(add(1)), CurrentLease)), layer)
      assert.isTrue(later.fence > first.fence)
      yield* Effect.provideService(Fence.guard(add(10)), CurrentLease, first)
      assert.strictEqual(yield* gold, 11)
      const { nameOf } = yield* raw(single(redisAddress))
      assert.strictEqual(first.name, nameOf(key))
      const rows = yield* sql<{ key: string }>`SELECT key FROM xdooria_fences`
      assert.sameMembers(
        rows.map((row) => row.key),
        [first.name, later.name]
      )
    }).pipe(test)
  )

  it.live("does not wait for a token for longer than the lock, and leaves nothing behind", () =>
    Effect.gen(function* () {
      yield* accounts
      const { get } = yield* raw(single(redisAddress))
      const sql = yield* SqlClient.SqlClient
      const isLocked = yield* Deferred.make<void>()
      const go = yield* Deferred.make<void>()
      const altering = yield* Effect.forkChild(
        Pg.transaction(
          sql`ALTER SEQUENCE xdooria_fence RESTART`.pipe(
            Effect.andThen(Deferred.succeed(isLocked, undefined)),
            Effect.andThen(Deferred.await(go))
          )
        )
      )
      yield* said(isLocked, altering)
      for (const wait of [0, 200]) {
        const key = yield* newKey
        // The database itself would hold it back for longer.
        const error = yield* Effect.timeout(Effect.flip(Lock.withLock(key, { wait })(Effect.void)), "4 seconds")
        assert.deepInclude({ ...error.reason } as object, { _tag: "Unavailable", detail: "no token in time" })
        yield* eventually(
          "the lock is gone",
          Effect.map(get(key), (value) => value === null)
        )
      }
      yield* Deferred.succeed(go, undefined)
      yield* Fiber.join(altering)
    }).pipe(test)
  )

  it.live("lets a later holder's transaction wait for an earlier one's, and an earlier one's lose", () =>
    Effect.gen(function* () {
      const { add, gold } = yield* accounts
      const key = yield* newKey
      const early = unaware(yield* Lock.withLock(key)(CurrentLease))
      const late = unaware(yield* Lock.withLock(key)(CurrentLease))
      const inside = yield* Deferred.make<void>()
      const go = yield* Deferred.make<void>()
      const first = yield* Effect.andThen(
        Deferred.succeed(inside, undefined),
        Effect.andThen(Deferred.await(go), add(1))
      ).pipe(Fence.guard, Effect.provideService(CurrentLease, early), Effect.forkChild)
      yield* said(inside, first)
      const second = yield* Effect.forkChild(Effect.provideService(Fence.guard(add(10)), CurrentLease, late))
      const sql = yield* SqlClient.SqlClient
      yield* Effect.repeat(
        sql<{
          n: number
        }>`SELECT count(*)::int AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`,
        { until: ([row]) => row!.n === 1, schedule: Schedule.spaced("5 millis") }
      )
      yield* Deferred.succeed(go, undefined)
      yield* Effect.all([Fiber.join(first), Fiber.join(second)])
      assert.strictEqual(yield* gold, 11)
      const third = yield* Effect.flip(Effect.provideService(Fence.guard(add(100)), CurrentLease, early))
      assert.strictEqual(third.reason._tag, "Stale")
    }).pipe(test)
  )
})
