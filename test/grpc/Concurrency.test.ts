import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { TestClock } from "effect/testing"
import { Grpc, GrpcServer, layerEmbedded } from "xdooria/grpc"
import { LoggerTest } from "xdooria/logger"
import * as Concurrency from "../../src/grpc/internal/concurrency.ts"
import { passing, PlayerService, response } from "./Game.ts"
import { constant, either, exponential, logNormal, manualClock, type Phase, simulate } from "./Queue.ts"
import { seeded } from "../support/Seeded.ts"

const seeds = [1, 2, 3, 4, 5]
const unlimited = Number.POSITIVE_INFINITY

describe("a limit on calls at once", () => {
  it("lets in so many, and one more for each that ends", () => {
    const limiter = Concurrency.make({ limit: 3, clock: manualClock().clock, lateness: undefined })
    const taken = Array.from({ length: 5 }, () => limiter.tryAcquire())
    assert.deepStrictEqual(taken, [true, true, true, false, false])
    limiter.release(1, "ok")
    assert.isTrue(limiter.tryAcquire())
    assert.isFalse(limiter.tryAcquire())
  })

  it("never lets in more, and never closes, whatever happens", () => {
    for (const seed of seeds) {
      const random = seeded(seed)
      const { clock, time } = manualClock()
      const most = 1 + Math.floor(random() * 50)
      const limiter = Concurrency.make({ limit: most, clock, lateness: undefined })
      let inside = 0
      for (let step = 0; step < 4000; step++) {
        time.millis += random() * 20
        if (random() < 0.55) {
          const before = inside
          if (limiter.tryAcquire()) inside++
          assert.isAtMost(inside, Math.max(before, limiter.limit()))
          if (before === 0) assert.strictEqual(inside, 1)
        } else if (inside > 0) {
          inside--
          limiter.release(10 ** (random() * 6 - 3), random() < 0.9 ? "ok" : "dropped")
        }
        assert.isAtLeast(limiter.limit(), 1)
        assert.isAtMost(limiter.limit(), most)
      }
    }
  })
})

describe("three times what a handler bears", () => {
  const handlers = [
    { name: "8 at once, each 10 ms", servers: 8, service: constant(10), ownMillis: 10 },
    { name: "50 at once, each 50 ms", servers: 50, service: constant(50), ownMillis: 50 },
    { name: "4 at once, each 5 ms", servers: 4, service: constant(5), ownMillis: 5 },
    { name: "one at a time, each 10 ms", servers: 1, service: constant(10), ownMillis: 10 },
    { name: "two at a time, each 200 ms", servers: 2, service: constant(200), ownMillis: 200 }
  ]

  for (const { name, ownMillis, servers, service } of handlers) {
    it(`does as much as it can, as fast as it should: ${name}`, () => {
      const capacity = (servers * 1000) / ownMillis
      const load = (share: number, seconds: number): Phase => ({ seconds, rate: capacity * share, servers, service })
      for (const seed of seeds) {
        const [, , overload, after] = simulate(1000, [load(0.5, 10), load(3, 20), load(3, 60), load(0.5, 10)], seed)
        assert.isAtLeast(overload!.goodput, 0.9 * capacity)
        assert.isAtMost(overload!.p99, 3 * ownMillis + 0.001)
        assert.isAbove(overload!.refused, 0)
        assert.isAtMost(after!.p50, 2 * ownMillis)
      }
    })
  }

  it("has the tail of a handler whose time varies", () => {
    const load = (rate: number, seconds: number): Phase => ({ seconds, rate, servers: 8, service: exponential(10) })
    for (const seed of seeds) {
      const [before, , overload] = simulate(1000, [load(400, 10), load(2400, 5), load(2400, 30)], seed)
      assert.isAtLeast(overload!.goodput, 0.9 * 800)
      assert.isAtMost(overload!.p99, 3 * before!.p99)
    }
  })

  it("refuses nobody any more once it is over", () => {
    const load = (rate: number, seconds: number): Phase => ({ seconds, rate, servers: 8, service: constant(10) })
    for (const seed of seeds) {
      const [, , after] = simulate(1000, [load(2400, 20), load(400, 5), load(400, 20)], seed)
      assert.strictEqual(after!.refused, 0)
      assert.strictEqual(after!.limit, 1000)
    }
  })

  it("holds when the process has little of the processor, too", () => {
    const load = (share: number, seconds: number): Phase => ({
      seconds,
      rate: 400 * share,
      servers: 8,
      service: constant(20),
      workMillis: 0.5
    })
    for (const seed of seeds) {
      const [, , overload] = simulate(1000, [load(0.5, 10), load(3, 10), load(3, 30)], seed)
      assert.isAtLeast(overload!.goodput, 0.9 * 400)
      assert.isAtMost(overload!.p99, 3 * 20)
    }
  })

  it("finds what a handler takes by itself when it has never been without load", () => {
    const load = (seconds: number): Phase => ({ seconds, rate: 2400, servers: 8, service: constant(10) })
    for (const seed of seeds) {
      const [, later] = simulate(1000, [load(10), load(10)], seed)
      assert.isAtMost(later!.p99, 30)
      assert.isAtLeast(later!.goodput, 0.9 * 800)
    }
  })

  it("follows a handler that bears less, and more again", () => {
    const load = (servers: number): Phase => ({ seconds: 10, rate: 2400, servers, service: constant(10) })
    for (const seed of seeds) {
      const [, , half, , whole] = simulate(1000, [load(8), load(4), load(4), load(8), load(8)], seed)
      assert.isAtLeast(half!.goodput, 0.9 * 400)
      assert.isAtMost(half!.p99, 30)
      assert.isAtLeast(whole!.goodput, 0.9 * 800)
      assert.isAtMost(whole!.p99, 30)
    }
  })
})

