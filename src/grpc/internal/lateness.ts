import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { monotonicMillis } from "./clock.ts"

/** Looks so often, in milliseconds. */
export const period = 10

/** A timer of Node goes off so much late by itself, in milliseconds. */
const grain = 1

/**
 * How long what comes has to wait until the process sees it, because that is at other work or has no processor: measured
 * by how late it is for what it has to do every few milliseconds.
 */
export class Lateness {
  readonly #clock: Clock.Clock
  #waited = 0
  #dueAt: number

  constructor(clock: Clock.Clock) {
    this.#clock = clock
    this.#dueAt = monotonicMillis(clock) + period
  }

  /** To be called every {@link period}. */
  look(): void {
    const now = monotonicMillis(this.#clock)
    this.#waited += this.#since(now)
    this.#dueAt = now + period
  }

  /**
   * The waiting times of all moments until now, added up, in square milliseconds: what was added, by the milliseconds in
   * which it was, is how long what came in them had to wait on average.
   */
  readonly waited = (): number => this.#waited + this.#since(monotonicMillis(this.#clock))

  /** It was as late for the moments since then, less and less; and may have been for those before. */
  #since(now: number): number {
    const late = now - this.#dueAt - grain
    return late <= 0 ? 0 : late * (period + late / 2)
  }
}

/** Watches how late the process is until the scope closes; that is real, whatever clock its callers go by. */
export const watch: Effect.Effect<Lateness, never, Scope.Scope> = Effect.gen(function* () {
  const clock = Clock.Clock.defaultValue()
  const lateness = new Lateness(clock)
  const looking = Effect.forever(Effect.map(Effect.sleep(period), () => lateness.look()))
  yield* Effect.forkScoped(Effect.provideService(looking, Clock.Clock, clock))
  return lateness
})
