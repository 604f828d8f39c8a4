import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Recorder from "./Recorder.ts"

describe("Recorder", () => {
  it.effect("keeps the order", () =>
    Effect.gen(function* () {
      const recorder = yield* Recorder.make<number>()
      yield* recorder.record(1)
      yield* recorder.record(2)
      assert.deepStrictEqual(yield* recorder.all, [1, 2])
    })
  )

  it.effect("waits for what is recorded later, and finds what was recorded before", () =>
    Effect.gen(function* () {
      const recorder = yield* Recorder.make<number>()
      const later = yield* Effect.forkChild(
        recorder.first((value) => value > 1),
        { startImmediately: true }
      )
      yield* recorder.record(1)
      yield* recorder.record(2)
      assert.strictEqual(yield* Fiber.join(later), 2)
      assert.strictEqual(yield* recorder.first((value) => value < 2), 1)
      assert.deepStrictEqual(yield* recorder.atLeast(2), [1, 2])
    })
  )
})