describe("calls that do not queue", () => {
  const handlers = {
    "are quick": { rate: 2000, service: exponential(0.3) },
    "take this and that": { rate: 500, service: exponential(20) },
    "take very long at times": { rate: 500, service: logNormal(20, 1.5) },
    "are in a cache or not": { rate: 1000, service: either(1, 20, 0.5) },
    "are nearly all in a cache": { rate: 200, service: either(1, 500, 0.1) },
    "take long": { rate: 500, service: constant(1000) }
  }
  for (const [name, { rate, service }] of Object.entries(handlers)) {
    it(`are let in when they ${name}`, () => {
      const load = (seconds: number): Phase => ({ seconds, rate, servers: unlimited, service })
      for (const seed of seeds) {
        const [, usual] = simulate(1000, [load(10), load(40)], seed)
        assert.isAtMost(usual!.refusedShare, 0.001)
      }
    })
  }

  it("are let in when the process pauses", () => {
    const load: Phase = { seconds: 5, rate: 1000, servers: unlimited, service: constant(100) }
    for (const seed of seeds) {
      const [, paused] = simulate(1000, [load, { ...load, seconds: 1, pauseMillis: 400 }], seed)
      assert.strictEqual(paused!.refused, 0)
    }
  })

  it("are let in when the process has little of the processor", () => {
    const load = (workMillis: number): Phase => ({
      seconds: 20,
      rate: 250,
      servers: unlimited,
      service: constant(2),
      workMillis
    })
    for (const seed of seeds) {
      const [, contended] = simulate(1000, [load(0.3), load(1.9)], seed)
      assert.strictEqual(contended!.refused, 0)
    }
  })

  it("are let in again soon after they have become slow by themselves", () => {
    for (const [from, to] of [
      [10, 40],
      [10, 100],
      [1, 200]
    ] as const) {
      const load = (mean: number, seconds: number): Phase => ({
        seconds,
        rate: 500,
        servers: unlimited,
        service: exponential(mean)
      })
      for (const seed of seeds) {
        const [, , after] = simulate(1000, [load(from, 10), load(to, 5), load(to, 20)], seed)
        assert.isAtMost(after!.refusedShare, 0.005)
      }
    }
  })

  it("are let in at nine tenths of what a handler bears, but for some", () => {
    for (const seed of seeds) {
      const load: Phase = { seconds: 60, rate: 720, servers: 8, service: exponential(10) }
      const [result] = simulate(1000, [load], seed)
      assert.isAtMost(result!.refusedShare, 0.05)
    }
  })

  it("are let in when a burst follows on a quiet time after an overload", () => {
    const { clock, time } = manualClock()
    const limiter = Concurrency.make({ limit: 100, clock, lateness: undefined })
    const overload = (millis: number) => {
      for (let i = 0; i < 200; i++) {
        limiter.tryAcquire()
        time.millis += 2
        limiter.release(millis, "ok")
      }
    }
    overload(10)
    overload(1000)
    assert.isBelow(limiter.limit(), 20)
    time.millis += 10_000
    const taken = Array.from({ length: 100 }, () => limiter.tryAcquire())
    assert.isTrue(taken.every(Boolean))
  })
})

describe("calls that were cut short", () => {
  const served = (millis: number, outcome: "ok" | "dropped") => {
    const { clock, time } = manualClock()
    const limiter = Concurrency.make({ limit: 100, clock, lateness: undefined })
    for (let i = 0; i < 1000; i++) {
      limiter.tryAcquire()
      time.millis += 3
      limiter.release(i < 500 ? 10 : millis, i < 500 ? "ok" : outcome)
    }
    return limiter.limit()
  }

  it("say that a handler is slow when they had been long inside", () => {
    assert.isBelow(served(1000, "dropped"), 50)
    assert.strictEqual(served(1000, "dropped"), served(1000, "ok"))
  })

  it("say nothing when they were given up early", () => {
    const { clock, time } = manualClock()
    const limiter = Concurrency.make({ limit: 100, clock, lateness: undefined })
    const serve = (millis: number, outcome: "ok" | "dropped") => {
      for (let i = 0; i < 1000; i++) {
        limiter.tryAcquire()
        time.millis += 3
        limiter.release(millis, outcome)
        assert.strictEqual(limiter.limit(), 100)
      }
    }
    serve(30, "ok")
    serve(1, "dropped")
    serve(30, "ok")
  })
})

describe("calls that are refused before their handler", () => {
  const Api = Grpc.api(
    { getPlayer: PlayerService.getPlayer },
    { getPlayer: { request: Schema.Struct({ playerId: Schema.NonEmptyString }), public: true } }
  )
  const served = Grpc.handlers(
    Api,
    Effect.succeed({ getPlayer: ({ playerId }) => Effect.as(Effect.sleep(100), response(playerId)) })
  )

  it.effect("say nothing of what it takes", () =>
    Effect.gen(function* () {
      const context = yield* Layer.build(GrpcServer.serve(served).pipe(Layer.provideMerge(layerEmbedded())))
      const target = yield* Context.get(context, GrpcServer).address
      const game = yield* Grpc.client(Api, { target }).pipe(Effect.provide(context))
      const round = <A, E>(call: Effect.Effect<A, E>) =>
        Effect.forEach(Array.from({ length: 40 }), () => call, { concurrency: "unbounded" })
      for (let i = 0; i < 5; i++) {
        yield* round(Effect.flip(game.getPlayer({ playerId: "" })))
        yield* TestClock.adjust(500)
      }
      for (let i = 0; i < 10; i++) yield* passing("test")(round(game.getPlayer({ playerId: "p1" })))
    }).pipe(Effect.provide(LoggerTest))
  )
})
