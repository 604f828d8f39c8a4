import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as CircuitBreaker from "effect/persistence/CircuitBreaker"
import * as Persistable from "effect/persistence/Persistable"
import * as PersistedCache from "effect/persistence/PersistedCache"
import * as PersistedQueue from "effect/persistence/PersistedQueue"
import * as Persistence from "effect/persistence/Persistence"
import * as RateLimiter from "effect/persistence/RateLimiter"
import * as EffectRedis from "effect/persistence/Redis"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { Redis, RedisFailure } from "xdooria/redis"
import { layerLive } from "xdooria/redis/live"
import * as RedisServer from "../support/RedisServer.ts"
import * as RealServer from "../support/RealServer.ts"
import {
  client,
  driver,
  eventually,
  freshPrefix,
  type Options,
  single,
  suites,
  withClient
} from "../support/RedisBackends.ts"

class Profile extends Persistable.Class<{ payload: { id: string } }>()("Profile", {
  primaryKey: ({ id }) => `profile:${id}`,
  success: Schema.Struct({ id: Schema.String, loads: Schema.Finite })
}) {}

const limiter = RateLimiter.layer.pipe(Layer.provide(RateLimiter.layerStoreRedis()))
const queues = (options: Parameters<typeof PersistedQueue.layerStoreRedis>[0] = {}) =>
  PersistedQueue.layer.pipe(
    Layer.provide(
      PersistedQueue.layerStoreRedis({ pollInterval: "10 millis", lockRefreshInterval: "50 millis", ...options })
    )
  )

const immediately = Schedule.spaced("1 millis")

const Job = Schema.Struct({ n: Schema.Finite })

const addTo = EffectRedis.script((a: string, b: string, n: number) => [a, b, n], {
  numberOfKeys: 2,
  lua: `redis.call("INCRBY", KEYS[1], ARGV[1]); return redis.call("INCRBY", KEYS[2], ARGV[1])`
}).withReturnType<number>()

/** All that a client of the driver finds under a prefix. */
const namesUnder = (native: Effect.Success<ReturnType<typeof driver>>, prefix: string) =>
  Effect.promise(async () => {
    const nodes = "nodes" in native ? native.nodes("master") : [native]
    return (await Promise.all(nodes.map((node) => node.keys(`${prefix}*`)))).flat().toSorted()
  })

/** As withClient, with no prefix: what the test has named is removed. */
const withoutPrefix =
  (options: Options, own: string) =>
  <A, E, R>(body: Effect.Effect<A, E, R | Redis | EffectRedis.Redis>) =>
    Effect.gen(function* () {
      const native = yield* driver(options)
      yield* Effect.addFinalizer(() =>
        Effect.promise(async () => {
          const nodes = "nodes" in native ? native.nodes("master") : [native]
          for (const node of nodes) for (const key of await node.keys(`*${own}*`)) await node.unlink(key)
        })
      )
      return yield* Effect.provide(body, yield* Layer.build(layerLive(options)))
    }).pipe(Effect.scoped)

