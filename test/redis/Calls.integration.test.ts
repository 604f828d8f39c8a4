import { assert, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import { Command, Key, Redis, Script } from "xdooria/redis"
import * as FaultProxy from "../support/FaultProxy.ts"
import * as RealServer from "../support/RealServer.ts"
import { client, freshPrefix, single, withClient } from "../support/RedisBackends.ts"
import { clientOf } from "./FaultKit.ts"

const timeout = 200

/** Takes the server some 20 ms, so that its reply comes while this process is held up. */
const slow = Script.make({
  name: "stall.slow",
  lua: "for _ = 1, 2000000 do end return redis.call('INCR', KEYS[1])",
  keys: ["count"],
  args: () => [],
  reply: Command.integer
})

const put = Script.make({
  name: "stall.put",
  lua: "return redis.call('SET', KEYS[1], 'value') and 1",
  keys: ["count"],
  args: () => [],
  reply: Command.integer,
  idempotent: true
})

/** A clock that holds this process up when it is asked next after it was armed: at the worst moment for who asks. */
const makeClock = Effect.map(Clock.Clock, (real) => {
  let millis = 0
  const clock: Clock.Clock = Object.assign(Object.create(real), {
    monotonicTimeNanosUnsafe: () => {
      const end = performance.now() + millis
      millis = 0
      while (performance.now() < end);
      return real.monotonicTimeNanosUnsafe()
    }
  })
  return {
    clock,
    arm: Effect.sync(() => {
      millis = 2 * timeout
    })
  }
})

RealServer.suite("redis", "A process that is held up", (address) => {
  it.live("takes the replies that came meanwhile, though the time of their calls is over", () =>
    Effect.flatMap(makeClock, ({ arm, clock }) =>
      Effect.gen(function* () {
        const redis = yield* Redis
        const key = yield* Effect.fromResult(Key.make("stall", "count"))
        yield* redis.run(slow([key]))
        // Just before the time of this first call would be over, which is when calls are looked at.
        yield* Effect.sleep(timeout - 30)
        const calls = yield* Effect.forEach([2, 3, 4], () =>
          Effect.forkChild(redis.run(slow([key])), { startImmediately: true })
        )
        yield* arm
        const exits = yield* Fiber.awaitAll(calls)
        assert.deepStrictEqual(exits, [2, 3, 4].map(Exit.succeed))
      }).pipe(
        withClient(single(address), { commandTimeout: Duration.millis(timeout) }),
        Effect.provideService(Clock.Clock, clock)
      )
    )
  )
})

RealServer.suite("redis", "A call that is repeated", (address) => {
  for (const [name, isBatch] of [
    ["alone", false],
    ["in a batch", true]
  ] as const) {
    it.live(`is not told to be unsent when an earlier try was sent, ${name}`, () =>
      Effect.gen(function* () {
        const proxy = yield* FaultProxy.make({ ...address, seed: 1 })
        const keyPrefix = freshPrefix()
        yield* client(single(address), { keyPrefix })
        const redis = yield* clientOf({ ...single({ host: "127.0.0.1", port: proxy.port }), keyPrefix })
        const command = put([yield* Effect.fromResult(Key.make("stall", "count"))])
        const rule = yield* proxy.onRequest((bytes) => bytes.includes("value"), "cutAfterReply")
        const call = yield* Effect.forkChild(
          Effect.result(
            isBatch
              ? Effect.flatMap(redis.batch([command]), ([result]) => Effect.fromResult(result))
              : redis.run(command)
          )
        )
        yield* rule.first
        yield* proxy.blackhole
        const result = yield* Fiber.join(call)
        assert.strictEqual(Result.isFailure(result) && result.failure.reason._tag, "Timeout")
      })
    )
  }
})
