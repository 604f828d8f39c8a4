import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { randomBytes } from "node:crypto"
import type * as Key from "../../redis/Key.ts"
import { wholeMillis } from "./millis.ts"
import { type AcquireOptions, type Lease, type Lock, type LockOptions, ttlRange } from "../Lock.ts"
import { Closed, Held, InvalidInput, LockError, type LockErrorReason, Timeout, Unavailable } from "../LockError.ts"
import type { Answer, Backend } from "./backend.ts"
import { Holding, type Keeper, Lineage, monotonicMillis } from "./Holding.ts"
import { Renewals } from "./Renewals.ts"

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

  /** All who wait. */
  wakeAll(): void {
    for (const latch of this.latches.values()) Latch.openUnsafe(latch)
  }
}

/** How long a place in the queue outlives the one who has it, in whole milliseconds: three poll intervals. */
export const ticketMillisOf = ({ pollInterval }: LockOptions): number => wholeMillis(pollInterval) * 3

/** How long closing waits for work to end, and then for locks to be released. */
const graceMillis = 5_000

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

/** A request on its way. */
interface Attempt {
  readonly request: Request
  readonly clock: Clock.Clock
  /** Open when it is to look; absent when it looks only once. */
  readonly latch: Latch.Latch | undefined
  readonly giveUpAt: number
}

interface Granted {
  readonly _tag: "Granted"
  readonly fence: bigint
  readonly sentAt: number
  readonly answeredAt: number
}

/** What a look at the lock came to. */
type Outcome =
  | Granted
  | Extract<Answer, { readonly _tag: "Busy" }>
  | { readonly _tag: "Failed"; readonly error: LockError }

const late = (): LockError =>
  new LockError({ reason: new Unavailable({ detail: "the answer came after the lease had ended" }) })

const failing = (reason: LockErrorReason): Effect.Effect<never, LockError> => Effect.fail(new LockError({ reason }))

const problemOf = (key: Key.Any, ttlMillis: number, waitMillis: number): string | undefined => {
  // Its neighbours would be those of the key that it is beside.
  if (key.words !== undefined) return "the key is beside another"
  if (!(ttlMillis >= ttlRange.minimum && ttlMillis <= ttlRange.maximum)) {
    return `ttl is not between ${ttlRange.minimum} ms and a day`
  }
  return waitMillis >= 0 ? undefined : "wait is negative"
}

/** Looks at the lock, and takes it when it is free. */
const look = (backend: Backend, { clock, giveUpAt, latch, request }: Attempt): Effect.Effect<Outcome> => {
  const { key, token, ttlMillis } = request
  const sentAt = monotonicMillis(clock)
  const leftMillis = Math.max(0, giveUpAt - sentAt)
  return Effect.match(backend.claim({ key, token, ttlMillis, waits: latch !== undefined, leftMillis }), {
    onFailure: (error): Outcome => ({ _tag: "Failed", error }),
    onSuccess: (answer): Outcome => {
      if (answer._tag === "Busy") return answer
      const answeredAt = monotonicMillis(clock)
      return answeredAt < Holding.deadlineOf(sentAt, ttlMillis)
        ? { _tag: "Granted", fence: answer.fence, sentAt, answeredAt }
        : { _tag: "Failed", error: late() }
    }
  })
}

/**
 * Locks on a backend: who asks waits for its turn, who holds is watched, what runs inside gets in again.
 *
 * Background work, which is renewing and cleaning up, belongs to the scope, whose end is the end of all that is held.
 */
