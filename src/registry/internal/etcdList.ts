// The list of etcd: in pages of one revision, so that no number of entries, and no size of one, is too much for a message.
import * as Effect from "effect/Effect"
import { entryOf, type Failure, type Range, type Ranged, rangeOf } from "./etcdConnection.ts"
import type { Entry, Snapshot } from "./store.ts"

/** How many entries are asked for at once. */
const pageSize = 1_000

/** The first key behind another. */
const after = (key: Buffer): Buffer => Buffer.concat([key, Buffer.of(0)])

/**
 * Reads all keys with a prefix as they were at the revision of the first page. A page that is too large is asked for
 * again with half as many entries; of an entry that is too large by itself the value is left out.
 */
export const listed = (
  ask: (range: Range) => Effect.Effect<Ranged, Failure>,
  prefix: string
): Effect.Effect<Snapshot, Failure> =>
  Effect.gen(function* () {
    const all = rangeOf(prefix)
    const entries: Array<Entry> = []
    let { key } = all
    let revision: bigint | undefined
    for (let limit = pageSize; ; limit = Math.min(pageSize, limit * 2)) {
      const page = (size: number): Effect.Effect<Ranged, Failure> => {
        limit = size
        const range = { ...all, key, limit: size, revision: String(revision ?? 0n) }
        return Effect.catchIf(
          ask(range),
          ({ _tag }) => _tag === "TooLarge",
          () => (size === 1 ? ask({ ...range, keys_only: true }) : page(size >> 1))
        )
      }
      const { header, kvs, more } = yield* page(limit)
      // The header of a later page has the revision of that time.
      revision ??= BigInt(header.revision)
      for (const one of kvs) entries.push(entryOf(one))
      const last = kvs.at(-1)
      if (!more || last === undefined) return { revision, entries }
      key = after(last.key)
    }
  })
