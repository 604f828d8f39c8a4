import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Command, Key, Redis } from "xdooria/redis"
import * as FaultProxy from "../support/FaultProxy.ts"
import * as RealServer from "../support/RealServer.ts"
import { client, driver, freshPrefix, single, suites, withClient } from "../support/RedisBackends.ts"

const players = (count: number) =>
  Effect.forEach(
    Array.from({ length: count }, (_, n) => n),
    (n) => Effect.fromResult(Key.make("player", `p${n}`))
  )

const fill = (count: number) =>
  Effect.gen(function* () {
    const redis = yield* Redis
    const keys = yield* players(count)
    yield* redis.batch(keys.map((key) => Command.set(key, "1")))
    return keys.map(({ name }) => name).toSorted()
  })

const names = (keys: ReadonlyArray<Key.Any>) => [...new Set(keys.map(({ name }) => name))].toSorted()

suites("scan", (options) => {
  const keyPrefix = freshPrefix()

  it.live("gives all keys of a family, on every primary, as keys", () =>
    Effect.gen(function* () {
      const redis = yield* Redis
      const expected = yield* fill(2_500)
      const found = yield* Stream.runCollect(redis.scan("player"))
      assert.deepStrictEqual(names(found), expected)
      // They can be used as they are.
      yield* Effect.forEach(found, (key) => redis.run(Command.unlink(key)), { concurrency: 100 })
      assert.deepStrictEqual(names(yield* Stream.runCollect(redis.scan("player"))), [])
    }).pipe(withClient(options))
  )

  it.live("leaves out other families, other prefixes and names that are not of its making", () =>
    Effect.gen(function* () {
      const redis = yield* Redis
      const key = yield* Effect.fromResult(Key.make("player", "p1"))
      yield* redis.run(Command.set(key, "1"))
      yield* redis.run(Command.set(Key.beside(key, "player"), "1"))
      yield* redis.run(Command.set(yield* Effect.fromResult(Key.make("players", "p1")), "1"))
      yield* redis.run(Command.set(yield* Effect.fromResult(Key.make("player")), "1"))
      const native = yield* driver(options)
      yield* Effect.promise(() => native.set(`${keyPrefix}player:a b`, "1"))
      yield* Effect.promise(() => native.set(`x${keyPrefix}player:p2`, "1", "PX", 5_000))
      assert.deepStrictEqual(names(yield* Stream.runCollect(redis.scan("player"))), ["player:p1"])
    }).pipe(withClient(options, { keyPrefix }))
  )

  it.live("takes a key of several parts apart", () =>
    Effect.gen(function* () {
      const redis = yield* Redis
      const key = yield* Effect.fromResult(Key.make("player:item", "p1", "sword", "7"))
      yield* redis.run(Command.set(key, "1"))
      const [found] = yield* Stream.runCollect(redis.scan("player:item"))
      assert.strictEqual(found?.name, key.name)
      assert.deepStrictEqual(names(yield* Stream.runCollect(redis.scan("player"))), [key.name])
    }).pipe(withClient(options))
  )
})

RealServer.suite("redis", "scan of words and networks that are bad", (address) => {
  it.live("refuses words that are a pattern", () =>
    Effect.gen(function* () {
      const redis = yield* Redis
      const error = yield* Effect.flip(Stream.runDrain(redis.scan("play*r")))
      assert.strictEqual(error.reason._tag, "InvalidKey")
    }).pipe(withClient(single(address)))
  )

  it.live("takes the signs of a pattern in a prefix as they are", () =>
    Effect.gen(function* () {
      const redis = yield* Redis
      const other = yield* client(single(address), { keyPrefix: `${redis.keyPrefix.slice(0, -3)}x]` })
      yield* fill(1)
      yield* Effect.provide(fill(2), other)
      assert.lengthOf(yield* Stream.runCollect(redis.scan("player")), 1)
    }).pipe(withClient(single(address), { keyPrefix: `${freshPrefix()}[x]` }), Effect.scoped)
  )

  it.live("goes on over a lost connection", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const proxy = yield* FaultProxy.make({ ...address, seed: 1 })
        const context = yield* client(single(address), { addrs: [`127.0.0.1:${proxy.port}`] })
        const expected = yield* Effect.provide(fill(1_500), context)
        let isFirst = true
        const cut = yield* proxy.onRequest((bytes) => {
          const isIt = isFirst && bytes.includes("SCAN")
          if (isIt) isFirst = false
          return isIt
        }, "cut")
        let seen = 0
        const found = yield* Redis.use((redis) =>
          redis.scan("player").pipe(
            Stream.tap(() => (++seen === 700 ? proxy.cut : Effect.void)),
            Stream.runCollect
          )
        ).pipe(Effect.provide(context))
        assert.strictEqual(yield* cut.fired, 1)
        assert.deepStrictEqual(names(found), expected)
      })
    )
  )

  it.live("fails when a page cannot be had in time", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const proxy = yield* FaultProxy.make({ ...address, seed: 1 })
        const context = yield* client(single(address), { addrs: [`127.0.0.1:${proxy.port}`] })
        yield* proxy.blackhole
        const error = yield* Effect.flip(
          Redis.use((redis) => Stream.runDrain(redis.scan("player"))).pipe(Effect.provide(context))
        )
        assert.deepInclude(error, { command: "SCAN" })
        assert.isTrue(error.isRetryable && error.isSafeToRetry)
        yield* proxy.heal
      })
    )
  )
})
