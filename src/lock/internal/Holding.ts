import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type * as Key from "../../redis/Key.ts"
import { CurrentLease, type Lease } from "../Lock.ts"
import { LockError, Lost } from "../LockError.ts"
import type { Backend } from "./backend.ts"

/** The time for measuring, in milliseconds: no change of the system's time moves it. */
export const monotonicMillis = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6

/**
 * How much of its ttl a holder makes use of. The rest is for clocks that do not run alike, and for the work to end after
 * its interruption.
 */
const usable = 0.9

const lostBy = (how: Lost["how"]): LockError => new LockError({ reason: new Lost({ how }) })

/** What runs under a lock, and so gets it again: the holdings around it, outermost first. Forked fibers inherit it. */
export const Lineage = Context.Reference<ReadonlyArray<Holding>>("xdooria/lock/Lineage", { defaultValue: () => [] })

/** What a lock was granted for. `sentAt`: when the request was sent; the lock may live no longer than a ttl from then. */
export interface Grant {
  readonly key: Key.Any
  readonly token: string
  readonly ttlMillis: number
  readonly fence: bigint
  readonly sentAt: number
}

/** A lock that this process holds, in as many scopes as got it by lineage. */
export class Holding {
  /** What the holder has in its hands. */
  readonly lease: Lease
  private readonly backend: Backend
  private readonly grant: Grant
  private readonly cleanup: Effect.Effect<unknown>
  private readonly lost = Deferred.makeUnsafe<never, LockError>()
  private deadline: number
  /** How many scopes hold it. */
  private count = 1
  /** Whether the scope that acquired it still is: afterwards nobody gets in by lineage, so that others have their turn. */
  private isOpen = true
  private watching: Fiber.Fiber<void> | undefined

  /** `cleanup`: gives up the lock in the background, for when that fails in the foreground. */
  constructor(backend: Backend, grant: Grant, cleanup: Effect.Effect<unknown>) {
    this.backend = backend
    this.grant = grant
    this.cleanup = cleanup
    this.deadline = Holding.deadlineOf(grant.sentAt, grant.ttlMillis)
    this.lease = { key: grant.key, fence: grant.fence, whileHeld: (effect) => this.whileHeld(effect) }
  }

  /** Until when a lock that was asked for at a time can be relied on. */
  static deadlineOf(sentAt: number, ttlMillis: number): number {
    return sentAt + ttlMillis * usable
  }

  /** Whether what runs under it may have this lock again without waiting. */
  admits(backend: Backend, key: Key.Any): boolean {
    return this.backend === backend && this.grant.key.name === key.name && this.isOpen && !this.isLost()
  }

  /** One more scope holds it. */
  enter(): Lease {
    this.count++
    return this.lease
  }

  /** A scope has ended; the last one releases the lock. */
  readonly exit: Effect.Effect<void> = Effect.suspend(() => {
    if (--this.count > 0) return Effect.void
    const { key, token } = this.grant
    const leave = Effect.catch(this.backend.leave(key, token), () => this.cleanup)
    return Effect.asVoid(this.watching === undefined ? leave : Effect.andThen(Fiber.interrupt(this.watching), leave))
  })

  /** The scope that acquired it has ended. */
  readonly close: Effect.Effect<void> = Effect.suspend(() => {
    this.isOpen = false
    return this.exit
  })

  /** Renews the lock until the last scope has ended; the work belongs to a scope that outlives them. */
  start(scope: Scope.Scope): Effect.Effect<void> {
    return Effect.map(Effect.forkIn(this.watch, scope, { uninterruptible: false }), (fiber) => {
      this.watching = fiber
    })
  }

  private isLost(): boolean {
    return Deferred.isDoneUnsafe(this.lost)
  }

  private lose(how: Lost["how"]): Effect.Effect<void> {
    return Effect.andThen(
      Deferred.fail(this.lost, lostBy(how)),
      Effect.logWarning(`lock: a lease was lost (${how}), its work is interrupted`)
    )
  }

  /** Fails when the lease can no longer be relied on, whether its watch has noticed it or not. */
  private readonly check: Effect.Effect<void, LockError> = Effect.suspend(() => {
    if (this.count === 0) return Effect.fail(lostBy("released"))
    return this.isLost() ? Deferred.await(this.lost) : Effect.clockWith((clock) => this.checkAt(monotonicMillis(clock)))
  })

  private checkAt(now: number): Effect.Effect<void, LockError> {
    return now < this.deadline ? Effect.void : Effect.fail(lostBy("expired"))
  }

  private whileHeld<A, E, R>(
    effect: Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | LockError, Exclude<R, CurrentLease>> {
    const inside = effect.pipe(
      Effect.provideService(CurrentLease, this.lease),
      Effect.updateService(Lineage, (around) => [...around, this])
    )
    // The one that ends first interrupts the other and waits for its finalizers.
    return this.check.pipe(Effect.andThen(Effect.raceFirst(inside, Deferred.await(this.lost))), Effect.tap(this.check))
  }

  /**
   * Renews the lock every third of its ttl, for as long as it runs. A renewal that fails is tried again until the
   * deadline, which counts from when the last one that succeeded was sent.
   */
  private readonly watch: Effect.Effect<void> = Effect.clockWith((clock) =>
    Effect.gen({ self: this }, function* () {
      const { key, token, ttlMillis } = this.grant
      let next = monotonicMillis(clock) + ttlMillis / 3
      for (;;) {
        yield* Effect.sleep(Math.max(0, Math.min(next, this.deadline) - monotonicMillis(clock)))
        const sentAt = monotonicMillis(clock)
        if (sentAt >= this.deadline) return yield* this.lose("expired")
        const answer = yield* this.backend
          .extend(key, token, ttlMillis)
          .pipe(Effect.result, Effect.timeoutOption(this.deadline - sentAt))
        if (Option.isNone(answer) || Result.isFailure(answer.value)) {
          next = monotonicMillis(clock) + ttlMillis / 20
        } else {
          if (!answer.value.success) return yield* this.lose("taken")
          this.deadline = Holding.deadlineOf(sentAt, ttlMillis)
          next = sentAt + ttlMillis / 3
        }
      }
    })
  )
}
