import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Refused, Unavailable } from "../RegistryError.ts"
import { backoff } from "./lease.ts"
import type { Change, Snapshot, Store } from "./store.ts"

/**
 * What is told of the keys with a prefix.
 *
 * - `Listed`: all of them; at the start, and whenever what is known may have holes
 * - `Changed`: what has happened since, in order and complete
 * - `Confirmed`: nothing has happened up to now
 * - `Away`: the store does not answer; what was told last may no longer be so
 */
export type Followed =
  | { readonly _tag: "Listed"; readonly snapshot: Snapshot }
  | { readonly _tag: "Changed"; readonly changes: ReadonlyArray<Change>; readonly revision: bigint }
  | { readonly _tag: "Confirmed"; readonly revision: bigint }
  | { readonly _tag: "Away"; readonly error: Unavailable | Refused }

const revisionOf = (change: Change): bigint => (change._tag === "Put" ? change.entry.modRevision : change.modRevision)

/**
 * Follows the keys with a prefix for ever: lists them at a revision, hears all that happens from the next one on, and
 * lists again after whatever might have left a hole: a connection that was lost, a compaction, and once in `resyncMillis`
 * for what a server forgot to tell. What `tell` does with one is done before the next one is told.
 */
export const follow = (
  store: Store,
  prefix: string,
  resyncMillis: number,
  tell: (followed: Followed) => Effect.Effect<void>
): Effect.Effect<never> =>
  Effect.suspend(() => {
    let failures = 0
    const hear = (from: bigint) =>
      Stream.runForEach(store.watch(prefix, from), (watched) => {
        failures = 0
        if (watched._tag === "Changes") {
          const { changes } = watched
          return tell({ _tag: "Changed", changes, revision: revisionOf(changes.at(-1)!) })
        }
        return watched._tag === "Progress" ? tell({ _tag: "Confirmed", revision: watched.revision }) : Effect.void
      })
    const round = Effect.flatMap(
      Effect.tapError(store.list(prefix), (error) => tell({ _tag: "Away", error })),
      (snapshot) =>
        Effect.andThen(
          tell({ _tag: "Listed", snapshot }),
          Effect.timeoutOption(hear(snapshot.revision + 1n), resyncMillis)
        )
    )
    return Effect.forever(Effect.catch(round, () => Effect.suspend(() => backoff(failures++))))
  })
