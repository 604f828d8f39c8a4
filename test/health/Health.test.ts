import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
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
})
