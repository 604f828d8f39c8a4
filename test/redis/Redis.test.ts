import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { execFileSync } from "node:child_process"
import { createHash } from "node:crypto"
import { Command, Key, RedisConfig, type RedisFailure, Script } from "xdooria/redis"
import { addressOf, hostAndPort } from "../../src/redis/internal/address.ts"
import { placeOf, slotOf } from "../../src/redis/internal/slot.ts"
import * as Wire from "../../src/redis/internal/wire.ts"

const problemOf = (key: Result.Result<Key.Any, RedisFailure>): object =>
  Result.isFailure(key) ? { ...key.failure.reason } : { _tag: "none" }

const keyOf = (...parts: ReadonlyArray<string>): Key.Key<"session"> => Result.getOrThrow(Key.make("session", ...parts))

/** What an id may be that comes from elsewhere, and must not become a key. */
const hostile: ReadonlyArray<readonly [string, string]> = [
  ["a colon", "a:b"],
  ["another tenant's prefix", "other:session:p1"],
  ["braces", "{}"],
  ["a hash tag", "{p1}"],
  ["a hash tag that ends ours", "a}{b"],
  ["a pattern *", "*"],
  ["a pattern ?", "p?"],
  ["a class", "[ab]"],
  ["a backslash", "a\\b"],
  ["CRLF", "a\r\nDEL b"],
  ["NUL", "a\0b"],
  ["a space", "a b"],
  ["a no-break space", "a\u00a0b"],
  ["a line separator", "a\u2028b"],
  ["a tab", "a\tb"],
  ["nothing", ""],
  ["a dot", "."],
  ["dots", ".."],
  ["a path", "../x"],
  ["an emoji", "\u{1f600}"],
  ["a zero-width joiner", "a\u200db"],
  ["a lone surrogate", "a\ud800"],
  ["257 bytes", "a".repeat(257)],
  ["257 bytes of two each", "é".repeat(129)],
  ["64 KB", "a".repeat(65_536)]
]

describe("Key.make", () => {
  it("joins words and parts with colons, and encodes nothing", () => {
    assert.strictEqual(keyOf("p1").name, "session:p1")
    assert.strictEqual(keyOf().name, "session")
    assert.strictEqual(Result.getOrThrow(Key.make("xd:device", "p1", "phone-2")).name, "xd:device:p1:phone-2")
  })

  it("takes letters and digits of any script, and a few signs", () => {
    for (const id of ["a", "0", "Ünï", "玩家一", "user.name+tag@host=1~_-", "x".repeat(256), "नमस्ते", ".a"]) {
      assert.strictEqual(keyOf(id).name, `session:${id}`)
    }
  })

  for (const [what, id] of hostile) {
    it(`refuses ${what}, in each place, and does not repeat it`, () => {
      assert.include(problemOf(Key.make("session", id)), { _tag: "InvalidKey", part: 1 })
      assert.include(problemOf(Key.make("session", "p1", id)), { _tag: "InvalidKey", part: 2 })
      const failed = Key.make("session", id)
      if (id.length > 3 && Result.isFailure(failed)) assert.notInclude(failed.failure.message, id)
    })
  }

  it("refuses words that are not plain", () => {
    for (const words of ["", "a b", "{a}", "*", "a:", ":a", "a::b", "1a"]) {
      assert.include(problemOf(Key.make(words as "words")), { _tag: "InvalidKey", part: 0 })
    }
  })
})

describe("a key under a prefix", () => {
  const owner = keyOf("p1")

  it("begins with it, and a neighbour shares its owner's slot", () => {
    assert.strictEqual(Key.render(owner, "t1:"), "t1:session:p1")
    const beside = Key.beside(owner, "xd:session")
    assert.strictEqual(Key.render(beside, ""), "xd:session:{session:p1}")
    assert.strictEqual(Key.render(beside, "t1:"), "t1:xd:session:{t1:session:p1}")
    for (const prefix of ["", "t1:"]) {
      assert.strictEqual(slotOf(Key.render(beside, prefix)), slotOf(Key.render(owner, prefix)))
    }
  })

  it("of a neighbour's neighbour is a neighbour too", () => {
    const twice = Key.beside(Key.beside(owner, "xd:a"), "xd:b")
    assert.strictEqual(Key.render(twice, "t:"), "t:xd:b:{t:session:p1}")
  })
})

