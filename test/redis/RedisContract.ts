import { assert, describe, layer as layerTest } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import { randomUUID } from "node:crypto"
import { Command, Key, Redis, type RedisFailure, Script } from "xdooria/redis"

/** A key that no other test has. */
export const freshKey = Effect.suspend(() => Effect.fromResult(Key.make("contract", randomUUID())))

/** What an error says of itself, as a plain object. */
const plain = ({ reason }: RedisFailure): object => ({ ...reason })

/** The reason of a failed effect, as a plain object. */
export const reasonOf = <A, R>(effect: Effect.Effect<A, RedisFailure, R>): Effect.Effect<object, A, R> =>
  Effect.map(Effect.flip(effect), plain)

const tagOf = <A, R>(effect: Effect.Effect<A, RedisFailure, R>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => reason._tag)

const outcome = (result: Result.Result<unknown, RedisFailure>): unknown =>
  Result.isSuccess(result) ? result.success : result.failure.reason._tag

/** As it would be made by hand, with no regard to slots. */
const anyOf = (name: string, ...args: ReadonlyArray<Command.Argument>) =>
  Command.make(name, args as ReadonlyArray<string>, (reply) => Result.succeed(reply))

const flush = Redis.use((redis) =>
  Effect.flatMap(redis.native, (nodes) => Effect.promise(() => Promise.all(nodes.map((node) => node.script("FLUSH")))))
)

const add = Script.make({
  name: "contract.add",
  lua: "return redis.call('INCRBY', KEYS[1], ARGV[1])",
  keys: ["counter"],
  args: (amount: number) => [amount],
  reply: Command.integer
})

const swap = Script.make({
  name: "contract.swap",
  lua: "local a = redis.call('GET', KEYS[1]) redis.call('SET', KEYS[1], redis.call('GET', KEYS[2])) redis.call('SET', KEYS[2], a)",
  keys: ["first", "second"],
  args: () => [],
  reply: () => Result.succeed(undefined)
})

/** Refuses the first call as a server does that still loads, and counts. */
const flaky = Script.make({
  name: "contract.flaky",
  lua: "local n = redis.call('INCR', KEYS[1]) if n == 1 then return redis.error_reply('LOADING Redis is loading the dataset in memory') end return n",
  keys: ["calls"],
  args: () => [],
  reply: Command.integer
})

