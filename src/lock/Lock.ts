import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Config from "../config/Config.ts"
import type * as Key from "../redis/Key.ts"
import { wholeMillis } from "./internal/millis.ts"
import type { LockError } from "./LockError.ts"

/** The shortest and the longest `ttl`, in milliseconds. */
export const ttlRange = { minimum: 100, maximum: 86_400_000 } as const

const isTtl = (ttl: Duration.Duration): boolean => {
  const millis = wholeMillis(ttl)
  return millis >= ttlRange.minimum && millis <= ttlRange.maximum
}

/** Section `lock`. */
export const LockConfig = Config.section(
  "lock",
  {
    ttl: Config.Seconds.pipe(
      Config.withDefault(10),
      Schema.annotateKey({ description: "How long a lock outlives a holder that died, in seconds, 0.1 to 86400" })
    ),
    wait: Config.Seconds.pipe(
      Config.withDefault(5),
      Schema.annotateKey({ description: "How long to wait for a lock, in seconds; 0 tries once" })
    ),
    pollInterval: Config.Seconds.pipe(
      Config.withDefault(0.5),
      Schema.annotateKey({ description: "How often one who waits looks by itself, in seconds, 0.05 to 60" })
    )
  },
  ({ pollInterval, ttl }) => [
    ...(isTtl(ttl) ? [] : [{ field: "ttl" as const, expected: "0.1 to 86400 seconds" }]),
    ...(wholeMillis(pollInterval) >= 50 && wholeMillis(pollInterval) <= 60_000
      ? []
      : [{ field: "pollInterval" as const, expected: "0.05 to 60 seconds" }])
  ]
)

/** The values of {@link LockConfig}. */
export type LockOptions = typeof LockConfig.schema.Type

/** How a lock is asked for; what is not given comes from section `lock`. */
export interface AcquireOptions {
  /**
   * How long the lock outlives a holder that died: 100 ms to a day, rounded up to whole milliseconds. While its holder lives it is renewed, so this is no
   * limit for the work. A shorter one frees sooner, and is lost sooner when the server does not answer.
   */
  readonly ttl?: Duration.Input
  /** How long to wait: 0 tries once, `Duration.infinity` waits for ever. */
  readonly wait?: Duration.Input
}

/** A lock that is held. It ends with the scope that it was acquired in. */
export interface Lease {
  /** What is locked. */
  readonly key: Key.Any
  /** The name of the key as it is on the server, with the prefix of its client: what is locked, for another system. */
  readonly name: string
  /**
   * The fencing token: higher than that of every earlier holder of this key, for ever. Send it along with what must not
   * be done by a holder that is no more, see Fence.
   */
  readonly fence: bigint
  /**
   * Runs an effect for as long as the lease lasts. When the lease is lost the effect is interrupted, its finalizers are
   * awaited, and the whole fails with `Lost`: also when it succeeds after the lease had ended, or when it has ended before.
   * What runs inside, in
   * forked fibers too, has this lease as its {@link CurrentLease} and gets the same lock again without waiting.
   */
  readonly whileHeld: <A, E, R>(
    effect: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | LockError, Exclude<R, CurrentLease>>
}

/** The lease that protects what runs. Given by `withLock` and `whileHeld`, so that a guarded write needs no argument. */
export class CurrentLease extends Context.Service<CurrentLease, Lease>()("xdooria/lock/CurrentLease") {}

/** Locks that services share: one holder of a key at a time, wherever it runs. */
export class Lock extends Context.Service<
  Lock,
  {
    /**
     * Acquires the lock at a key, in the order of asking, and releases it with the scope. It is renewed until then.
     *
     * - `key`: any key that is not beside another. The lock is a text at this very key
     *
     * What runs inside of `whileHeld` of a lease of the same key gets it again at once, and `options` do not count. The
     * lock is released when the last of these scopes has ended.
     *
     * Fails with `Held` when it is not free and `wait` is 0, with `Timeout` after `wait`, with `Unavailable` when the
     * server did not answer, with `InvalidInput`, with `Refused`, or with `Closed` when the scope of the service ends. None of them leaves a lock or a place in the queue;
     * nor does interruption.
     */
    readonly acquire: (key: Key.Any, options?: AcquireOptions) => Effect.Effect<Lease, LockError, Scope.Scope>
  }
>()("xdooria/lock/Lock") {
  /** As the method of the service. The work belongs into the lease's `whileHeld`. */
  static readonly acquire = (
    key: Key.Any,
    options?: AcquireOptions
  ): Effect.Effect<Lease, LockError, Lock | Scope.Scope> => Effect.flatMap(Lock, (lock) => lock.acquire(key, options))

  /**
   * Runs an effect while holding the lock at a key; see {@link Lease.whileHeld}.
   *
   * Fails as `acquire`, and with `Lost` when the lease ended before the effect did.
   */
  static readonly withLock =
    (key: Key.Any, options?: AcquireOptions) =>
    <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | LockError, Lock | Exclude<R, CurrentLease>> =>
      Effect.flatMap(Lock, (lock) =>
        // The scope is the lease's alone: one that the effect asks for is its caller's.
        Effect.scopedWith((scope) =>
          Effect.flatMap(Effect.provideService(lock.acquire(key, options), Scope.Scope, scope), (lease) =>
            lease.whileHeld(effect)
          )
        )
      )
}