describe("slots", () => {
  it("are those of the cluster's specification", () => {
    assert.strictEqual(slotOf("123456789"), 0x31c3)
    assert.strictEqual(slotOf("foo"), 12_182)
    assert.strictEqual(slotOf("{user1000}.following"), slotOf("{user1000}.followers"))
    assert.strictEqual(slotOf("foo{}{bar}"), slotOf("foo{}{bar}"))
    assert.notStrictEqual(slotOf("foo{}{bar}"), slotOf("bar"))
    assert.strictEqual(slotOf("foo{{bar}}zap"), slotOf("{bar"))
    assert.strictEqual(slotOf("foo{bar}{zap}"), slotOf("bar"))
  })

  it("of commands are one, none, or several", () => {
    const place = placeOf([Command.get(keyOf("a")), Command.get(Key.beside(keyOf("a"), "xd:x"))], "t:")
    assert.deepStrictEqual(place, { tag: "t:session:a" })
    assert.isUndefined(placeOf([Command.time], "t:"))
    assert.strictEqual(placeOf([Command.del(keyOf("a"), keyOf("b"))], ""), "cross")
    assert.strictEqual(placeOf([Command.get(keyOf("a")), Command.get(keyOf("b"))], ""), "cross")
  })
})

const encode = (...args: ReadonlyArray<Command.Argument>) =>
  Result.map(Wire.encode(args, "t:"), (body) => Wire.command(["SET"], body))

const problemOfAll = (args: ReadonlyArray<Command.Argument>): string => {
  const result = Wire.encode(args, "t:")
  return Result.isFailure(result) ? result.failure.problem : ""
}

const inputProblem = (...args: ReadonlyArray<Command.Argument>): string => problemOfAll(args)

describe("a command on the wire", () => {
  it("has the length of each argument in bytes, so that none can become another command", () => {
    assert.deepStrictEqual(
      encode(keyOf("p1"), "é\r\nDEL x", 1.5, -0, 1e21),
      Result.succeed(
        "*6\r\n$3\r\nSET\r\n$12\r\nt:session:p1\r\n$9\r\né\r\nDEL x\r\n$3\r\n1.5\r\n$1\r\n0\r\n$5\r\n1e+21\r\n"
      )
    )
  })

  it("carries bytes as they are, between texts", () => {
    const wire = Result.getOrThrow(encode("a", Uint8Array.of(0, 255, 13, 10), "b", new Uint8Array(0), "c"))
    assert.deepStrictEqual(
      wire,
      Buffer.from("*6\r\n$3\r\nSET\r\n$1\r\na\r\n$4\r\n\0\xff\r\n\r\n$1\r\nb\r\n$0\r\n\r\n$1\r\nc\r\n", "latin1")
    )
  })

  it("is refused with a number that is not finite, or text that is not well-formed", () => {
    for (const value of [Number.NaN, Infinity, -Infinity]) {
      assert.strictEqual(inputProblem("k", value), "a number is not finite")
    }
    assert.strictEqual(inputProblem("k", "\ud800"), "a text is not well-formed")
    assert.strictEqual(inputProblem("k", "a\udc00b"), "a text is not well-formed")
  })

  it("is refused with more than 511 MB, or with too many arguments", () => {
    // Not filled: the pages are never touched.
    const half = new Uint8Array(257 * 1024 * 1024)
    assert.strictEqual(inputProblem("k", half, half), "more than 511 MB")
    // Bytes count, not code units; and no text becomes longer than texts can be.
    assert.strictEqual(inputProblem("é".repeat(268_000_000)), "more than 511 MB")
    const quarter = "a".repeat(134_217_728)
    assert.strictEqual(inputProblem(quarter, quarter, quarter, quarter), "more than 511 MB")
    assert.strictEqual(problemOfAll(Array.from({ length: 1_048_577 }, () => "a")), "more than 1048576 arguments")
  })

  it("reads replies of texts and lists, and leaves an error among them", () => {
    const error = new Error("WRONGTYPE")
    const reply: unknown = Wire.replyOf([Buffer.from("é"), 1, null, [Buffer.from("a")], error])
    assert.deepStrictEqual(reply, ["é", 1, null, ["a"], error])
  })
})

