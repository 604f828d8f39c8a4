import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as RateLimiter from "effect/persistence/RateLimiter"
import * as TestClock from "effect/testing/TestClock"
import { RateLimits } from "xdooria/grpc"
import { LoggerTest, LogRecorder } from "xdooria/logger"
import * as Rate from "../../src/grpc/internal/rate.ts"
import { seeded } from "../support/Seeded.ts"

const method = "game.GameService/GetPlayer"
const rule = { limit: 3, window: "300 millis", by: "principal" } as const

/** What a check says, and whether it was known at once. */
const decide = (rate: Rate.Rate, caller: string): Effect.Effect<boolean> =>
  Effect.suspend(() => {
    const known = rate.check(caller)
    return typeof known === "boolean" ? Effect.succeed(known) : known
  })

const memory = Layer.build(RateLimiter.layer.pipe(Layer.provide(RateLimiter.layerStoreMemory)))

describe("a rate of this instance", () => {
  const local = Effect.map(Effect.context<never>(), (context) => Rate.make(method, rule, context))

  it.effect("lets so many calls of a caller pass in a window, and knows it at once", () =>
    Effect.gen(function* () {
      const rate = yield* local
      assert.deepStrictEqual(
        ["a", "a", "b", "a", "a", "b", "a"].map((caller) => rate.check(caller)),
        [true, true, true, true, false, true, false]
      )
      yield* TestClock.adjust(299)
      assert.strictEqual(rate.check("a"), false)
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(
        ["a", "a", "a", "a"].map((caller) => rate.check(caller)),
        [true, true, true, false]
      )
    })
  )

  it.effect("never refuses who keeps within it", () =>
    Effect.gen(function* () {
      const rate = yield* local
      for (let call = 0; call < 20; call++) {
        assert.strictEqual(rate.check("a"), true)
        yield* TestClock.adjust(100)
      }
    })
  )

  it.effect("decides as Effect's own store in memory does", () =>
    Effect.gen(function* () {
      const context = yield* memory
      const { consume } = Context.get(context, RateLimiter.RateLimiter)
      for (const seed of [1, 2, 3, 4, 5]) {
        const random = seeded(seed)
        const limit = 1 + Math.floor(random() * 10)
        const windowMillis = limit * 10
        const rate = Rate.make(method, { limit, window: windowMillis, by: "all" }, yield* Effect.context<never>())
        let refused = 0
        for (let call = 0; call < 1000; call++) {
          const caller = `${seed} ${Math.floor(random() * 4)}`
          if (random() < 0.5) yield* TestClock.adjust(Math.floor(random() * 20))
          const expected = Exit.isSuccess(yield* Effect.exit(consume({ key: caller, limit, window: windowMillis })))
          assert.strictEqual(rate.check(caller), expected, `call ${call} of ${caller}`)
          if (!expected) refused++
        }
        assert.isAbove(refused, 10)
      }
    }).pipe(Effect.scoped)
  )

  it.effect("forgets who has not called for two windows, and nobody before", () =>
    Effect.gen(function* () {
      const limiter = new Rate.LocalLimiter(2, 1000, yield* Clock.Clock)
      for (let caller = 0; caller < 500; caller++) limiter.take(`${caller}`)
      limiter.take("0")
      assert.strictEqual(limiter.size, 500)
      yield* TestClock.adjust(999)
      assert.isFalse(limiter.take("0"))
      yield* TestClock.adjust(1)
      assert.isTrue(limiter.take("new"))
      assert.strictEqual(limiter.size, 501)
      yield* TestClock.adjust(1000)
      limiter.take("new")
      assert.strictEqual(limiter.size, 1)
      yield* TestClock.adjust(10_000)
      limiter.take("another")
      assert.strictEqual(limiter.size, 1)
    })
  )

  it.effect("keeps a bounded number of callers", () =>
    Effect.gen(function* () {
      const limiter = new Rate.LocalLimiter(2, 1000, yield* Clock.Clock)
      for (let caller = 0; caller < 350_000; caller++) limiter.take(`${caller}`)
      assert.isAtMost(limiter.size, 200_000)
    })
  )
})

