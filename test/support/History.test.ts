import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as History from "./History.ts"

describe("History", () => {
  it.effect("counts what was acknowledged, lost, duplicated, unknown and denied", () =>
    Effect.gen(function* () {
      const history = yield* History.make
      for (const id of ["kept", "lost", "twice"]) yield* history.acked(id)
      yield* history.unknown("maybe")
      yield* history.failed("refused")
      yield* history.failed("denied")
      const verdict = yield* history.verdict(["kept", "twice", "twice", "maybe", "denied"])
      assert.deepStrictEqual(verdict, {
        acked: 3,
        lost: 1,
        duplicated: 1,
        unknown: 1,
        phantom: 1,
        maxOutageMs: 0,
        recoverMs: 0
      })
    })
  )

  it.effect("a failed try of what was later acknowledged, or is unknown, is no lie", () =>
    Effect.gen(function* () {
      const history = yield* History.make
      yield* history.failed("a")
      yield* history.acked("a")
      yield* history.unknown("b")
      yield* history.failed("b")
      assert.strictEqual((yield* history.verdict(["a", "b"])).phantom, 0)
    })
  )

  it.effect("measures the longest silence and the way back", () =>
    Effect.gen(function* () {
      const history = yield* History.make
      yield* history.acked("a")
      yield* TestClock.adjust("100 millis")
      yield* history.acked("b")
      yield* TestClock.adjust("900 millis")
      yield* history.healed
      yield* TestClock.adjust("300 millis")
      yield* history.acked("c")
      const { maxOutageMs, recoverMs } = yield* history.verdict(["a", "b", "c"])
      assert.deepStrictEqual({ maxOutageMs, recoverMs }, { maxOutageMs: 1200, recoverMs: 300 })
    })
  )

  it.effect("never came back is Infinity", () =>
    Effect.gen(function* () {
      const history = yield* History.make
      yield* history.acked("a")
      yield* TestClock.adjust("1 milli")
      yield* history.healed
      assert.strictEqual((yield* history.verdict(["a"])).recoverMs, Infinity)
    })
  )
})
