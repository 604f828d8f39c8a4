import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import { Command, Key } from "xdooria/redis"

const key = Result.getOrThrow(Key.make("c", "k"))

/** Nothing decodes it. */
const strange: ReadonlyArray<Command.Reply> = [null, "text", 1.5, -7, ["text"], [[1]], [["a", "b", "c"]], [null]]

const refusedBy = (decode: Command.Decode<unknown>) => strange.filter((reply) => Result.isFailure(decode(reply)))

describe("commands", () => {
  it("that write are not idempotent, and those that read are", () => {
    const reads: ReadonlyArray<Command.Any> = [
      Command.get(key),
      Command.mget(key),
      Command.hgetAll(key),
      Command.smembers(key),
      Command.zrange(key, { by: "rank", start: 0, stop: -1 }),
      Command.lrange(key, 0, -1),
      Command.xread(key, "0"),
      Command.pttl(key),
      Command.srandMember(key, 1)
    ]
    const writes: ReadonlyArray<Command.Any> = [
      Command.set(key, ""),
      Command.getSet(key, ""),
      Command.del(key),
      Command.hset(key, { a: 1 }),
      Command.hdel(key, "a"),
      Command.sadd(key, "a"),
      Command.spop(key, 1),
      Command.zadd(key, []),
      Command.zpopMin(key, 1),
      Command.lpush(key, "a"),
      Command.lpop(key),
      Command.xadd(key, { a: 1 }),
      Command.xreadGroup(key, "g", "c", ">"),
      Command.xack(key, "g", "1"),
      Command.pexpire(key, 1)
    ]
    assert.deepStrictEqual(
      reads.filter(({ isIdempotent }) => !isIdempotent),
      []
    )
    assert.deepStrictEqual(
      writes.filter(({ isIdempotent }) => isIdempotent),
      []
    )
  })

  it("that wait say for how long", () => {
    assert.strictEqual(Command.blpop(key, "left", 250).blockMillis, 250)
    assert.deepStrictEqual(Command.blpop(key, "left", 250).args, [key, 0.25])
    assert.strictEqual(Command.xreadGroup(key, "g", "c", ">", { blockMillis: 5 }).blockMillis, 5)
    assert.isUndefined(Command.xreadGroup(key, "g", "c", ">").blockMillis)
  })

  it("read pairs as a list of lists and as one list", () => {
    const decode = Command.pairs(Command.text, Command.double)
    const expected: ReturnType<typeof decode> = Result.succeed([
      ["a", 1.5],
      ["b", -Infinity]
    ])
    assert.deepStrictEqual(decode(["a", "1.5", "b", "-inf"]), expected)
    assert.deepStrictEqual(
      decode([
        ["a", 1.5],
        ["b", "-inf"]
      ]),
      expected
    )
    assert.isTrue(Result.isFailure(decode(["a"])))
    assert.isTrue(Result.isFailure(decode(["a", "b"])))
  })

  it("refuse a reply that is not what they promise, and say nothing of it", () => {
    const all = strange.length
    assert.lengthOf(refusedBy(Command.xrange(key, "-", "+").decode), all)
    assert.lengthOf(refusedBy(Command.xautoclaim(key, "g", "c", { minIdleMillis: 0, from: "0", count: 1 }).decode), all)
    assert.lengthOf(refusedBy(Command.xpending(key, "g", "-", "+", 1).decode), all)
    assert.lengthOf(refusedBy(Command.xinfoGroups(key).decode), all)
    assert.lengthOf(refusedBy(Command.hgetAll(key).decode), all)
    assert.lengthOf(refusedBy(Command.time.decode), all)
    const refused = Command.double("canary8f2")
    assert.isTrue(Result.isFailure(refused))
    if (Result.isFailure(refused)) assert.notInclude(refused.failure.message, "canary8f2")
  })

  it("read numbers as they are", () => {
    assert.deepStrictEqual(Command.double("inf"), Result.succeed(Infinity))
    assert.deepStrictEqual(Command.double("1e21"), Result.succeed(1e21))
    assert.deepStrictEqual(Command.double(3), Result.succeed(3))
    assert.isTrue(Result.isFailure(Command.double(" ")))
    assert.isTrue(Result.isFailure(Command.double("nan")))
    assert.deepStrictEqual(Command.optional(Command.integer)(null), Result.succeed(undefined))
  })
})
