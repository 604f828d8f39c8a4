import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Lateness, period, quietMillis, watch } from "../../src/grpc/internal/lateness.ts"
import { manualClock } from "./Queue.ts"

/** How long calls had to wait on average, of a process that is seen so late, again and again. */
const average = (lates: ReadonlyArray<number>): number => {
  const { clock, time } = manualClock()
  const lateness = new Lateness(clock)
  lateness.enter()
  for (const late of lates) {
    time.millis += period + late
    lateness.look()
  }
  return lateness.waited() / time.millis
}

describe("how late the process is", () => {
  it("is nothing as long as its timer is in time", () => {
    assert.strictEqual(average([0, 0.5, 1, 0.9]), 0)
  })

  it("is half of a pause for what comes in it, and nothing for the rest", () => {
    // Of 2000 ms a pause of 400 ms: so long on average is waited for it.
    const pause = average([...Array.from({ length: 159 }, () => 0), 401])
    assert.closeTo(pause, (400 * 200) / 2000, 4)
  })

  it("is told of a pause that has only just ended, once", () => {
    const { clock, time } = manualClock()
    const lateness = new Lateness(clock)
    lateness.enter()
    time.millis += period + 101
    const waited = lateness.waited()
    assert.isAbove(waited, 100 * 50)
    lateness.look()
    assert.strictEqual(lateness.waited(), waited)
  })

  it("is looked at while there is work, and for a second after it, which may be the end of a pause of that", () => {
    const { clock, time } = manualClock()
    const lateness = new Lateness(clock)
    const look = (late = 0) => {
      time.millis += period + late
      lateness.look()
    }
    time.millis += 60_000
    assert.strictEqual(lateness.waited(), 0)
    assert.isFalse(lateness.isNeeded.isOpen())
    lateness.enter()
    lateness.enter()
    lateness.leave()
    for (let millis = 0; millis <= 2 * quietMillis; millis += period) look()
    lateness.leave()
    for (let millis = 0; millis < quietMillis - period; millis += period) look()
    assert.isTrue(lateness.isNeeded.isOpen())
    look(101)
    const waited = lateness.waited()
    assert.isAbove(waited, 100 * 50)
    for (let millis = 0; millis <= quietMillis; millis += period) look()
    assert.isFalse(lateness.isNeeded.isOpen())
    time.millis += 60_000
    assert.strictEqual(lateness.waited(), waited)
    lateness.enter()
    look()
    assert.strictEqual(lateness.waited(), waited)
    look(101)
    assert.isAbove(lateness.waited(), 2 * 100 * 50)
  })

  it.effect("is seen on the real clock", () =>
    Effect.gen(function* () {
      const lateness = yield* watch
      lateness.enter()
      // Nothing happens in the process meanwhile.
      const pause = Effect.sync(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3 * period))
      while (lateness.waited() < period * period) {
        yield* pause
        yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      }
    })
  )
})