export const make = (
  backend: Backend,
  wakes: Wakes,
  options: LockOptions
): Effect.Effect<Lock["Service"], never, Scope.Scope> =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const pollMillis = wholeMillis(options.pollInterval)
    const attempts = new Set<Attempt>()
    const holdings = new Set<Holding>()
    const idle = Latch.makeUnsafe()
    let isClosed = false
    // Half of a token is drawn once and half is counted, so that an acquisition costs no randomness.
    const instance = randomBytes(8).toString("hex")
    let count = 0
    const newToken = () => instance + (++count).toString(16).padStart(16, "0")

    /** Gives up what a token may have, again and again until it is done or has ended by itself. */
    const giveUp = ({ key, token, ttlMillis }: Pick<Request, "key" | "token" | "ttlMillis">) =>
      // A try that has begun is finished, also when the scope ends: what closes now may be the last to know the token.
      Effect.uninterruptible(backend.leave(key, token)).pipe(
        Effect.retry({ while: (error) => error.isRetryable, schedule: cleanupBackoff }),
        Effect.timeoutOption(ttlMillis),
        Effect.ignore
      )
    const cleanup = (request: Pick<Request, "key" | "token" | "ttlMillis">) =>
      Effect.forkIn(giveUp(request), scope, { startImmediately: true, uninterruptible: false })

    /** Looks again whenever it is woken, and now and then, until the lock is granted or the time is over. */
    const waitFor = Effect.fnUntraced(function* (attempt: Attempt, latch: Latch.Latch, first: Outcome) {
      const { clock, giveUpAt, request } = attempt
      for (let outcome = first; ; outcome = yield* look(backend, attempt)) {
        if (outcome._tag === "Granted") return outcome
        if (isClosed) return yield* failing(new Closed())
        if (outcome._tag === "Failed" && !outcome.error.isRetryable) return yield* outcome.error
        const left = giveUpAt - monotonicMillis(clock)
        if (left <= 0) {
          return yield* outcome._tag === "Busy" ? failing(new Timeout({ millis: request.waitMillis })) : outcome.error
        }
        const poll = pollMillis * (yield* Random.nextBetween(0.9, 1.1))
        const until =
          outcome._tag === "Busy" && outcome.isNext && outcome.leftMillis > 0
            ? Math.min(poll, outcome.leftMillis + 1)
            : poll
        yield* Effect.timeoutOption(latch.await, Math.min(until, left))
        if (isClosed) return yield* failing(new Closed())
        // Whoever wakes it from here on has it look once more.
        Latch.closeUnsafe(latch)
      }
    })

    const obtain = (attempt: Attempt): Effect.Effect<Outcome, LockError> =>
      Effect.flatMap(look(backend, attempt), (outcome): Effect.Effect<Outcome, LockError> => {
        const { latch } = attempt
        if (outcome._tag === "Granted") return Effect.succeed(outcome)
        if (latch !== undefined) return waitFor(attempt, latch, outcome)
        return outcome._tag === "Busy" ? Effect.succeed(outcome) : Effect.fail(outcome.error)
      })

    /** Gives up what the attempt may have got; waits for a moment until that is confirmed. */
    const abandon = ({ request }: Attempt): Effect.Effect<void> =>
      Effect.flatMap(cleanup(request), (fiber) => Effect.asVoid(Effect.timeoutOption(Fiber.await(fiber), confirmation)))

    /** The attempt has come to its end, and has left nothing behind. */
    const settled = (attempt: Attempt): void => {
      attempts.delete(attempt)
      if (attempts.size === 0) Latch.openUnsafe(idle)
    }

    const keeper: Keeper = { backend, renewals: new Renewals(scope), holdings, giveUp, cleanup }

    const hold = (request: Request, { answeredAt, fence, sentAt }: Granted, context: Context.Context<Scope.Scope>) => {
      const { key, token, ttlMillis } = request
      const holding = new Holding(keeper, { key, token, ttlMillis, fence, sentAt, answeredAt }, context)
      return keeper.renewals
        .add(holding)
        .pipe(
          Effect.andThen(Scope.addFinalizer(Context.get(context, Scope.Scope), holding.close())),
          Effect.as(holding.lease)
        )
    }

    const fresh = (request: Request, fiber: Fiber.Fiber<unknown, unknown>) =>
      Effect.uninterruptibleMask((restore): Effect.Effect<Lease, LockError, Scope.Scope> => {
        const clock = fiber.getRef(Clock.Clock)
        const { token, waitMillis } = request
        const latch = waitMillis > 0 ? wakes.add(token) : undefined
        const attempt = { request, clock, latch, giveUpAt: monotonicMillis(clock) + waitMillis }
        attempts.add(attempt)
        return Effect.matchCauseEffect(restore(obtain(attempt)), {
          onFailure: (cause) => {
            wakes.remove(token)
            return Effect.andThen(
              abandon(attempt),
              Effect.suspend(() => (settled(attempt), Effect.failCause(cause)))
            )
          },
          onSuccess: (outcome) => {
            if (latch !== undefined) wakes.remove(token)
            if (outcome._tag === "Granted" && isClosed) {
              return Effect.andThen(
                abandon(attempt),
                Effect.suspend(() => (settled(attempt), failing(new Closed())))
              )
            }
            settled(attempt)
            if (outcome._tag === "Granted") return hold(request, outcome, fiber.context as Context.Context<Scope.Scope>)
            return failing(new Held())
          }
        })
      })

    const acquire = (key: Key.Any, asked?: AcquireOptions): Effect.Effect<Lease, LockError, Scope.Scope> =>
      Effect.withFiber((fiber) => {
        const ttlMillis = wholeMillis(asked?.ttl ?? options.ttl)
        const waitMillis = wholeMillis(asked?.wait ?? options.wait)
        const problem = problemOf(key, ttlMillis, waitMillis)
        if (problem !== undefined) return failing(new InvalidInput({ problem }))
        if (isClosed) return failing(new Closed())
        const around = fiber.getRef(Lineage).findLast((holding) => holding.admits(backend, key))
        return around === undefined
          ? fresh({ key, token: newToken(), ttlMillis, waitMillis }, fiber)
          : Effect.acquireRelease(
              Effect.sync(() => around.enter()),
              () => around.exit()
            )
      })

    /** Whoever waits is refused, and each lease is lost; the background work ends when nobody needs it any more. */
    const close = Effect.suspend(() => {
      isClosed = true
      wakes.wakeAll()
      const gone = attempts.size === 0 ? Effect.void : Effect.timeoutOption(idle.await, graceMillis)
      const released = Effect.forEach(
        [...holdings],
        (holding) => Effect.timeoutOption(holding.shut(graceMillis), 2 * graceMillis),
        { concurrency: "unbounded", discard: true }
      )
      return Effect.all([gone, released], { concurrency: "unbounded", discard: true })
    })
    const outer = yield* Scope.Scope
    yield* Scope.addFinalizer(outer, Effect.andThen(close, Scope.close(scope, Exit.void)))
    return { acquire }
  })
