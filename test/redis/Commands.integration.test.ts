import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { Command, Key, Redis, type RedisFailure } from "xdooria/redis"
import { suites, withClient } from "../support/RedisBackends.ts"

const key = Effect.fromResult(Key.make("c", "k"))

suites("commands", (options) => {
  const run = withClient(options)

  it.live("of bytes, which come back as they were: alone, in a batch, in a transaction and under a watch", () =>
    Effect.gen(function* () {
      const redis = yield* Redis
      const k = yield* key
      const hash = Key.beside(k, "xd:hash")
      const bytes = Uint8Array.from({ length: 256 }, (_, byte) => byte)
      assert.isUndefined(yield* redis.run(Command.getBytes(k)))
      yield* redis.run(Command.set(k, bytes))
      yield* redis.run(Command.hset(hash, { field: bytes }))
      const reads = [Command.getBytes(k), Command.strlen(k), Command.hgetBytes(hash, "field")] as const
      const isRight = (replies: ReadonlyArray<unknown>) =>
        assert.deepStrictEqual(
          replies.map((reply) => (reply instanceof Uint8Array ? [...reply] : reply)),
          [[...bytes], 256, [...bytes]]
        )
      isRight(yield* Effect.forEach(reads, (read: Command.Any) => redis.run(read)))
      isRight(yield* Effect.forEach(yield* redis.batch(reads), (one) => Effect.fromResult<unknown, RedisFailure>(one)))
      isRight(yield* redis.transaction(reads))
      isRight(yield* redis.watch([k], () => Effect.succeed(reads)))
      isRight(
        yield* Effect.scoped(
          Effect.flatMap(redis.reserve(k), (own) => Effect.forEach(reads, (read: Command.Any) => own.run(read)))
        )
      )
    }).pipe(run)
  )

  it.live("of strings and keys", () =>
    Effect.gen(function* () {
      const { run: on } = yield* Redis
      const k = yield* key
      const other = Key.beside(k, "xd:other")
      assert.isUndefined(yield* on(Command.get(k)))
      assert.isFalse(yield* on(Command.setIf(k, "present", "x")))
      assert.isTrue(yield* on(Command.setIf(k, "absent", "a", { millis: 60_000 })))
      assert.isFalse(yield* on(Command.setIf(k, "absent", "b")))
      assert.strictEqual(yield* on(Command.getSet(k, "b", "keep")), "a")
      assert.isAbove((yield* on(Command.pttl(k))) as number, 1_000)
      assert.isTrue(yield* on(Command.persist(k)))
      assert.strictEqual(yield* on(Command.pttl(k)), "forever")
      assert.isUndefined(yield* on(Command.pttl(other)))
      assert.strictEqual(yield* on(Command.getEx(k, 60_000)), "b")
      assert.isTrue(yield* on(Command.pexpire(k, 60_000)))
      assert.isTrue(yield* on(Command.pexpireAt(k, (yield* on(Command.time)).millis + 60_000)))
      assert.isAbove((yield* on(Command.pttl(k))) as number, 1_000)
      assert.strictEqual(yield* on(Command.append(k, "ü")), 3)
      assert.strictEqual(yield* on(Command.strlen(k)), 3)
      assert.deepStrictEqual(yield* on(Command.mget(k, other)), ["bü", undefined])
      yield* on(Command.rename(k, other))
      assert.strictEqual(yield* on(Command.type(other)), "string")
      assert.strictEqual(yield* on(Command.type(k)), "none")
      assert.strictEqual((yield* Effect.flip(on(Command.rename(k, other)))).reason._tag, "Rejected")
      assert.strictEqual(yield* on(Command.getDel(other)), "bü")
      assert.strictEqual(yield* on(Command.incrBy(k, -5)), -5)
      assert.isTrue(yield* on(Command.exists(k)))
      assert.strictEqual(yield* on(Command.unlink(k, other)), 1)
      assert.strictEqual(yield* on(Command.del(k)), 0)
      yield* on(Command.set(k, new Uint8Array([104, 105])))
      assert.strictEqual(yield* on(Command.get(k)), "hi")
    }).pipe(run)
  )

  it.live("of hashes", () =>
    Effect.gen(function* () {
      const { run: on } = yield* Redis
      const k = yield* key
      assert.deepStrictEqual([...(yield* on(Command.hgetAll(k)))], [])
      assert.strictEqual(yield* on(Command.hset(k, { a: "1", __proto__x: 2 })), 2)
      assert.strictEqual(
        yield* on(
          Command.hset(k, [
            ["a", "2"],
            ["__proto__", "3"]
          ])
        ),
        1
      )
      assert.deepStrictEqual(
        yield* on(Command.hgetAll(k)),
        new Map([
          ["a", "2"],
          ["__proto__x", "2"],
          ["__proto__", "3"]
        ])
      )
      assert.strictEqual(yield* on(Command.hget(k, "a")), "2")
      assert.isUndefined(yield* on(Command.hget(k, "b")))
      assert.deepStrictEqual(yield* on(Command.hmget(k, "a", "b")), ["2", undefined])
      assert.deepStrictEqual([...(yield* on(Command.hkeys(k)))].toSorted(), ["__proto__", "__proto__x", "a"])
      assert.strictEqual(yield* on(Command.hlen(k)), 3)
      assert.isTrue(yield* on(Command.hexists(k, "a")))
      assert.isFalse(yield* on(Command.hsetNx(k, "a", "9")))
      assert.strictEqual(yield* on(Command.hincrBy(k, "a", 3)), 5)
      assert.strictEqual(yield* on(Command.hdel(k, "a", "b")), 1)
    }).pipe(run)
  )

  it.live("of sets", () =>
    Effect.gen(function* () {
      const { run: on } = yield* Redis
      const k = yield* key
      const other = Key.beside(k, "xd:other")
      assert.strictEqual(yield* on(Command.sadd(k, "a", "b", "a")), 2)
      assert.strictEqual(yield* on(Command.sadd(other, "b", "c")), 2)
      assert.deepStrictEqual([...(yield* on(Command.smembers(k)))].toSorted(), ["a", "b"])
      assert.isTrue(yield* on(Command.sismember(k, "a")))
      assert.deepStrictEqual(yield* on(Command.smismember(k, "a", "c")), [true, false])
      assert.deepStrictEqual(yield* on(Command.sinter(k, other)), ["b"])
      assert.deepStrictEqual([...(yield* on(Command.sunion(k, other)))].toSorted(), ["a", "b", "c"])
      assert.deepStrictEqual(yield* on(Command.sdiff(k, other)), ["a"])
      assert.isTrue(yield* on(Command.smove(k, other, "a")))
      assert.strictEqual(yield* on(Command.scard(other)), 3)
      assert.lengthOf(yield* on(Command.srandMember(other, 2)), 2)
      assert.strictEqual(yield* on(Command.srem(other, "a", "x")), 1)
      assert.lengthOf(yield* on(Command.spop(other, 5)), 2)
      assert.deepStrictEqual(yield* on(Command.smembers(other)), [])
    }).pipe(run)
  )

  it.live("of sorted sets", () =>
    Effect.gen(function* () {
      const { run: on } = yield* Redis
      const k = yield* key
      const members = [
        { member: "a", score: -Infinity },
        { member: "b", score: 1.5 },
        { member: "c", score: Number.MAX_SAFE_INTEGER },
        { member: "d", score: Infinity }
      ]
      assert.strictEqual(yield* on(Command.zadd(k, members)), 4)
      assert.deepStrictEqual(yield* on(Command.zrangeWithScores(k, { by: "rank", start: 0, stop: -1 })), members)
      assert.deepStrictEqual(yield* on(Command.zrange(k, { by: "rank", start: 0, stop: 1, reversed: true })), [
        "d",
        "c"
      ])
      const over = { by: "score", min: { exclusive: 1.5 }, max: Infinity } as const
      assert.deepStrictEqual(yield* on(Command.zrange(k, over)), ["c", "d"])
      assert.deepStrictEqual(yield* on(Command.zrange(k, { ...over, reversed: true })), ["d", "c"])
      assert.deepStrictEqual(
        yield* on(Command.zrangeWithScores(k, { ...over, min: -Infinity, limit: { offset: 1, count: 1 } })),
        [members[1]!]
      )
      assert.strictEqual(yield* on(Command.zcount(k, 1.5, { exclusive: Infinity })), 2)
      assert.strictEqual(yield* on(Command.zscore(k, "c")), Number.MAX_SAFE_INTEGER)
      assert.isUndefined(yield* on(Command.zscore(k, "x")))
      assert.deepStrictEqual(yield* on(Command.zmscore(k, "a", "x", "d")), [-Infinity, undefined, Infinity])
      assert.strictEqual(yield* on(Command.zrank(k, "b")), 1)
      assert.strictEqual(yield* on(Command.zrevRank(k, "b")), 2)
      assert.isUndefined(yield* on(Command.zrank(k, "x")))
      const b = (score: number) => [{ member: "b", score }]
      assert.strictEqual(yield* on(Command.zadd(k, b(1), "ifHigher")), 0)
      assert.strictEqual(yield* on(Command.zadd(k, b(2), "ifHigher")), 1)
      assert.strictEqual(yield* on(Command.zadd(k, b(1), "ifLower")), 1)
      assert.strictEqual(yield* on(Command.zadd(k, b(7), "ifAbsent")), 0)
      assert.strictEqual(yield* on(Command.zadd(k, [{ member: "x", score: 1 }], "ifPresent")), 0)
      assert.strictEqual(yield* on(Command.zincrBy(k, "b", 0.25)), 1.25)
      assert.strictEqual(yield* on(Command.zcard(k)), 4)
      assert.deepStrictEqual(yield* on(Command.zpopMin(k, 1)), [members[0]!])
      assert.deepStrictEqual(yield* on(Command.zpopMax(k, 1)), [members[3]!])
      assert.strictEqual(yield* on(Command.zremRangeByScore(k, { exclusive: 1.25 }, Infinity)), 1)
      assert.strictEqual(yield* on(Command.zrem(k, "x")), 0)
      assert.strictEqual(yield* on(Command.zremRangeByRank(k, 0, -1)), 1)
      const error = yield* Effect.flip(on(Command.zadd(k, [{ member: "a", score: Number.NaN }])))
      assert.strictEqual(error.reason._tag, "InvalidInput")
      yield* on(
        Command.zadd(
          k,
          ["a", "b", "c"].map((member) => ({ member, score: 0 }))
        )
      )
      assert.deepStrictEqual(yield* on(Command.zrangeByMember(k, "first", "b")), ["a", "b"])
      assert.deepStrictEqual(
        yield* on(Command.zrangeByMember(k, { exclusive: "a" }, "last", { offset: 1, count: 1 })),
        ["c"]
      )
    }).pipe(run)
  )

  it.live("of lists, and waiting for a value", () =>
    Effect.gen(function* () {
      const redis = yield* Redis
      const on = redis.run
      const k = yield* key
      const other = Key.beside(k, "xd:other")
      assert.strictEqual(yield* on(Command.rpush(k, "b", "c", "b")), 3)
      assert.strictEqual(yield* on(Command.lpush(k, "a")), 4)
      assert.deepStrictEqual(yield* on(Command.lrange(k, 0, -1)), ["a", "b", "c", "b"])
      assert.strictEqual(yield* on(Command.lindex(k, -2)), "c")
      yield* on(Command.lset(k, 2, "C"))
      assert.strictEqual(yield* on(Command.lrem(k, -1, "b")), 1)
      assert.strictEqual(yield* on(Command.lmove(k, other, "left", "right")), "a")
      yield* on(Command.ltrim(k, 0, 0))
      assert.strictEqual(yield* on(Command.lpop(k)), "b")
      assert.isUndefined(yield* on(Command.rpop(k)))
      assert.strictEqual(yield* on(Command.llen(other)), 1)
      const own = yield* redis.reserve(k)
      assert.isUndefined(yield* own.run(Command.blpop(k, "right", 10)))
      const waiting = yield* Effect.forkChild(own.run(Command.blpop(k, "left", 10_000)))
      yield* on(Command.rpush(k, "v"))
      assert.strictEqual(yield* Fiber.join(waiting), "v")
      assert.strictEqual(yield* own.run(Command.blmove(other, k, "left", "left", 10)), "a")
      assert.isUndefined(yield* own.run(Command.blmove(other, k, "left", "left", 10)))
    }).pipe(Effect.scoped, run)
  )

  it.live("of streams", () =>
    Effect.gen(function* () {
      const redis = yield* Redis
      const on = redis.run
      const k = yield* key
      const first = yield* on(Command.xadd(k, { a: 1, b: "x" }))
      yield* on(Command.xadd(k, { a: 2 }, { id: "9999999999999-1" }))
      const entries = yield* on(Command.xrange(k, "-", "+"))
      assert.deepStrictEqual(
        entries.map(({ fields, id }) => [id, [...fields]]),
        [
          [
            first,
            [
              ["a", "1"],
              ["b", "x"]
            ]
          ],
          ["9999999999999-1", [["a", "2"]]]
        ]
      )
      assert.deepStrictEqual(yield* on(Command.xrevRange(k, "+", "-", 1)), entries.slice(1))
      assert.deepStrictEqual(yield* on(Command.xread(k, first)), entries.slice(1))
      assert.deepStrictEqual(yield* on(Command.xread(k, first, { count: 1 })), entries.slice(1))
      assert.deepStrictEqual(yield* on(Command.xread(k, "9999999999999-1")), [])
      const own = yield* redis.reserve(k)
      assert.deepStrictEqual(yield* own.run(Command.xread(k, "$", { blockMillis: 10 })), [])
      yield* on(Command.xgroupCreate(k, "g", "0"))
      assert.deepStrictEqual(yield* on(Command.xreadGroup(k, "g", "c", ">", { count: 1 })), entries.slice(0, 1))
      const [pending] = yield* on(Command.xpending(k, "g", "-", "+", 10))
      assert.deepInclude(pending, { id: first, consumer: "c", deliveries: 1 })
      const claim = { minIdleMillis: 0, from: "0", count: 10 }
      assert.deepStrictEqual(yield* on(Command.xautoclaim(k, "g", "d", claim)), {
        next: "0-0",
        entries: entries.slice(0, 1),
        deleted: []
      })
      assert.strictEqual(yield* on(Command.xdel(k, first)), 1)
      // What was deleted while in hand has no fields any more, and is forgotten by the next claim.
      assert.deepStrictEqual(yield* on(Command.xreadGroup(k, "g", "d", "0")), [{ id: first, fields: new Map() }])
      assert.deepStrictEqual((yield* on(Command.xautoclaim(k, "g", "c", claim))).deleted, [first])
      yield* on(Command.xreadGroup(k, "g", "c", ">"))
      assert.strictEqual(yield* on(Command.xack(k, "g", "9999999999999-1", first)), 1)
      const [group] = yield* on(Command.xinfoGroups(k))
      assert.deepInclude(group, { name: "g", pending: 0, lastDeliveredId: "9999999999999-1" })
      assert.strictEqual(yield* on(Command.xgroupDelConsumer(k, "g", "c")), 0)
      assert.strictEqual(yield* on(Command.xlen(k)), 1)
      assert.strictEqual(yield* on(Command.xtrim(k, { minId: "9999999999999-2", exactly: true })), 1)
      assert.strictEqual(yield* on(Command.xtrim(k, { maxLength: 10 })), 0)
    }).pipe(Effect.scoped, run)
  )

  it.live("of the server", () =>
    Effect.gen(function* () {
      const redis = yield* Redis
      const k = yield* key
      const own = yield* redis.reserve(k)
      yield* own.run(Command.set(k, "1"))
      assert.isAtLeast(yield* own.run(Command.wait(0, 10)), 0)
      const error = yield* Effect.flip(redis.run(Command.wait(0, 10)))
      assert.strictEqual(error.reason._tag, "InvalidInput")
    }).pipe(Effect.scoped, run)
  )
})