suites("Effect's modules", (options, kind) => {
  for (const prefix of ["with a prefix", "without one"]) {
    // Without one the names are those of the test, which no other has.
    const own = freshPrefix().replace(":", "")
    const tested = prefix === "with a prefix" ? withClient(options) : withoutPrefix(options, own)

    describe(prefix, () => {
      it.live("limits a rate by windows", () =>
        Effect.gen(function* () {
          const { consume } = yield* RateLimiter.RateLimiter
          const take = consume({ key: `${own}:p1`, limit: 2, window: "10 seconds" })
          yield* take
          yield* take
          const error = yield* Effect.flip(take)
          assert.strictEqual(error.reason._tag, "RateLimitExceeded")
          yield* consume({ key: `${own}:p2`, limit: 2, window: "10 seconds" })
        }).pipe(Effect.provide(limiter), tested)
      )

      it.live("limits a rate by a bucket of tokens, which is two keys", () =>
        Effect.gen(function* () {
          const { consume } = yield* RateLimiter.RateLimiter
          const take = consume({ key: `${own}:p1`, limit: 2, window: "10 seconds", algorithm: "token-bucket" })
          yield* take
          yield* take
          const error = yield* Effect.flip(take)
          assert.strictEqual(error.reason._tag, "RateLimitExceeded")
        }).pipe(Effect.provide(limiter), tested)
      )

      it.live("keeps what a cache looked up, for another process too", () =>
        Effect.gen(function* () {
          let loads = 0
          const cache = PersistedCache.make(({ id }: Profile) => Effect.sync(() => ({ id, loads: ++loads })), {
            storeId: own,
            timeToLive: () => "10 seconds"
          })
          const [first, second] = [yield* cache, yield* cache]
          assert.deepStrictEqual(yield* first.get(new Profile({ id: "p1" })), { id: "p1", loads: 1 })
          assert.deepStrictEqual(yield* second.get(new Profile({ id: "p1" })), { id: "p1", loads: 1 })
          yield* second.invalidate(new Profile({ id: "p1" }))
          assert.deepStrictEqual(yield* second.get(new Profile({ id: "p1" })), { id: "p1", loads: 2 })
        }).pipe(Effect.scoped, Effect.provide(Persistence.layerRedis), tested)
      )

      it.live("keeps, finds and clears many at once", () =>
        Effect.gen(function* () {
          const persistence = yield* Persistence.Persistence
          const store = yield* persistence.make({ storeId: `${own}*[x]`, timeToLive: () => "10 seconds" })
          const other = yield* persistence.make({ storeId: own, timeToLive: () => "10 seconds" })
          const keys = Array.from({ length: 20 }, (_, n) => new Profile({ id: `p${n}` }))
          const entries = keys.map((key, n) => [key, Exit.succeed({ id: key.id, loads: n })] as const)
          yield* store.setMany(entries)
          yield* other.setMany([entries[0]!])
          const found = yield* store.getMany(keys)
          assert.deepStrictEqual(
            found,
            entries.map(([, exit]) => exit)
          )
          yield* store.clear
          assert.deepStrictEqual(
            yield* store.getMany(keys),
            keys.map(() => undefined)
          )
          assert.isDefined(yield* other.get(keys[0]!))
        }).pipe(Effect.scoped, Effect.provide(Persistence.layerRedis), tested)
      )

      it.live("takes what was offered to a queue, again after a failure, and once", () =>
        Effect.gen(function* () {
          const queue = yield* PersistedQueue.make({ name: own, schema: Job, retrySchedule: immediately })
          yield* queue.offer({ n: 1 }, { id: "one" })
          yield* queue.offer({ n: 1 }, { id: "one" })
          const attempts: Array<number> = []
          const handle = queue.take(({ n }, { attempts: attempt }) =>
            Effect.suspend(() => {
              attempts.push(attempt)
              return attempt < 3 ? Effect.fail("no" as const) : Effect.succeed(n)
            })
          )
          assert.strictEqual(yield* Effect.flip(handle), "no")
          assert.strictEqual(yield* Effect.flip(handle), "no")
          assert.strictEqual(yield* handle, 1)
          assert.deepStrictEqual(attempts, [1, 2, 3])
          // A second of the same id is not there, so the next is another.
          yield* queue.offer({ n: 2 })
          assert.strictEqual(yield* queue.take(({ n }) => Effect.succeed(n)), 2)
        }).pipe(Effect.provide(queues()), tested)
      )

      it.live("keeps the lock of what is taken, and gives back what was interrupted", () =>
        Effect.gen(function* () {
          const queue = yield* PersistedQueue.make({ name: own, schema: Job })
          yield* queue.offer({ n: 7 })
          const taken = yield* Deferred.make<void>()
          yield* Effect.raceFirst(
            queue.take(() => Effect.andThen(Deferred.succeed(taken, undefined), Effect.never)),
            // Longer than the lock lives unless it is refreshed.
            Effect.andThen(Deferred.await(taken), Effect.sleep("400 millis"))
          )
          assert.strictEqual(yield* queue.take(({ n }, { attempts }) => Effect.succeed(n * 10 + attempts)), 71)
        }).pipe(Effect.provide(queues({ lockExpiration: "200 millis" })), tested)
      )

      it.live("opens a circuit, for another process too", () =>
        Effect.gen(function* () {
          const make = CircuitBreaker.make({ tripPolicy: CircuitBreaker.consecutive(2), openDuration: "30 seconds" })
          const [first, second] = [yield* make, yield* make]
          const fail = Effect.fail("no" as const)
          yield* Effect.flip(first.execute(fail, { key: own }))
          yield* Effect.flip(first.execute(fail, { key: own }))
          const error = yield* Effect.flip(second.execute(fail, { key: own }))
          assert.isTrue(error instanceof CircuitBreaker.CircuitBreakerError)
          assert.strictEqual((error as CircuitBreaker.CircuitBreakerError).reason._tag, "CircuitOpen")
        }).pipe(Effect.scoped, Effect.provide(CircuitBreaker.layerStoreRedis()), tested)
      )
    })
  }

  describe("by itself", () => {
    const run = withClient(options)

    it.live("puts its names under the prefix, and finds them there", () =>
      Effect.gen(function* () {
        const redis = yield* EffectRedis.Redis
        const { keyPrefix } = yield* Redis
        const native = yield* driver(options)
        yield* redis.send("set", "app:a", "1")
        yield* redis.send("SET", "{x}app:b", "1")
        yield* redis.send("SET", "plain", "1")
        const tag = kind === "cluster" ? "{app}" : "app"
        assert.deepStrictEqual(
          yield* namesUnder(native, keyPrefix),
          [`${keyPrefix}${tag}:a`, `${keyPrefix}plain`, `${keyPrefix}{x}app:b`].toSorted()
        )
        const [cursor, names] = yield* redis.send<[string, Array<string>]>(
          "SCAN",
          "0",
          "MATCH",
          "app:*",
          "COUNT",
          "100000"
        )
        assert.deepStrictEqual([cursor, names], ["0", [`${keyPrefix}${tag}:a`]])
        // As it was found it can be used.
        assert.strictEqual(yield* redis.send("GET", names[0]!), "1")
        assert.deepStrictEqual(yield* redis.send("MGET", "app:a", "app:none"), ["1", null])
        assert.strictEqual(yield* redis.send("DEL", ...(yield* redis.send<Array<string>>("KEYS", "app:*"))), 1)
        assert.isNull(yield* redis.send("GET", "app:a"))
      }).pipe(Effect.scoped, run)
    )

    it.live("runs scripts of several keys, also on a server that has forgotten them", () =>
      Effect.gen(function* () {
        const redis = yield* EffectRedis.Redis
        const add = redis.eval(addTo)
        assert.strictEqual(yield* add("n:a", "n:b", 2), 2)
        const native = yield* driver(options)
        const nodes = "nodes" in native ? native.nodes("master") : [native]
        yield* Effect.promise(() => Promise.all(nodes.map((node) => node.script("FLUSH"))))
        assert.strictEqual(yield* add("n:a", "n:b", 3), 5)
        const own = yield* redis.reserve
        assert.strictEqual(yield* own.eval(addTo)("n:a", "n:b", 1), 6)
        assert.strictEqual(yield* own.send("GET", "n:a"), "6")
      }).pipe(Effect.scoped, run)
    )

    it.live("waits on a reserved connection, longer than a command may take", () =>
      Effect.gen(function* () {
        const redis = yield* EffectRedis.Redis
        const own = yield* redis.reserve
        const waiting = yield* Effect.forkChild(own.send("BLPOP", "list:a", "0"))
        yield* Effect.sleep("300 millis")
        yield* redis.send("RPUSH", "list:a", "v")
        const { keyPrefix } = yield* Redis
        const name = kind === "cluster" ? "{list}:a" : "list:a"
        assert.deepStrictEqual(yield* Fiber.join(waiting), [keyPrefix + name, "v"])
      }).pipe(Effect.scoped, withClient(options, { commandTimeout: "200 millis" as never }))
    )

    it.live("hears a channel under the prefix", () =>
      Effect.gen(function* () {
        const redis = yield* EffectRedis.Redis
        const messages = yield* redis.subscribe("news")
        const heard = yield* redis.send("PUBLISH", "news", "text {")
        // A node of a cluster counts its own only.
        if (kind !== "cluster") assert.strictEqual(heard, 1)
        assert.deepStrictEqual(yield* Queue.take(messages), { channel: "news", message: "text {" })
      }).pipe(Effect.scoped, run)
    )

    it.live("has the room's failure as the cause of its own", () =>
      Effect.gen(function* () {
        const redis = yield* EffectRedis.Redis
        yield* redis.send("SET", "text:a", "1")
        const wrong = yield* Effect.flip(redis.send("LPUSH", "text:a", "1"))
        assert.isTrue(wrong.cause instanceof RedisFailure)
        assert.strictEqual((wrong.cause as RedisFailure).reason._tag, "WrongType")
        const many = yield* Effect.exit(redis.send("MGET", "a", "b"))
        // Only a cluster has slots.
        if (kind !== "cluster") assert.deepStrictEqual(many, Exit.succeed([null, null]))
        else {
          const crossed = yield* Effect.flip(many)
          assert.strictEqual((crossed.cause as RedisFailure).reason._tag, "CrossSlot")
        }
        const blocking = yield* Effect.flip(redis.send("BLPOP", "a", "1"))
        assert.strictEqual((blocking.cause as RedisFailure).reason._tag, "InvalidInput")
      }).pipe(Effect.scoped, run)
    )
  })
})