/** The promises of room redis that hold on a single server, a cluster and with sentinels, for a layer with a prefix. */
export const suite = <E>(name: string, layer: Layer.Layer<Redis, E>): void =>
  layerTest(layer, { excludeTestServices: true, timeout: "30 seconds" })(name, (it) => {
    describe("run", () => {
      it.effect("gives what was set, and nothing for what was not", () =>
        Effect.gen(function* () {
          const redis = yield* Redis
          const key = yield* freshKey
          assert.isUndefined(yield* redis.run(Command.get(key)))
          yield* redis.run(Command.set(key, "é\r\n\0 \u{1f600}"))
          assert.strictEqual(yield* redis.run(Command.get(key)), "é\r\n\0 \u{1f600}")
          assert.strictEqual(yield* redis.run(Command.del(key, Key.beside(key, "xd:x"))), 1)
        })
      )

      it.effect("gives each of many at once its own", () =>
        Effect.gen(function* () {
          const redis = yield* Redis
          const keys = yield* Effect.all(Array.from({ length: 500 }, () => freshKey))
          const each = <A>(use: (key: Key.Key<"contract">, index: number) => Effect.Effect<A, RedisFailure>) =>
            Effect.forEach(keys, use, { concurrency: "unbounded" })
          yield* each((key, index) => redis.run(Command.set(key, String(index))))
          const values = yield* each((key) => redis.run(Command.get(key)))
          assert.deepStrictEqual(
            values,
            keys.map((_, index) => String(index))
          )
        })
      )

      it.effect("touches no key outside of the prefix", () =>
        Effect.gen(function* () {
          const redis = yield* Redis
          const key = yield* freshKey
          yield* redis.run(Command.set(key, "1"))
          yield* redis.run(Command.set(Key.beside(key, "xd:x"), "1"))
          const nodes = yield* redis.native
          const found = yield* Effect.promise(() => Promise.all(nodes.map((node) => node.keys(`*${key.name}*`))))
          assert.lengthOf(found.flat(), 2)
          for (const one of found.flat()) assert.isTrue(one.startsWith(redis.keyPrefix), one)
        })
      )

      it.effect("refuses keys of several slots before they are sent", () =>
        Effect.gen(function* () {
          const redis = yield* Redis
          const [one, other] = [yield* freshKey, yield* freshKey]
          yield* redis.run(Command.set(one, "1"))
          assert.strictEqual(yield* tagOf(redis.run(Command.del(one, other))), "CrossSlot")
          assert.strictEqual(yield* tagOf(redis.run(swap([one, other]))), "CrossSlot")
          assert.isTrue(yield* redis.run(Command.exists(one)))
        })
      )

      it.effect("refuses arguments that have no form on the wire", () =>
        Effect.gen(function* () {
          const redis = yield* Redis
          const key = yield* freshKey
          for (const value of [Number.NaN, Infinity]) {
            assert.strictEqual(yield* tagOf(redis.run(Command.incrBy(key, value))), "InvalidInput")
          }
          assert.strictEqual(yield* tagOf(redis.run(Command.set(key, "\ud800"))), "InvalidInput")
          assert.isFalse(yield* redis.run(Command.exists(key)))
        })
      )

      it.effect("refuses what blocks, or changes the connection that all share", () =>
        Effect.gen(function* () {
          const redis = yield* Redis
          const key = yield* freshKey
          const names = ["MULTI", "EXEC", "WATCH", "SUBSCRIBE", "MONITOR", "SELECT", "QUIT", "BLPOP", "WAIT", "AUTH"]
          const all = [
            ...names.map((one) => anyOf(one, key)),
            anyOf("select", "1"),
            anyOf("client", "reply", "SKIP"),
            anyOf("CLIENT", "TRACKING", "ON"),
            anyOf("CLIENT", "NO-EVICT", "ON"),
            anyOf("SCRIPT", "DEBUG", "YES"),
            anyOf("xread", "COUNT", "1", "block", "700", "STREAMS", key, "$"),
            anyOf("XREADGROUP", "GROUP", "g", "c", "BLOCK", "700", "STREAMS", key, ">")
          ]
          for (const command of all) {
            assert.strictEqual(yield* tagOf(redis.run(command)), "InvalidInput", command.name)
          }
          assert.isFalse(yield* redis.run(Command.exists(key)))
          // What only looks so.
          yield* redis.run(Command.xgroupCreate(key, "BLOCK", "0"))
          assert.deepStrictEqual(yield* redis.run(Command.xreadGroup(key, "BLOCK", "BLOCK", ">")), [])
          assert.isNumber(yield* redis.run(Command.make("client", ["id"], Command.integer)))
        })
      )

      it.effect("does not call a script safe to retry that fails in the middle", () =>
        Effect.gen(function* () {
          const redis = yield* Redis
          for (const [answer, reason] of [
            [`redis.call("LPUSH", KEYS[1], "x")`, { _tag: "WrongType" }],
            [`return redis.error_reply("TRYAGAIN x")`, { _tag: "Rejected", code: "TRYAGAIN" }],
            [`return redis.error_reply("LOADING x")`, { _tag: "Rejected", code: "LOADING" }],
            [`return redis.error_reply("NOSCRIPT x")`, { _tag: "Rejected", code: "NOSCRIPT" }],
            [`return redis.error_reply("READONLY x")`, { _tag: "Rejected", code: "READONLY" }],
            [`return redis.error_reply("MOVED x")`, { _tag: "Rejected", code: "MOVED" }],
            [`error("x")`, { _tag: "Rejected", code: "ERR" }]
          ] as const) {
            const key = yield* freshKey
            const lua = `redis.call("INCR", KEYS[1]) ${answer}`
            const script = Script.make({ name: "half", lua, keys: ["of"], args: () => [], reply: Command.integer })
            const own = Effect.scoped(Effect.flatMap(redis.reserve(key), ({ run }) => run(script([key]))))
            for (const run of [redis.run(script([key])), Effect.asVoid(redis.transaction([script([key])])), own]) {
              const failure = yield* Effect.flip(Effect.asVoid(run))
              assert.deepInclude(failure.reason, reason)
              assert.isTrue(failure.partial)
              assert.isFalse(failure.isSafeToRetry)
            }
            assert.strictEqual(yield* redis.run(Command.get(key)), "3")
            const again = yield* Effect.flip(redis.run(Command.idempotent(script([key]))))
            assert.isTrue(again.isSafeToRetry)
            assert.strictEqual(yield* redis.run(Command.get(key)), "4")
          }
        })
      )

      it.effect("tells what the server refuses, without arguments", () =>
        Effect.gen(function* () {
          const redis = yield* Redis
          const key = yield* freshKey
          yield* redis.run(Command.set(key, "canary8f2"))
          assert.strictEqual(yield* tagOf(redis.run(Command.lpush(key, "x"))), "WrongType")
          const rejected = yield* Effect.flip(redis.run(Command.incrBy(key, 1)))
          assert.deepStrictEqual(plain(rejected), { _tag: "Rejected", code: "ERR" })
          const unknown = yield* Effect.flip(redis.run(anyOf("NOSUCH", key, "canary8f2")))
          assert.deepStrictEqual(plain(unknown), { _tag: "Rejected", code: "ERR" })
          assert.strictEqual(unknown.command, "NOSUCH")
          for (const error of [rejected, unknown]) {
            assert.notInclude(error.message + String(error.stack) + JSON.stringify(error), "canary8f2")
          }
        })
      )

      it.effect("tells of a reply that is not what was promised; a decoder that throws is a defect", () =>
        Effect.gen(function* () {
          const redis = yield* Redis
          const key = yield* freshKey
          yield* redis.run(Command.set(key, "x"))
          const wrong = Command.make("GET", [key], Command.integer)
          assert.deepStrictEqual(yield* reasonOf(redis.run(wrong)), {
            _tag: "UnexpectedReply",
            problem: "not a safe integer"
          })
          const thrown = yield* Effect.exit(
            redis.run(
              Command.make("GET", [key], () => {
                throw new Error("boom")
              })
            )
          )
          assert.isTrue(Exit.isFailure(thrown) && Cause.hasDies(thrown.cause))
          assert.strictEqual(yield* redis.run(Command.get(key)), "x")
        })
      )

      it.effect("lets go of whoever is interrupted, and mixes up no replies", () =>
        Effect.gen(function* () {
          const redis = yield* Redis
          const key = yield* freshKey
          yield* redis.run(Command.set(key, "mine"))
          const others = yield* Effect.forEach(Array.from({ length: 200 }), (_, index) =>
            Effect.forkChild(redis.run(Command.incrBy(Key.beside(key, "xd:n"), index)), { startImmediately: true })
          )
          const mine = yield* Effect.forkChild(
            Effect.forEach(Array.from({ length: 50 }), () => redis.run(Command.get(key))),
            { startImmediately: true }
          )
          yield* Fiber.interruptAll(others)
          // All were on their way.
          for (const fiber of others) {
            const exit = yield* Fiber.await(fiber)
            assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
          }
          assert.deepStrictEqual(new Set(yield* Fiber.join(mine)), new Set(["mine"]))
        })
      )
    })

    describe("scripts", () => {
      it.effect("run by their hash, and again after the server has forgotten them", () =>
        Effect.gen(function* () {
          const redis = yield* Redis
          const key = yield* freshKey
          assert.strictEqual(yield* redis.run(add([key], 1)), 1)
          assert.strictEqual(yield* redis.run(add([key], 2)), 3)
          yield* flush
          const sums = yield* Effect.forEach(Array.from({ length: 20 }), () => redis.run(add([key], 1)), {
            concurrency: "unbounded"
          })
          assert.deepStrictEqual(
            [...sums].toSorted((a, b) => a - b),
            Array.from({ length: 20 }, (_, i) => i + 4)
          )
        })
      )

      it.effect("take several keys of one slot", () =>
        Effect.gen(function* () {
          const redis = yield* Redis
          const key = yield* freshKey
          const beside = Key.beside(key, "xd:x")
          yield* redis.batch([Command.set(key, "a"), Command.set(beside, "b")])
          yield* redis.run(swap([key, beside]))
          assert.deepStrictEqual((yield* redis.batch([Command.get(key), Command.get(beside)])).map(outcome), ["b", "a"])
        })
      )

      it.effect("run in batches and transactions, also after the server has forgotten them", () =>
        Effect.gen(function* () {
          const redis = yield* Redis
          const key = yield* freshKey
          assert.deepStrictEqual((yield* redis.batch([add([key], 1), add([key], 1)])).map(outcome), [1, 2])
          yield* flush
          assert.deepStrictEqual((yield* redis.batch([add([key], 1), add([key], 1)])).map(outcome), [3, 4])
          yield* flush
          assert.deepStrictEqual(yield* redis.transaction([add([key], 1), Command.get(key)]), [5, "5"])
        })
      )

      it.effect("fail with what they return as an error, and may look like no other", () =>
        Effect.gen(function* () {
          const redis = yield* Redis
          const key = yield* freshKey
          const say = Script.make({
            name: "contract.say",
            lua: "return redis.error_reply(ARGV[1])",
            keys: ["key"],
            args: (text: string) => [text],
            reply: Command.ok
          })
          assert.deepStrictEqual(yield* reasonOf(redis.run(say([key], "HELD by canary"))), {
            _tag: "Rejected",
            code: "HELD"
          })
        })
      )
    })

    describe("batch", () => {
      it.effect("keeps the order of each key and gives each its own result", () =>
        Effect.gen(function* () {
          const redis = yield* Redis
          const keys = yield* Effect.all(Array.from({ length: 50 }, () => freshKey))
          const results = yield* redis.batch(
            keys.flatMap((key) => [Command.set(key, "1"), Command.incrBy(key, 1), Command.get(key)])
          )
          assert.deepStrictEqual(
            results.map(outcome),
            keys.flatMap(() => [undefined, 2, "2"])
          )
        })
      )

      it.effect("fails one by one", () =>
        Effect.gen(function* () {
          const redis = yield* Redis
          const [key, other] = [yield* freshKey, yield* freshKey]
          const results = yield* redis.batch([
            Command.set(key, "x"),
            Command.incrBy(key, 1),
            Command.del(key, other),
            Command.set(key, "\udc00"),
            anyOf("MULTI"),
            Command.get(key)
          ])
          const expected = [undefined, "Rejected", "CrossSlot", "InvalidInput", "InvalidInput", "x"]
          assert.deepStrictEqual(results.map(outcome), expected)
        })
      )

      it.effect("tries again what was not done, but for what a later one on its slot has overtaken", () =>
        Effect.gen(function* () {
          const redis = yield* Redis
          const [one, other] = [yield* freshKey, yield* freshKey]
          const results = yield* redis.batch([
            flaky([one]),
            Command.get(one),
            Command.get(other),
            flaky([other]),
            Command.time
          ])
          assert.deepStrictEqual(results.slice(0, 4).map(outcome), ["Loading", "1", undefined, 2])
        })
      )

      it.effect("of nothing is nothing", () =>
        Effect.gen(function* () {
          const redis = yield* Redis
          assert.deepStrictEqual(yield* redis.batch([]), [])
        })
      )
    })

    describe("transaction", () => {
      it.effect("replies one by one, and lets nothing between", () =>
        Effect.gen(function* () {
          const redis = yield* Redis
          const key = yield* freshKey
          const one = redis.transaction([Command.incrBy(key, 1), Command.get(key), Command.incrBy(key, 1)])
          const [all] = yield* Effect.all(
            [
              Effect.all(
                Array.from({ length: 50 }, () => one),
                { concurrency: "unbounded" }
              ),
              Effect.all(
                Array.from({ length: 50 }, () => redis.run(Command.incrBy(key, 1))),
                {
                  concurrency: "unbounded"
                }
              )
            ],
            { concurrency: "unbounded" }
          )
          for (const [first, text, second] of all) {
            assert.strictEqual(text, String(first))
            assert.strictEqual(second, first + 1)
          }
          assert.strictEqual(yield* redis.run(Command.get(key)), "150")
        })
      )

      it.effect("does nothing when the server refuses to queue a command", () =>
        Effect.gen(function* () {
          const redis = yield* Redis
          const key = yield* freshKey
          const refused = redis.transaction([Command.set(key, "x"), anyOf("NOSUCH", key)] as never)
          assert.deepStrictEqual(yield* reasonOf(refused), { _tag: "Rejected", code: "ERR" })
          assert.isFalse(yield* redis.run(Command.exists(key)))
        })
      )

      it.effect("fails with the first command that fails in its turn; the others are done", () =>
        Effect.gen(function* () {
          const redis = yield* Redis
          const key = yield* freshKey
          const failed = yield* Effect.flip(
            redis.transaction([
              Command.set(key, "x"),
              Command.incrBy(key, 1),
              Command.set(Key.beside(key, "xd:x"), "y")
            ])
          )
          assert.deepStrictEqual([failed.reason._tag, failed.command], ["Rejected", "INCRBY"])
          assert.isFalse(failed.isSafeToRetry)
          const alone = yield* Effect.flip(redis.transaction([Command.incrBy(key, 1)]))
          assert.deepStrictEqual([alone.reason._tag, alone.isSafeToRetry], ["Rejected", true])
          assert.strictEqual(yield* redis.run(Command.get(Key.beside(key, "xd:x"))), "y")
        })
      )

      it.effect("refuses several slots, and what it cannot queue", () =>
        Effect.gen(function* () {
          const redis = yield* Redis
          const [key, other] = [yield* freshKey, yield* freshKey]
          const cross = redis.transaction([Command.set(key, "x"), Command.set(other, "x")])
          assert.strictEqual(yield* tagOf(cross), "CrossSlot")
          assert.strictEqual(yield* tagOf(redis.transaction([Command.set(key, "\ud800")])), "InvalidInput")
          assert.isFalse(yield* redis.run(Command.exists(key)))
          assert.deepStrictEqual(yield* redis.transaction([]), [])
        })
      )
    })

    describe("reserve", () => {
      const blpop = (key: Key.Key<"contract">, millis: number) =>
        Command.make("BLPOP", [key, millis / 1000], (reply) => Result.succeed(reply), { blockMillis: millis })

      it.effect("blocks on a connection of its own, and gets what others push", () =>
        Effect.gen(function* () {
          const redis = yield* Redis
          const key = yield* freshKey
          const waiting = yield* Effect.forkChild(
            Effect.scoped(Effect.flatMap(redis.reserve(key), (own) => own.run(blpop(key, 10_000))))
          )
          // The others are served meanwhile.
          yield* redis.run(Command.lpush(key, "x"))
          assert.deepStrictEqual(yield* Fiber.join(waiting), [redis.keyPrefix + key.name, "x"])
        })
      )

      it.effect("has as much more time as the command may block", () =>
        Effect.gen(function* () {
          const redis = yield* Redis
          const key = yield* freshKey
          const own = yield* redis.reserve(key)
          assert.isNull(yield* own.run(blpop(key, 1_200)))
          assert.strictEqual(yield* own.run(Command.lpush(key, "x")), 1)
        }).pipe(Effect.scoped)
      )

      it.effect("gives up on the server what was interrupted", () =>
        Effect.gen(function* () {
          const redis = yield* Redis
          const key = yield* freshKey
          yield* Effect.scoped(
            Effect.gen(function* () {
              const own = yield* redis.reserve(key)
              yield* own.run(Command.exists(key))
              const fiber = yield* Effect.forkChild(own.run(blpop(key, 10_000)))
              yield* Effect.yieldNow
              yield* Fiber.interrupt(fiber)
              assert.strictEqual(yield* tagOf(own.run(Command.exists(key))), "Unavailable")
            })
          )
          // Were it still waiting there, it would take this.
          yield* Effect.scoped(
            Effect.gen(function* () {
              const own = yield* redis.reserve(key)
              yield* own.run(Command.lpush(key, "x"))
              assert.isTrue(yield* own.run(Command.exists(key)))
            })
          )
        })
      )

      it.effect("may watch, and is not given on while it does", () =>
        Effect.gen(function* () {
          const redis = yield* Redis
          const key = yield* freshKey
          const exec = Command.make("EXEC", [], (reply) => Result.succeed(reply))
          const ok = (name: string, ...args: ReadonlyArray<Key.Key<"contract">>) => Command.make(name, args, Command.ok)
          const conflict = Effect.scoped(
            Effect.gen(function* () {
              const own = yield* redis.reserve(key)
              yield* own.run(ok("WATCH", key))
              yield* redis.run(Command.set(key, "x"))
              yield* own.run(ok("MULTI"))
              yield* own.run(Command.make("SET", [key, "y"], Command.text))
              return yield* own.run(exec)
            })
          )
          assert.isNull(yield* conflict)
          yield* Effect.scoped(Effect.flatMap(redis.reserve(key), (own) => own.run(ok("multi"))))
          // Were it the same connection, this would be queued.
          yield* Effect.scoped(Effect.flatMap(redis.reserve(key), (own) => own.run(Command.set(key, "z"))))
          assert.strictEqual(yield* redis.run(Command.get(key)), "z")
        })
      )
    })
  })
