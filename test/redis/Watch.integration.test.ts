import { assert, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { Command, Key, Redis, type RedisFailure } from "xdooria/redis"
import * as FaultProxy from "../support/FaultProxy.ts"
import * as RealServer from "../support/RealServer.ts"
import { client, freshPrefix, single, suites, withClient } from "../support/RedisBackends.ts"

const gold = Effect.fromResult(Key.make("gold", "p1"))

/** Reads a number, and gives the operations that add to it. */
const adding = (key: Key.Key<"gold">, amount: number) => (own: Pick<Redis["Service"], "run">) =>
  Effect.map(own.run(Command.get(key)), (now) => [
    Command.set(key, String(Number(now ?? "0") + amount)),
    Command.get(key)
  ])

suites("watch", (options, kind) => {
  const run = withClient(options)

  it.live("gives what each operation replies, in their order", () =>
    Effect.gen(function* () {
      const redis = yield* Redis
      const key = yield* gold
      const replies = yield* redis.watch([key], () =>
        Effect.succeed([
          Command.set(key, "1"),
          Command.incrBy(key, 4),
          Command.get(key),
          Command.del(key),
          Command.get(key)
        ] as const)
      )
      assert.deepStrictEqual(replies, [undefined, 5, "5", 1, undefined])
    }).pipe(run)
  )

  it.live("loses no update of many at once", () =>
    Effect.gen(function* () {
      const redis = yield* Redis
      const key = yield* gold
      yield* Effect.forEach(
        Array.from({ length: 8 }),
        () => Effect.repeat(redis.watch([key], adding(key, 1), 1_000), { times: 4 }),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(yield* redis.run(Command.get(key)), "40")
    }).pipe(run)
  )

  it.live("begins again when a key has changed, and gives up with Conflict", () =>
    Effect.gen(function* () {
      const redis = yield* Redis
      const key = yield* gold
      let times = 0
      const disturbed = (until: number) => (own: Pick<Redis["Service"], "run">) =>
        Effect.tap(adding(key, 1)(own), () => (times++ < until ? redis.run(Command.incrBy(key, 100)) : Effect.void))
      yield* redis.watch([key], disturbed(2), 3)
      assert.strictEqual(times, 3)
      assert.strictEqual(yield* redis.run(Command.get(key)), "201")
      times = 0
      const error = yield* Effect.flip(redis.watch([key], disturbed(3), 3))
      assert.deepInclude(error.reason, { _tag: "Conflict", attempts: 3 })
      assert.strictEqual(yield* redis.run(Command.get(key)), "501")
    }).pipe(run)
  )

  it.live("applies nothing when the body fails, and its connection serves the next", () =>
    Effect.gen(function* () {
      const redis = yield* Redis
      const key = yield* gold
      const error = yield* Effect.flip(redis.watch([key], () => Effect.fail("no" as const)))
      assert.strictEqual(error, "no")
      yield* redis.run(Command.set(key, "5"))
      assert.deepStrictEqual(yield* redis.watch([key], adding(key, 1)), [undefined, "6"])
    }).pipe(withClient(options, { poolSize: 1 }))
  )

  it.live("applies nothing when it is interrupted", () =>
    Effect.gen(function* () {
      const redis = yield* Redis
      const key = yield* gold
      const reading = yield* Deferred.make<void>()
      const fiber = yield* Effect.forkChild(
        redis.watch([key], () => Effect.andThen(Deferred.succeed(reading, undefined), Effect.never))
      )
      yield* Deferred.await(reading)
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* redis.watch([key], adding(key, 1)), [undefined, "1"])
    }).pipe(withClient(options, { poolSize: 1 }))
  )

  it.live("refuses keys and operations of different slots", () =>
    Effect.gen(function* () {
      const redis = yield* Redis
      const key = yield* gold
      const other = yield* Effect.fromResult(Key.make("gold", "p2"))
      const keys = yield* Effect.flip(redis.watch([key, other], () => Effect.succeed([])))
      assert.strictEqual(keys.reason._tag, "CrossSlot")
      const operations = yield* Effect.flip(redis.watch([key], () => Effect.succeed([Command.set(other, "1")])))
      assert.strictEqual(operations.reason._tag, "CrossSlot")
      assert.isFalse(yield* redis.run(Command.exists(other)))
    }).pipe(run)
  )

  it.live("does nothing when one of the operations cannot be sent, or attempts is out of range", () =>
    Effect.gen(function* () {
      const redis = yield* Redis
      const key = yield* gold
      for (const bad of [Command.set(key, "\ud800"), Command.make("discard", [], Command.ok)]) {
        const operations = [Command.incrBy(key, 1), bad, Command.incrBy(key, 1)] as never
        const error: RedisFailure = yield* Effect.flip(redis.watch([key], () => Effect.succeed(operations)))
        assert.strictEqual(error.reason._tag, "InvalidInput")
      }
      for (const attempts of [0, -1, Number.NaN]) {
        const error = yield* Effect.flip(redis.watch([key], adding(key, 1), attempts))
        assert.strictEqual(error.reason._tag, "InvalidInput")
      }
      assert.deepStrictEqual(yield* redis.watch([key], adding(key, 1)), [undefined, "1"])
    }).pipe(run)
  )

  it.live("fails with what an operation fails with when it is its turn", () =>
    Effect.gen(function* () {
      const redis = yield* Redis
      const key = yield* gold
      yield* redis.run(Command.set(key, "text"))
      const error = yield* Effect.flip(
        redis.watch([key], () => Effect.succeed([Command.hset(key, { a: 1 }), Command.append(key, "s")] as const))
      )
      assert.deepInclude(error, { command: "HSET" })
      assert.strictEqual(error.reason._tag, "WrongType")
      assert.isTrue(error.partial)
      assert.isFalse(error.isSafeToRetry)
      assert.strictEqual(yield* redis.run(Command.get(key)), "texts")
    }).pipe(run)
  )

  if (kind === "single") {
    it.live("waits for a connection of the pool, in vain", () =>
      Effect.gen(function* () {
        const redis = yield* Redis
        const key = yield* gold
        const inner = Effect.flip(redis.watch([key], adding(key, 1)))
        const error = yield* Effect.flip(redis.watch([key], () => Effect.flatMap(inner, Effect.fail)))
        assert.strictEqual((error as RedisFailure).reason._tag, "PoolExhausted")
      }).pipe(withClient(options, { poolSize: 1, acquireTimeout: "50 millis" as never }))
    )
  }
})

RealServer.suite("redis", "watch on a bad network", (address) => {
  it.live("says that the outcome is unknown when the reply to EXEC is lost, and does not do it twice", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const proxy = yield* FaultProxy.make({ ...address, seed: 1 })
        const keyPrefix = freshPrefix()
        const direct = yield* client(single(address), { keyPrefix })
        const behind = yield* client(single(address), { keyPrefix, addrs: [`127.0.0.1:${proxy.port}`] })
        const key = yield* gold
        const cut = yield* proxy.onRequest((bytes) => bytes.includes("SET") && bytes.includes("EXEC"), "cutAfterReply")
        const error = yield* Effect.flip(
          Redis.use((redis) => redis.watch([key], adding(key, 1))).pipe(Effect.provide(behind))
        )
        assert.strictEqual(error.reason._tag, "OutcomeUnknown")
        assert.strictEqual(yield* cut.fired, 1)
        const now = yield* Redis.use((redis) => redis.run(Command.get(key))).pipe(Effect.provide(direct))
        assert.strictEqual(now, "1")
      })
    )
  )
})
