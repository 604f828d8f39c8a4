// How often a caller may call a method: counted in this process, and beside that by all instances together where they
// share a store.
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as RateLimiter from "effect/persistence/RateLimiter"
import * as Result from "effect/Result"
import { createHash } from "node:crypto"
import type { RateRule } from "../Api.ts"
import { Shared } from "../RateLimits.ts"
import { monotonicMillis } from "./clock.ts"

/** The calls that one caller has made. */
interface Count {
  calls: number
  /** When they are forgotten. */
  until: number
}

/** What is kept at most, for so many callers; of more the first are forgotten before their time. */
const mostCallers = 100_000

/**
 * Counts as effect/persistence/RateLimiter does by fixed windows: a call takes one of `limit` and puts off the time when
 * all are given back by a part of the window. Effect's own store in memory keeps every caller for ever.
 */
export class LocalLimiter {
  readonly #limit: number
  readonly #windowMillis: number
  readonly #clock: Clock.Clock
  /** Who has not called for a whole window has nothing left to be counted, so old ones go two windows at a time. */
  #recent = new Map<string, Count>()
  #earlier = new Map<string, Count>()
  #turnAt: number

  constructor(limit: number, windowMillis: number, clock: Clock.Clock) {
    this.#limit = limit
    this.#windowMillis = windowMillis
    this.#clock = clock
    this.#turnAt = monotonicMillis(clock) + windowMillis
  }

  /** Whether a caller may make a further call. */
  take(caller: string): boolean {
    const now = monotonicMillis(this.#clock)
    if (now >= this.#turnAt || this.#recent.size >= mostCallers) this.#turn(now)
    const count = this.#find(caller, now)
    if (count.until <= now) {
      count.calls = 0
      count.until = now
    }
    if (count.calls + 1 > this.#limit) return false
    count.calls++
    count.until += this.#windowMillis / this.#limit
    return true
  }

  /** For how many callers something is kept. */
  get size(): number {
    return this.#recent.size + this.#earlier.size
  }

  #find(caller: string, now: number): Count {
    const recent = this.#recent.get(caller)
    if (recent !== undefined) return recent
    const count = this.#earlier.get(caller) ?? { calls: 0, until: now }
    this.#earlier.delete(caller)
    this.#recent.set(caller, count)
    return count
  }

  #turn(now: number): void {
    this.#earlier = now >= this.#turnAt + this.#windowMillis ? new Map() : this.#recent
    this.#recent = new Map()
    this.#turnAt = now + this.#windowMillis
  }
}

/** How long the shared store may take, and how long it is left alone when it took longer or failed. */
const storeTimeout = Duration.millis(50)
const storePause = 1000

/** No part of a key that a caller chose may reach another's; what is between the braces decides the slot of a cluster. */
const keyOf = (method: string, by: RateRule["by"], caller: string): string => {
  const id = caller.toWellFormed()
  const part = id.length > 128 ? createHash("sha256").update(id).digest("hex") : encodeURIComponent(id)
  return `${method}:${by}:{${part}}`
}

/** Knows how often each caller may call a method. */
export interface Rate {
  /**
   * Whether a call may go on, which then counts: known at once, unless instances share a store.
   *
   * - `caller`: the id of a principal, the address of a peer, or the same for all, as the rule says
   */
  readonly check: (caller: string) => boolean | Effect.Effect<boolean>
}

const isExceeded = (cause: Cause.Cause<RateLimiter.RateLimiterError>): boolean => {
  const error = Cause.findError(cause)
  return Result.isSuccess(error) && error.success.reason._tag === "RateLimitExceeded"
}

/**
 * Makes what one method is limited by. A caller that exceeds the limit here is refused without asking further; a shared
 * store that fails, or takes longer than 50 ms, is left alone for a second, and what is counted here is what holds.
 *
 * - `method`: its full name, such as `game.GameService/GetPlayer`
 * - `context`: with the clock and, if instances share one, the store
 */
export const make = (method: string, rule: RateRule, context: Context.Context<never>): Rate => {
  const clock = Context.get(context, Clock.Clock)
  const shared = Context.get(context, Shared)
  const window = Duration.max(Duration.fromInputUnsafe(rule.window), Duration.millis(1))
  const local = new LocalLimiter(rule.limit, Duration.toMillis(window), clock)
  if (shared === undefined) return { check: (caller) => local.take(caller) }

  let askAgainAt = 0
  let isAlone = false
  const ask = (caller: string): Effect.Effect<boolean> =>
    shared.consume({ key: keyOf(method, rule.by, caller), limit: rule.limit, window }).pipe(
      Effect.timeoutOption(storeTimeout),
      Effect.exit,
      Effect.flatMap((exit) => {
        if (Exit.isFailure(exit) && isExceeded(exit.cause)) return Effect.succeed(false)
        if (Exit.isSuccess(exit) && exit.value._tag === "Some") {
          if (!isAlone) return Effect.succeed(true)
          isAlone = false
          askAgainAt = 0
          return Effect.as(Effect.logInfo("rate limits are shared again").pipe(Effect.annotateLogs({ method })), true)
        }
        askAgainAt = monotonicMillis(clock) + storePause
        if (isAlone) return Effect.succeed(true)
        isAlone = true
        return Effect.as(
          Effect.logWarning("rate limits are those of this instance alone").pipe(Effect.annotateLogs({ method })),
          true
        )
      })
    )
  return {
    check: (caller) => {
      if (!local.take(caller)) return false
      const now = monotonicMillis(clock)
      if (now < askAgainAt) return true
      // One call finds out for all whether the store is back.
      if (isAlone) askAgainAt = now + storePause
      return ask(caller)
    }
  }
}
