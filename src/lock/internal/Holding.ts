import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Key from "../../redis/Key.ts"
import { CurrentLease, type Lease } from "../Lock.ts"
import { LockError, Lost } from "../LockError.ts"
import type { Backend } from "./backend.ts"
import type { Renewals } from "./Renewals.ts"

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

/** A lock that was granted. */
export interface Grant {
  readonly key: Key.Any
  readonly token: string
  readonly ttlMillis: number
  readonly fence: bigint
  /** When the request was sent; the lock may live no longer than a ttl from then. */
  readonly sentAt: number
  readonly answeredAt: number
}

/** What all holdings of a service share. */
export interface Keeper {
  readonly backend: Backend
  readonly renewals: Renewals
  /** All that are held. */
  readonly holdings: Set<Holding>
  /** Gives up a lock, again and again until it is done or has ended by itself. */
  readonly giveUp: (grant: Grant) => Effect.Effect<unknown>
  /** The same in the background, for when that fails in the foreground. */
  readonly cleanup: (grant: Grant) => Effect.Effect<unknown>
}

/** A lock that this process holds, in as many scopes as got it by lineage. */
export class Holding {
  /** What the holder has in its hands. */
  readonly lease: Lease
  /** Names the lock as it was granted. */
  readonly grant: Grant
  /** Of the fiber that acquired it: what is told of the lease is told there. */
  readonly context: Context.Context<never>
  private readonly keeper: Keeper
  /** Until when it can be relied on. */
  deadline: number
  private lost: Lost["how"] | undefined
  /** How many scopes hold it. */
  private count = 1
  /** Whether the scope that acquired it still is: afterwards nobody gets in by lineage, so that others have their turn. */
  private isOpen = true
  private watching: Fiber.Fiber<unknown, unknown> | undefined
  /** What runs inside. */
  private inside: Set<Fiber.Fiber<unknown, unknown>> | undefined

  constructor(keeper: Keeper, grant: Grant, context: Context.Context<never>) {
    this.keeper = keeper
    this.grant = grant
    this.context = context
    this.deadline = Holding.deadlineOf(grant.sentAt, grant.ttlMillis)
    this.lease = {
      key: grant.key,
      name: keeper.backend.nameOf(grant.key),
      fence: grant.fence,
      whileHeld: (effect) => this.whileHeld(effect)
    }
    keeper.holdings.add(this)
  }

  /** When the first renewal is due. */
  get renewAt(): number {
    return this.grant.answeredAt + this.grant.ttlMillis / 3
  }

  /** Until when a lock that was asked for at a time can be relied on. */
  static deadlineOf(sentAt: number, ttlMillis: number): number {
    return sentAt + ttlMillis * usable
  }

  /** Whether what runs under it may have this lock again without waiting. */
  admits(backend: Backend, key: Key.Any): boolean {
    return this.keeper.backend === backend && this.grant.key.name === key.name && this.isOpen && this.lost === undefined
  }

  /** One more scope holds it. */
  enter(): Lease {
    this.count++
    return this.lease
  }

  /** A scope has ended; the last one releases the lock. */
  exit(): Effect.Effect<unknown> {
    return Effect.suspend(() => {
      // Who closes the service releases what is held.
      if (--this.count > 0 || this.lost === "closed") return Effect.void
      const { backend, cleanup, holdings, renewals } = this.keeper
      renewals.remove(this)
      const { key, token } = this.grant
      const leave = Effect.andThen(
        Effect.catch(backend.leave(key, token), () => cleanup(this.grant)),
        Effect.sync(() => holdings.delete(this))
      )
      return this.watching === undefined ? leave : Effect.andThen(Fiber.interrupt(this.watching), leave)
    })
  }

