import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import { type Refused, Unavailable } from "../RegistryError.ts"
import type { Store } from "./store.ts"

/** The time for measuring, in milliseconds: no change of the system's time moves it. */
export const monotonicMillis = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6

/**
 * Waits before another try, longer after each failure in a row, and never as long as another does. At most half a second,
 * so that whoever waits for the store is back soon after it is.
 */
export const backoff = (failures: number): Effect.Effect<void> =>
  Effect.flatMap(Random.nextBetween(0.5, 1), (part) => Effect.sleep(Math.min(500, 50 * 2 ** failures) * part))

/** Tries for ever while the store does not answer. `away`: told of every failure. */
export const persist = <A, E extends Unavailable | Refused>(
  effect: Effect.Effect<A, E>,
  away: (error: Unavailable) => Effect.Effect<void> = () => Effect.void
): Effect.Effect<A, Exclude<E, Unavailable>> => {
  const attempt = (failures: number): Effect.Effect<A, Exclude<E, Unavailable>> =>
    Effect.catch(effect, (error) =>
      error instanceof Unavailable
        ? away(error).pipe(Effect.andThen(backoff(failures)), Effect.andThen(attempt(failures + 1)))
        : Effect.fail(error as Exclude<E, Unavailable>)
    )
  return attempt(0)
}

/**
 * How much of the ttl of a lease its owner makes use of. The rest is for clocks that do not run alike, and for the work
 * to end after its interruption.
 */
const usable = 0.9

/** A lease that a store gave. */
export interface Lease {
  readonly id: string
  readonly ttlMillis: number
  /** Until when it can be relied on, on our own monotonic clock: no event says so, since none may come. */
  deadline: number
}

/** Asks for a lease once. */
export const grant = (store: Store, ttlMillis: number): Effect.Effect<Lease, Unavailable | Refused> =>
  Effect.clockWith((clock) => {
    const sentAt = monotonicMillis(clock)
    return Effect.map(store.grant(ttlMillis), (granted) => ({
      id: granted.lease,
      ttlMillis: granted.ttlMillis,
      deadline: sentAt + granted.ttlMillis * usable
    }))
  })

/** Renews a lease once; tells whether it still is. */
const renew = (store: Store, lease: Lease): Effect.Effect<boolean, Unavailable | Refused> =>
  Effect.clockWith((clock) => {
    const sentAt = monotonicMillis(clock)
    return Effect.map(store.keepAlive(lease.id), (ttlMillis) => {
      // It counts from when the request was sent: the store renewed it later than that.
      if (ttlMillis > 0) lease.deadline = sentAt + ttlMillis * usable
      return ttlMillis > 0
    })
  })

/** Whether a lease still is, as the store says, however long that takes; one that it will not renew is none. */
export const isAlive = (store: Store, lease: Lease): Effect.Effect<boolean> =>
  Effect.orElseSucceed(persist(renew(store, lease)), () => false)

/** How a lease ended: the store has said so, or nothing has been heard of it in time, for this reason. */
export type Ended = { readonly _tag: "Gone" } | { readonly _tag: "Late"; readonly detail: string }

/**
 * Renews a lease every third of its time, until it is no more, or its deadline has passed. A renewal that fails is tried
 * again.
 */
export const keep = (store: Store, lease: Lease): Effect.Effect<Ended> =>
  Effect.gen(function* () {
    const clock = yield* Clock.Clock
    // In whole milliseconds: no timer waits for a part of one.
    const left = () => Math.max(0, Math.ceil(lease.deadline - monotonicMillis(clock)))
    let detail = "no answer in time"
    let failures = 0
    yield* Effect.sleep(lease.ttlMillis / 3)
    while (left() > 0) {
      const sentAt = monotonicMillis(clock)
      // The deadline holds also while the store is silent.
      const answer = yield* Effect.timeoutOption(Effect.result(renew(store, lease)), left())
      if (Option.isSome(answer) && Result.isSuccess(answer.value)) {
        if (!answer.value.success) return { _tag: "Gone" }
        failures = 0
        yield* Effect.sleep(Math.max(0, sentAt + lease.ttlMillis / 3 - monotonicMillis(clock)))
      } else {
        if (Option.isSome(answer) && Result.isFailure(answer.value)) detail = answer.value.failure.message
        yield* Effect.timeoutOption(backoff(failures++), left())
      }
    }
    return { _tag: "Late", detail }
  })

/** How long ending a lease may take, in milliseconds; then it ends by itself. */
const farewellMillis = 3_000

/** Ends a lease with all that is on it, as well as can be done in a few seconds. */
export const revoke = (store: Store, lease: Lease): Effect.Effect<void, Unavailable | Refused> =>
  Effect.timeoutOrElse(persist(store.revoke(lease.id)), {
    duration: farewellMillis,
    orElse: () => Effect.fail(new Unavailable({ detail: `a lease could not be ended in ${farewellMillis} ms` }))
  })
