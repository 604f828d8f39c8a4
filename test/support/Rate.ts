import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"

/**
 * Begins so many effects a second, whatever became of the earlier ones, and waits for all: slow answers must not slow the
 * load. Gives how many there were.
 *
 * - `millis`: for how long it begins further ones
 */
export const load = Effect.fnUntraced(function* (
  rate: number,
  millis: number,
  one: (i: number) => Effect.Effect<void>
) {
  const startedAt = yield* Clock.currentTimeMillis
  const running: Array<Fiber.Fiber<void>> = []
  for (;;) {
    const elapsed = (yield* Clock.currentTimeMillis) - startedAt
    while (running.length < (elapsed * rate) / 1000) running.push(yield* Effect.forkChild(one(running.length)))
    if (elapsed >= millis) break
    yield* Effect.sleep("10 millis")
  }
  yield* Effect.forEach(running, Fiber.join, { discard: true })
  return running.length
})