  /**
   * The service is closed: the lease is lost, and released when its work has ended. When that takes longer than
   * `graceMillis`, the lock ends by itself, a ttl after its last renewal.
   */
  shut(graceMillis: number): Effect.Effect<unknown> {
    return Effect.suspend(() => {
      // Who has begun to release it may not come to the end of that: it is done again.
      const losing = this.count === 0 || this.lost !== undefined ? Effect.void : this.lose("closed")
      const ended = Effect.timeoutOption(Fiber.awaitAll([...(this.inside ?? [])]), graceMillis)
      return Effect.flatMap(
        Effect.andThen(losing, ended),
        Option.match({ onNone: () => Effect.void, onSome: () => this.keeper.giveUp(this.grant) })
      )
    })
  }

  /** The scope that acquired it has ended. */
  close(): Effect.Effect<unknown> {
    return Effect.suspend(() => {
      this.isOpen = false
      return this.exit()
    })
  }

  /** What runs inside is interrupted, wherever it is; it fails with Lost once its finalizers have run. */
  private lose(how: Lost["how"]): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.lost = how
      for (const fiber of this.inside ?? []) fiber.interruptUnsafe()
      return Effect.logWarning(`lock: a lease was lost (${how}), its work is interrupted`)
    })
  }

  /** Why the lease can no longer be relied on, whether its watch has noticed it or not. */
  private endedBy(clock: Clock.Clock): Lost["how"] | undefined {
    if (this.count === 0) return "released"
    return this.lost ?? (monotonicMillis(clock) < this.deadline ? undefined : "expired")
  }

  private whileHeld<A, E, R>(
    effect: Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | LockError, Exclude<R, CurrentLease>> {
    return Effect.withFiber((parent) => {
      const clock = parent.getRef(Clock.Clock)
      const before = this.endedBy(clock)
      if (before !== undefined) return Effect.fail(lostBy(before))
      const context = parent.context.pipe(
        Context.add(CurrentLease, this.lease),
        Context.add(Lineage, [...parent.getRef(Lineage), this])
      ) as Context.Context<R>
      const settle = (exit: Exit.Exit<A, E>): Exit.Exit<A, E | LockError> => {
        const how = Exit.isSuccess(exit) ? this.endedBy(clock) : this.lost
        return how === undefined ? exit : Exit.fail(lostBy(how))
      }
      // A fiber of its own, since the interruption of one is for good.
      return Effect.callback<A, E | LockError>((resume) => {
        const fiber = Effect.runForkWith(context)(effect)
        const exit = fiber.pollUnsafe()
        if (exit !== undefined) return resume(settle(exit))
        const inside = (this.inside ??= new Set())
        inside.add(fiber)
        fiber.addObserver((ended) => {
          inside.delete(fiber)
          resume(settle(ended))
        })
        return Fiber.interrupt(fiber)
      })
    })
  }

  /**
   * Renews the lock now and every third of its ttl, until the last scope has ended. A renewal that fails is tried again until the
   * deadline, which counts from when the last one that succeeded was sent.
   */
  watch(): Effect.Effect<void> {
    return Effect.withFiber((fiber) => {
      // It has ended between the decision to watch it and now.
      if (this.count === 0) return Effect.void
      this.watching = fiber
      return this.renewing(fiber.getRef(Clock.Clock))
    })
  }

  private renewing(clock: Clock.Clock): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      const { key, token, ttlMillis } = this.grant
      for (;;) {
        const sentAt = monotonicMillis(clock)
        if (sentAt >= this.deadline) return yield* this.lose("expired")
        const answer = yield* this.keeper.backend
          .extend(key, token, ttlMillis)
          .pipe(Effect.result, Effect.timeoutOption(this.deadline - sentAt))
        let next = monotonicMillis(clock) + ttlMillis / 20
        if (Option.isSome(answer) && Result.isSuccess(answer.value)) {
          if (!answer.value.success) return yield* this.lose("taken")
          this.deadline = Holding.deadlineOf(sentAt, ttlMillis)
          next = sentAt + ttlMillis / 3
        }
        yield* Effect.sleep(Math.max(0, Math.min(next, this.deadline) - monotonicMillis(clock)))
      }
    })
  }
}
