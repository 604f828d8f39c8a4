import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type Holding, monotonicMillis } from "./Holding.ts"

/**
 * Sees to it that locks are renewed. Most are released before the first renewal is due: until then those of one ttl share
 * one fiber, and one of them costs an entry in a list. One that lives longer has a fiber of its own from then on.
 */
export class Renewals {
  private readonly scope: Scope.Scope
  /** By ttl, those that have not been renewed yet, the one that is due first at the head. */
  private readonly young = new Map<number, Set<Holding>>()

  /** The fibers belong to the scope. */
  constructor(scope: Scope.Scope) {
    this.scope = scope
  }

  /** A lock has been granted. */
  add(holding: Holding): Effect.Effect<void> {
    // Its answer was slow to come: it would be due too late, and before those that were granted earlier.
    if (holding.renewAt >= holding.deadline) return this.watch(holding)
    const { ttlMillis } = holding.grant
    const others = this.young.get(ttlMillis)
    if (others !== undefined) {
      others.add(holding)
      return Effect.void
    }
    const all = new Set([holding])
    this.young.set(ttlMillis, all)
    return this.fork(this.growing(ttlMillis, all))
  }

  /** A lock is released. */
  remove(holding: Holding): void {
    this.young.get(holding.grant.ttlMillis)?.delete(holding)
  }

  private fork(effect: Effect.Effect<void>): Effect.Effect<void> {
    return Effect.asVoid(Effect.forkIn(effect, this.scope, { startImmediately: true, uninterruptible: false }))
  }

  private watch(holding: Holding): Effect.Effect<void> {
    return this.fork(Effect.updateContext(holding.watch(), (): Context.Context<never> => holding.context))
  }

  /** Waits for each to be due. */
  private readonly growing = Effect.fnUntraced({ self: this }, function* (ttlMillis: number, all: Set<Holding>) {
    const clock = yield* Clock.Clock
    while (all.size > 0) {
      const [first] = all
      yield* Effect.sleep(Math.max(0, first!.renewAt - monotonicMillis(clock)))
      // A timer may be early by a part of a millisecond.
      const now = Math.max(first!.renewAt, monotonicMillis(clock))
      for (const holding of all) {
        if (holding.renewAt > now) break
        all.delete(holding)
        yield* this.watch(holding)
      }
    }
    this.young.delete(ttlMillis)
  })
}
