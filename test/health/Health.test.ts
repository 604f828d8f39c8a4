import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import { Health } from "xdooria/health"
import { HealthLive } from "xdooria/health/live"

describe("Health", () => {
  it.effect("takes reports and forgets them without a layer", () =>
    Effect.gen(function* () {
      yield* Health.report("pg", { status: "down", detail: "away" })
      const reporter = yield* Health.Reporter
      const states = yield* Stream.runHead(reporter.changes)
      assert.strictEqual(states._tag === "Some" && states.value.size, 0)
    })
  )

  it.effect("tells each change once, in order, and is up only when all are", () =>
    Effect.gen(function* () {
      const reporter = yield* Health.Reporter
      const seen = yield* Queue.unbounded<string>()
      const reader = yield* Stream.runForEach(reporter.changes, (states) =>
        Queue.offer(seen, `${states.size} ${Health.isUp(states) ? "up" : "down"}`)
      ).pipe(Effect.forkChild({ startImmediately: true }))
      assert.strictEqual(yield* Queue.take(seen), "0 up")
      yield* Health.report("pg", { status: "up" })
      assert.strictEqual(yield* Queue.take(seen), "1 up")
      yield* Health.report("pg", { status: "up" })
      yield* Health.report("pg", { status: "down", detail: "away" })
      assert.strictEqual(yield* Queue.take(seen), "1 down")
      yield* reporter.forget("pg")
      assert.strictEqual(yield* Queue.take(seen), "0 up")
      yield* Fiber.interrupt(reader)
    }).pipe(Effect.provide(HealthLive))
  )

  it.effect("gives the present states to a reader that comes later, and holds up no report for a slow one", () =>
    Effect.gen(function* () {
      const reporter = yield* Health.Reporter
      const isSlow = yield* Deferred.make<void>()
      const seen = yield* Queue.unbounded<number>()
      const reader = yield* Stream.runForEach(reporter.changes, (states) =>
        Effect.andThen(Deferred.await(isSlow), Queue.offer(seen, states.size))
      ).pipe(Effect.forkChild({ startImmediately: true }))
      for (const component of ["pg", "redis", "etcd"]) yield* Health.report(component, { status: "up" })
      const late = yield* Stream.runHead(reporter.changes)
      assert.deepStrictEqual([...Option.getOrThrow(late).keys()], ["pg", "redis", "etcd"])
      yield* Deferred.succeed(isSlow, undefined)
      assert.deepStrictEqual(yield* Queue.takeN(seen, 4), [0, 1, 2, 3])
      yield* Fiber.interrupt(reader)
    }).pipe(Effect.provide(HealthLive))
  )

  it.effect("tells a new reason of down, and not the same one again; forgets what it does not know", () =>
    Effect.gen(function* () {
      const reporter = yield* Health.Reporter
      const seen = yield* Queue.unbounded<string>()
      const reader = yield* Stream.runForEach(reporter.changes, (states) => {
        const pg = states.get("pg")
        return Queue.offer(seen, pg?.status === "down" ? pg.detail : "up")
      }).pipe(Effect.forkChild({ startImmediately: true }))
      yield* Health.report("pg", { status: "down", detail: "a" })
      yield* Health.report("pg", { status: "down", detail: "a" })
      yield* reporter.forget("redis")
      yield* Health.report("pg", { status: "down", detail: "b" })
      yield* Health.report("pg", { status: "degraded", detail: "b" })
      yield* Health.report("pg", { status: "degraded", detail: "b" })
      yield* Health.report("pg", { status: "up" })
      assert.deepStrictEqual(yield* Queue.takeN(seen, 5), ["up", "a", "b", "up", "up"])
      yield* Fiber.interrupt(reader)
    }).pipe(Effect.provide(HealthLive))
  )

  it("can take calls as long as nothing is down", () => {
    const states = (...all: ReadonlyArray<Health.HealthState>) => new Map(all.map((state, i) => [String(i), state]))
    assert.isTrue(Health.isUp(states({ status: "up" }, { status: "degraded", detail: "a" })))
    assert.isFalse(Health.isUp(states({ status: "degraded", detail: "a" }, { status: "down", detail: "b" })))
  })
})