describe("a rate that instances share", () => {
  type Consume = RateLimiter.RateLimiter["consume"]

  /** A store of the test's choice. */
  const sharing = (consume: Consume, by: "principal" | "peer" | "all" = "principal") =>
    Effect.map(Effect.context<never>(), (given) => {
      const context = Context.add(given, RateLimits.Shared, {
        consume
      } as RateLimiter.RateLimiter)
      return Rate.make(method, { ...rule, by }, context)
    })

  const broken = new RateLimiter.RateLimiterError({
    reason: new RateLimiter.RateLimitStoreError({ message: "no connection", cause: new Error("no connection") })
  })

  const passed: Effect.Success<ReturnType<Consume>> = {
    delay: 0 as never,
    limit: 3,
    remaining: 1,
    resetAfter: 0 as never
  }

  it.effect("holds for all instances together", () =>
    Effect.gen(function* () {
      const { consume } = Context.get(yield* memory, RateLimiter.RateLimiter)
      const [here, there] = [yield* sharing(consume), yield* sharing(consume)]
      const said: Array<boolean> = []
      for (const rate of [here, there, here, there, here]) said.push(yield* decide(rate, "a"))
      assert.deepStrictEqual(said, [true, true, true, false, false])
      assert.isTrue(yield* decide(there, "b"))
      yield* TestClock.adjust(300)
      assert.isTrue(yield* decide(there, "a"))
    }).pipe(Effect.scoped)
  )

  it.effect("does not ask for a caller that exceeds it here", () =>
    Effect.gen(function* () {
      let asked = 0
      const rate = yield* sharing(() => Effect.sync(() => (asked++, passed)))
      for (let call = 0; call < 10; call++) yield* decide(rate, "a")
      assert.strictEqual(asked, 3)
      assert.strictEqual(rate.check("a"), false)
    })
  )

  it.effect("is that of the instance while the store fails, which is asked again after a second", () =>
    Effect.gen(function* () {
      let isBroken = true
      let asked = 0
      const rate = yield* sharing(() => {
        asked++
        return isBroken ? Effect.fail(broken) : Effect.succeed(passed)
      })
      const say = (callers: string) => Effect.forEach([...callers], (caller) => decide(rate, caller))
      assert.deepStrictEqual(yield* say("aaaa"), [true, true, true, false])
      assert.strictEqual(asked, 1)
      assert.strictEqual(rate.check("b"), true)
      yield* TestClock.adjust(1000)
      assert.deepStrictEqual(yield* say("bb"), [true, true])
      assert.strictEqual(asked, 2)
      isBroken = false
      yield* TestClock.adjust(1000)
      assert.deepStrictEqual(yield* say("ccc"), [true, true, true])
      assert.strictEqual(asked, 5)
      const lines = yield* Effect.flatMap(LogRecorder, (log) => log.lines)
      assert.deepStrictEqual(
        lines.map(({ level, method, msg }) => [level, msg, method]),
        [
          ["warn", "rate limits are those of this instance alone", method],
          ["info", "rate limits are shared again", method]
        ]
      )
    }).pipe(Effect.provide(LoggerTest))
  )

  it.effect("is that of the instance when the store takes longer than 50 ms, and one call finds out for all", () =>
    Effect.gen(function* () {
      let asked = 0
      const rate = yield* sharing(() => {
        asked++
        return Effect.never
      })
      const waiting = yield* Effect.forkChild(decide(rate, "a"))
      yield* TestClock.adjust(49)
      assert.strictEqual(waiting.pollUnsafe(), undefined)
      yield* TestClock.adjust(1)
      assert.isTrue(yield* Fiber.join(waiting))
      assert.strictEqual(rate.check("b"), true)
      yield* TestClock.adjust(1000)
      const trying = yield* Effect.forkChild(decide(rate, "c"))
      yield* TestClock.adjust(10)
      assert.strictEqual(rate.check("d"), true)
      assert.strictEqual(asked, 2)
      yield* TestClock.adjust(40)
      assert.isTrue(yield* Fiber.join(trying))
    }).pipe(Effect.provide(LoggerTest))
  )

  it.effect("is that of the instance when the store has a bug", () =>
    Effect.gen(function* () {
      const rate = yield* sharing(() => Effect.die(new Error("a bug")))
      assert.isTrue(yield* decide(rate, "a"))
      const stopped = yield* sharing(() => Effect.interrupt)
      assert.isTrue(yield* decide(stopped, "a"))
    }).pipe(Effect.provide(LoggerTest))
  )

  it.effect("is given up with its call", () =>
    Effect.gen(function* () {
      const gone = yield* Deferred.make<void>()
      const rate = yield* sharing(() => Effect.onInterrupt(Effect.never, () => Deferred.succeed(gone, undefined)))
      const waiting = yield* Effect.forkChild(decide(rate, "a"), { startImmediately: true })
      yield* Fiber.interrupt(waiting)
      yield* Deferred.await(gone)
      assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(waiting)))
    })
  )

  it.effect("is kept under a key that no caller can choose for another", () =>
    Effect.gen(function* () {
      const keys: Array<string> = []
      const consume: Consume = ({ key }) => Effect.sync(() => (keys.push(key), passed))
      const rate = yield* sharing(consume)
      const hostile = [
        "p1",
        "p1}:{p2",
        "{p1}",
        "p1:p2",
        "p1\u0000\r\n",
        "p1 *",
        "P1",
        "\ud800",
        "",
        "玩家",
        "x".repeat(200)
      ]
      for (const caller of hostile) yield* decide(rate, caller)
      assert.strictEqual(new Set(keys).size, hostile.length)
      for (const key of keys) assert.match(key, /^game\.GameService\/GetPlayer:principal:\{[\w.!~*'()%-]*\}$/)
      assert.isTrue(keys.every((key) => key.length < 500))
      assert.strictEqual(keys[0], "game.GameService/GetPlayer:principal:{p1}")
      keys.length = 0
      yield* decide(yield* sharing(consume, "peer"), "::1")
      assert.deepStrictEqual(keys, ["game.GameService/GetPlayer:peer:{%3A%3A1}"])
    })
  )
})