describe("addresses", () => {
  it("are host and port, of IPv6 too", () => {
    for (const [address, host, port] of [
      ["127.0.0.1:6379", "127.0.0.1", 6379],
      ["redis.example:1", "redis.example", 1],
      ["[::1]:7000", "::1", 7000]
    ] as const) {
      assert.deepStrictEqual(hostAndPort(address), { host, port })
      assert.strictEqual(addressOf(host, port), address)
    }
  })
})

describe("Script.make", () => {
  const add = Script.make({
    name: "counter.add",
    lua: "return redis.call('INCRBY', KEYS[1], ARGV[1])",
    keys: ["counter"],
    args: (amount: number) => [amount],
    reply: Command.integer
  })

  it("makes a command with its keys before its arguments, under the name that it was given", () => {
    const command = add([keyOf("p1")], 5)
    assert.strictEqual(command.name, "counter.add")
    assert.deepStrictEqual(
      command.args.map((one) => (Key.isKey(one) ? one.name : one)),
      ["session:p1", 5]
    )
    assert.strictEqual(
      command.script?.sha,
      createHash("sha1").update("return redis.call('INCRBY', KEYS[1], ARGV[1])").digest("hex")
    )
    assert.isFalse(command.isIdempotent)
  })
})

describe("RedisConfig", () => {
  const decode = Schema.decodeUnknownEffect(RedisConfig.schema)
  const fields = (values: typeof RedisConfig.schema.Type, env: "dev" | "prod" = "dev") =>
    RedisConfig.check(values, env).map(({ field }) => field)

  it.effect("has defaults for everything", () =>
    Effect.gen(function* () {
      const values = yield* decode({})
      assert.deepInclude(values, { addrs: ["127.0.0.1:6379"], db: 0, poolSize: 10, keyPrefix: "", tls: "disable" })
      assert.deepStrictEqual(fields(values), [])
    })
  )

  it.effect("takes the values of the plan, and hides the passwords", () =>
    Effect.gen(function* () {
      const values = yield* decode({
        addrs: ["r:6379"],
        password: "canary8f2",
        sentinelPassword: "canary9a1",
        poolSize: 100
      })
      assert.strictEqual(Redacted.value(values.password), "canary8f2")
      assert.notMatch(JSON.stringify(values) + String(values.password) + String(values.sentinelPassword), /canary/)
    })
  )

  it.effect("refuses what cannot be", () =>
    Effect.gen(function* () {
      const values = yield* decode({})
      assert.deepStrictEqual(fields({ ...values, commandTimeout: Duration.zero }), ["commandTimeout"])
      assert.deepStrictEqual(fields({ ...values, addrs: ["a:1", "b:2"], db: 1 }), ["db"])
      assert.deepStrictEqual(fields({ ...values, addrs: ["a:1", "b:2"], db: 1, sentinelMaster: "m" }), [])
      for (const keyPrefix of ["a b", "{t}", "t*", "t?", "[t]", "t\\", "t\n"]) {
        assert.deepStrictEqual(fields({ ...values, keyPrefix }), ["keyPrefix"])
      }
      assert.deepStrictEqual(fields(values, "prod"), ["password"])
    })
  )
})

describe("xdooria/redis", () => {
  it("loads no driver", () => {
    const program = `
      await import("xdooria/redis")
      const { createRequire } = await import("node:module")
      const loaded = Object.keys(createRequire(import.meta.url).cache).filter((file) => file.includes("ioredis"))
      console.log(loaded.length)`
    const args = ["--conditions=xdooria-source", "--input-type=module", "--eval", program]
    assert.strictEqual(execFileSync(process.execPath, args, { encoding: "utf8" }).trim(), "0")
  })
})
