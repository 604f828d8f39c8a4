import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import { monotonicMillis } from "./clock.ts"

/** Looks so often, in milliseconds. */
export const period = 10

/** Looks for so long after the last work, in milliseconds: until then the limiters go by what was before. */
export const quietMillis = 1000

/** A timer of Node goes off so much late by itself, in milliseconds. */
const grain = 1

/**
 * How long what comes has to wait until the process sees it, because that is at other work or has no processor: measured
 * by how late it is for what it has to do every few milliseconds.
 */
export class Lateness {
  /** Open as long as somebody may ask: a process without work is not woken up for it. */
  readonly isNeeded = Latch.makeUnsafe(false)
  readonly #clock: Clock.Clock
  #working = 0
  #quietLooks = 0
  #waited = 0
  #dueAt = Infinity

  constructor(clock: Clock.Clock) {
    this.#clock = clock
  }

  /** Work begins, of which somebody will ask how long it had to wait. */
  enter(): void {
    this.#working++
    if (this.#dueAt < Infinity) return
    this.#dueAt = monotonicMillis(this.#clock) + period
    this.isNeeded.openUnsafe()
  }

  /** It has ended. */
  leave(): void {
    this.#working--
    this.#quietLooks = 0
  }

  /** To be called every {@link period}, as long as it is needed. */
  look(): void {
    const now = monotonicMillis(this.#clock)
    this.#waited += this.#since(now)
    const isQuiet = this.#working === 0 && ++this.#quietLooks > quietMillis / period
    this.#dueAt = isQuiet ? Infinity : now + period
    if (isQuiet) this.isNeeded.closeUnsafe()
  }

  /**
   * The waiting times of all moments until now in which it was needed, added up, in square milliseconds: what was added,
   * by the milliseconds in which it was, is how long what came in them had to wait on average.
   */
  waited(): number {
    return this.#waited + this.#since(monotonicMillis(this.#clock))
  }

  /** It was as late for the moments since then, less and less; and may have been for those before. */
  #since(now: number): number {
    const late = now - this.#dueAt - grain
    return late <= 0 ? 0 : late * (period + late / 2)
  }
}

/** Watches how late the process is at its work until the scope closes; that is real, whatever clock its callers go by. */
export const watch: Effect.Effect<Lateness, never, Scope.Scope> = Effect.gen(function* () {
  const clock = Clock.Clock.defaultValue()
  const lateness = new Lateness(clock)
  const look = Effect.map(Effect.sleep(period), () => lateness.look())
  const looking = Effect.forever(Effect.andThen(lateness.isNeeded.await, look))
  yield* Effect.forkScoped(Effect.provideService(looking, Clock.Clock, clock))
  return lateness
})