RealServer.suite("redis", "Effect's modules on a server of their own", () => {
  it.live("touch no name outside the prefix", () =>
    Effect.gen(function* () {
      const server = yield* RedisServer.start()
      const context = yield* client(single(server), { keyPrefix: "app:" })
      yield* Effect.gen(function* () {
        const queue = yield* PersistedQueue.make({ name: "jobs", schema: Job })
        yield* queue.offer({ n: 1 }, { id: "one" })
        const taken = yield* Deferred.make<void>()
        const native = yield* driver(single(server))
        yield* Effect.raceFirst(
          queue.take(() => Effect.andThen(Deferred.succeed(taken, undefined), Effect.never)),
          Effect.gen(function* () {
            yield* Deferred.await(taken)
            const names = yield* namesUnder(native, "")
            assert.isTrue(names.some((name) => name.includes(":lock:")))
            assert.deepStrictEqual(
              names.filter((name) => !name.startsWith("app:")),
              []
            )
          })
        )
        yield* queue.take(() => Effect.void)
        yield* eventually(
          "no lock is left",
          Effect.map(namesUnder(native, "app:effectq:lock:"), (locks) => locks.length === 0)
        )
      }).pipe(Effect.scoped, Effect.provide(queues()), Effect.provide(context))
    }).pipe(Effect.scoped)
  )
})
