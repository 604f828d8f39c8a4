import type * as Effect from "effect/Effect"
import type * as Key from "../../redis/Key.ts"
import type { LockError } from "../LockError.ts"

/** One look at a lock, by someone who takes it when it is free. */
export interface Claim {
  readonly key: Key.Any
  /** Names the claimant, as a holder and in the queue. 32 hex digits, as a holder of the plan has. */
  readonly token: string
  readonly ttlMillis: number
  /** Whether it takes, or keeps, a place in the queue when it does not get the lock. */
  readonly waits: boolean
  /** How much longer the claimant waits; Infinity for ever. What takes longer than that, and some, is in vain. */
  readonly leftMillis: number
}

/**
 * What a claim finds.
 *
 * - `Granted`: it holds the lock, from now on or already
 * - `Busy`: it does not. `isNext`: whether it is at the head of the queue; `leftMillis`: until the lock ends unless it is
 *   renewed, less than 1 when that is not known
 */
export type Answer =
  | { readonly _tag: "Granted"; readonly fence: bigint }
  | { readonly _tag: "Busy"; readonly isNext: boolean; readonly leftMillis: number }

/** Where locks are kept. Everything that it does may be done twice. */
export interface Backend {
  /** The name of a key as it is there. */
  readonly nameOf: (key: Key.Any) => string
  readonly claim: (claim: Claim) => Effect.Effect<Answer, LockError>
  /** Lets the lock live so long from now; gives whether the token still holds it. */
  readonly extend: (key: Key.Any, token: string, ttlMillis: number) => Effect.Effect<boolean, LockError>
  /** Gives up the lock, the place in the queue, or whichever the token has, and wakes the next one. */
  readonly leave: (key: Key.Any, token: string) => Effect.Effect<unknown, LockError>
}
