import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { randomBytes } from "node:crypto"
import type * as Key from "../../redis/Key.ts"
import { type AcquireOptions, type Lease, type Lock, type LockOptions, ttlRange } from "../Lock.ts"
import { Held, InvalidInput, LockError, type LockErrorReason, Timeout, Unavailable } from "../LockError.ts"
import type { Backend } from "./backend.ts"
import { Holding, Lineage, monotonicMillis } from "./Holding.ts"

/** Wakes those who wait in this process, by their tokens. */
export class Wakes {
  private readonly latches = new Map<string, Latch.Latch>()

  /** Does nothing when the token is not one of ours, or no longer. */
  wake(token: string): void {
    const latch = this.latches.get(token)
    if (latch !== undefined) Latch.openUnsafe(latch)
  }

  add(token: string): Latch.Latch {
    const latch = Latch.makeUnsafe()
    this.latches.set(token, latch)
    return latch
  }

  remove(token: string): void {
    this.latches.delete(token)
  }
}

/** How many poll intervals a place in the queue outlives the one who has it. */
export const ticketIntervals = 3

/** How long an interrupted acquisition waits for the server to confirm that nothing is left of it. */
const confirmation = "100 millis"

const cleanupBackoff = Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("1 second")]).pipe(
  Schedule.jittered
)

interface Request {
  readonly key: Key.Any
  readonly token: string
  readonly ttlMillis: number
  readonly waitMillis: number
}

const failing = (reason: LockErrorReason): Effect.Effect<never, LockError> => Effect.fail(new LockError({ reason }))

const problemOf = (key: Key.Any, ttlMillis: number, waitMillis: number): string | undefined => {
  // Its neighbours would be those of the key that it is beside.
  if (key.words !== undefined) return "the key is beside another"
  if (!(ttlMillis >= ttlRange.minimum && ttlMillis <= ttlRange.maximum)) {
    return `ttl is not between ${ttlRange.minimum} ms and a day`
  }
  return waitMillis >= 0 ? undefined : "wait is negative"
}

/**
 * Locks on a backend: who asks waits for its turn, who holds is watched, what runs inside gets in again.
 *
 * Background work, which is renewing and cleaning up, belongs to the scope.
 */
export const make = (
  backend: Backend,
  wakes: Wakes,
  options: LockOptions
): Effect.Effect<Lock["Service"], never, Scope.Scope> =>
  Effect.gen(function* () {
    const scope = yield* Scope.Scope
    const pollMillis = Duration.toMillis(options.pollInterval)
    // Half of a token is drawn once and half is counted, so that an acquisition costs no randomness.
    const instance = randomBytes(8).toString("hex")
    let count = 0
    const newToken = () => instance + (++count).toString(16).padStart(16, "0")

    /** Gives up what a token may have, again and again until it is done or has ended by itself. */
    const cleanup = ({ key, token, ttlMillis }: Request) =>
      // A try that has begun is finished, also when the scope ends: what closes now may be the last to know the token.
      Effect.uninterruptible(backend.leave(key, token)).pipe(
        Effect.retry({ while: (error) => error.isRetryable, schedule: cleanupBackoff }),
        Effect.timeoutOption(ttlMillis),
        Effect.ignore,
        Effect.forkIn(scope, { startImmediately: true, uninterruptible: false })
      )

    /** Claims until the lock is granted or the time is over. */
    const claimAll = Effect.fnUntraced(function* (
      request: Request,
      state: { isUnclear: boolean },
      latch?: Latch.Latch
    ) {
      const { key, token, ttlMillis, waitMillis } = request
      const clock = yield* Clock.Clock
      const now = () => monotonicMillis(clock)
      const giveUpAt = now() + waitMillis
      const claim = backend.claim({ key, token, ttlMillis, waits: latch !== undefined })
      for (;;) {
        if (latch !== undefined) Latch.closeUnsafe(latch)
        const sentAt = now()
        state.isUnclear = true
        const result = yield* Effect.result(claim)
        if (Result.isFailure(result) && !result.failure.isRetryable) return yield* result.failure
        const isBusy = Result.isSuccess(result) && result.success._tag === "Busy"
        if (Result.isSuccess(result) && result.success._tag === "Granted") {
          if (now() < Holding.deadlineOf(sentAt, ttlMillis)) return { fence: result.success.fence, sentAt }
        }
        if (latch === undefined) {
          if (isBusy) state.isUnclear = false
          return yield* isBusy ? failing(new Held()) : Effect.fail(failureOf(result))
        }
        const left = giveUpAt - now()
        if (left <= 0) {
          return yield* isBusy ? failing(new Timeout({ millis: waitMillis })) : Effect.fail(failureOf(result))
        }
        const poll = pollMillis * (yield* Random.nextBetween(0.9, 1.1))
        const until =
          isBusy && result.success.isNext && result.success.leftMillis > 0
            ? Math.min(poll, result.success.leftMillis + 1)
            : poll
        yield* Effect.timeoutOption(latch.await, Math.min(until, left))
      }
    })

    const obtain = (request: Request) =>
      Effect.suspend(() => {
        const state = { isUnclear: false }
        const latch = request.waitMillis > 0 ? wakes.add(request.token) : undefined
        return claimAll(request, state, latch).pipe(
          Effect.onExit((exit) => {
            if (latch !== undefined) wakes.remove(request.token)
            if (Exit.isSuccess(exit) || !state.isUnclear) return Effect.void
            return Effect.flatMap(cleanup(request), (fiber) => Effect.timeoutOption(Fiber.await(fiber), confirmation))
          })
        )
      })

    const fresh = (request: Request) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.gen(function* () {
          const granted = yield* restore(obtain(request))
          const holding = new Holding(
            backend,
            { ...request, ...granted },
            // Built only when it is needed, which is rare.
            Effect.suspend(() => cleanup(request))
          )
          yield* holding.start(scope)
          yield* Effect.addFinalizer(() => holding.close)
          return holding.lease
        })
      )

    const acquire = (key: Key.Any, asked: AcquireOptions = {}) =>
      Effect.flatMap(Lineage, (lineage): Effect.Effect<Lease, LockError, Scope.Scope> => {
        const ttlMillis = Duration.toMillis(asked.ttl ?? options.ttl)
        const waitMillis = Duration.toMillis(asked.wait ?? options.wait)
        const problem = problemOf(key, ttlMillis, waitMillis)
        if (problem !== undefined) return failing(new InvalidInput({ problem }))
        return Effect.suspend(() => {
          const around = lineage.findLast((holding) => holding.admits(backend, key))
          return around === undefined
            ? fresh({ key, token: newToken(), ttlMillis, waitMillis })
            : Effect.acquireRelease(
                Effect.sync(() => around.enter()),
                () => around.exit
              )
        })
      })

    return { acquire }
  })

/** Why a claim did not get the lock when it was not the lock that stood in its way. */
const failureOf = (result: Result.Result<unknown, LockError>): LockError =>
  Result.isFailure(result)
    ? result.failure
    : new LockError({ reason: new Unavailable({ detail: "the answer came after the lease had ended" }) })
