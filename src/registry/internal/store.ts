// The seam of the room: what it needs of a store with leases. etcd is one (etcd.ts), the memory of this process another
// (memory.ts); what is built on it (registrations, views, elections) is the same for both.
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { Refused, Unavailable } from "../RegistryError.ts"

/** How large a value may be that is read, in bytes of UTF-8. */
export const mostValueBytes = 64 * 1024

/** A key with its value. */
export interface Entry {
  readonly key: string
  /** May be left out, as "", when it is larger than {@link mostValueBytes}. */
  readonly value: string
  /** The revision that the key came into being with. */
  readonly createRevision: bigint
  /** The revision of its last change. */
  readonly modRevision: bigint
  /** The lease that it ends with; "0" for none. */
  readonly lease: string
}

/** All keys with a prefix, at a revision of the store. */
export interface Snapshot {
  readonly revision: bigint
  /** Sorted by key. */
  readonly entries: ReadonlyArray<Entry>
}

/** One change. */
export type Change =
  | { readonly _tag: "Put"; readonly entry: Entry }
  | { readonly _tag: "Delete"; readonly key: string; readonly modRevision: bigint }

/**
 * What a watch tells.
 *
 * - `Changes`: in the order of their revisions; all changes of one revision are in one of them
 * - `Progress`: nothing was missed up to `revision`; also once at the start of a watch, with the revision before the
 *   first that it can tell
 * - `Compacted`: the start is no longer known: list again. The watch ends with it
 */
export type Watched =
  | { readonly _tag: "Changes"; readonly changes: ReadonlyArray<Change> }
  | { readonly _tag: "Progress"; readonly revision: bigint }
  | { readonly _tag: "Compacted" }

/** Whether a key is as expected: its create revision, 0n when it must not be there. */
export interface Condition {
  readonly key: string
  readonly createRevision: bigint
}

/**
 * A store. Every call has a deadline of its own, and repeats nothing that is not safe: a put, a grant or a delete whose
 * reply was lost fails with Unavailable, and whoever asked reads again before it believes anything.
 */
export interface Store {
  /** Gives a lease; `ttlMillis` is what the store made of it. */
  readonly grant: (
    ttlMillis: number
  ) => Effect.Effect<{ readonly lease: string; readonly ttlMillis: number }, Unavailable | Refused>
  /** Renews a lease; gives the time it has from now, 0 when it is no more. */
  readonly keepAlive: (lease: string) => Effect.Effect<number, Unavailable | Refused>
  /** Ends a lease, and every key on it. Without effect when it is no more. */
  readonly revoke: (lease: string) => Effect.Effect<void, Unavailable | Refused>
  /** Puts a key on a lease when the condition holds (always, without one); gives the revision, or what is there. */
  readonly put: (put: {
    readonly key: string
    readonly value: string
    readonly lease: string
    readonly condition?: Condition
  }) => Effect.Effect<
    | { readonly _tag: "Done"; readonly revision: bigint }
    | { readonly _tag: "Conflict"; readonly entry: Entry | undefined },
    Unavailable | Refused
  >
  /** Deletes a key if it is still the one of that create revision. */
  readonly remove: (condition: Condition) => Effect.Effect<void, Unavailable | Refused>
  /** Reads all keys with a prefix, linearizable. */
  readonly list: (prefix: string) => Effect.Effect<Snapshot, Unavailable | Refused>
  /**
   * Tells every change of the keys with a prefix from a revision on, that one included. Fails when the connection is lost
   * or silent for longer than a member that lives is.
   */
  readonly watch: (prefix: string, from: bigint) => Stream.Stream<Watched, Unavailable | Refused>
}

/** Makes a store that ends with the scope. */
export type MakeStore<E, R> = Effect.Effect<Store, E, R | Scope.Scope>
