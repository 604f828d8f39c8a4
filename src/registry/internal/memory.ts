// A store with leases in the memory of this process: what etcd promises of revisions, leases and watches, kept without a
// server.
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Refused } from "../RegistryError.ts"
import { monotonicMillis } from "./lease.ts"
import type { Change, Condition, Entry, Snapshot, Store, Watched } from "./store.ts"

/** How many revisions can be told again. A watch that is further behind is compacted away. */
const keptRevisions = 1_024

interface Lease {
  readonly ttlMillis: number
  readonly keys: Set<string>
  until: number
  /** What ends it when its time is over. */
  ending: Fiber.Fiber<void> | undefined
}

interface Revision {
  readonly revision: bigint
  readonly changes: ReadonlyArray<Change>
}

const keyOf = (change: Change): string => (change._tag === "Put" ? change.entry.key : change.key)

/** The keys, their history and the leases. Leases end in the scope, by its clock. */
export class Memory implements Store {
  private readonly clock: Clock.Clock
  private readonly scope: Scope.Scope
  private readonly entries = new Map<string, Entry>()
  private readonly leases = new Map<string, Lease>()
  private readonly history: Array<Revision> = []
  private compacted = 0n
  private revision = 1n
  private lastLease = 0
  /** Done at the next change. */
  private changed = Deferred.makeUnsafe<void>()

  constructor(clock: Clock.Clock, scope: Scope.Scope) {
    this.clock = clock
    this.scope = scope
  }

  /** One revision, with all that happened in it. */
  private commit(changesAt: (revision: bigint) => ReadonlyArray<Change>): bigint {
    const revision = ++this.revision
    this.history.push({ revision, changes: changesAt(revision) })
    while (this.history.length > keptRevisions) this.compacted = this.history.shift()!.revision
    Deferred.doneUnsafe(this.changed, Effect.void)
    this.changed = Deferred.makeUnsafe()
    return revision
  }

  private drop(keys: ReadonlyArray<string>): void {
    if (keys.length === 0) return
    for (const key of keys) {
      this.leases.get(this.entries.get(key)!.lease)?.keys.delete(key)
      this.entries.delete(key)
    }
    this.commit((modRevision) => keys.map((key) => ({ _tag: "Delete", key, modRevision })))
  }

  private end(id: string): void {
    const keys = [...(this.leases.get(id)?.keys ?? [])]
    this.leases.delete(id)
    this.drop(keys)
  }

  /** A lease whose time is not over, also where what ends it has not run yet: this process was stopped. */
  private living(id: string): Lease | undefined {
    const lease = this.leases.get(id)
    if (lease === undefined || lease.until > monotonicMillis(this.clock)) return lease
    this.end(id)
    return undefined
  }

  private endInTime(id: string, lease: Lease): Effect.Effect<void> {
    return Effect.suspend(() => {
      const left = Math.ceil(lease.until - monotonicMillis(this.clock))
      if (left > 0) return Effect.andThen(Effect.sleep(left), this.endInTime(id, lease))
      return Effect.sync(() => this.end(id))
    })
  }

  readonly grant: Store["grant"] = (ttlMillis) =>
    Effect.suspend(() => {
      const id = String(++this.lastLease)
      const until = monotonicMillis(this.clock) + ttlMillis
      const lease: Lease = { ttlMillis, keys: new Set(), until, ending: undefined }
      this.leases.set(id, lease)
      return Effect.map(Effect.forkIn(this.endInTime(id, lease), this.scope), (fiber) => {
        lease.ending = fiber
        return { lease: id, ttlMillis }
      })
    })

  readonly keepAlive: Store["keepAlive"] = (id) =>
    Effect.sync(() => {
      const lease = this.living(id)
      if (lease === undefined) return 0
      lease.until = monotonicMillis(this.clock) + lease.ttlMillis
      return lease.ttlMillis
    })

  readonly revoke: Store["revoke"] = (id) =>
    Effect.suspend(() => {
      const ending = this.leases.get(id)?.ending
      this.end(id)
      return ending === undefined ? Effect.void : Fiber.interrupt(ending)
    })

  readonly put: Store["put"] = ({ condition, key, lease, value }) =>
    Effect.suspend((): ReturnType<Store["put"]> => {
      const before = this.entries.get(key)
      if (condition !== undefined && (before?.createRevision ?? 0n) !== condition.createRevision) {
        return Effect.succeed({ _tag: "Conflict", entry: before })
      }
      const holder = this.living(lease)
      if (holder === undefined && lease !== "0") return Effect.fail(new Refused({ detail: "the lease is no more" }))
      if (before !== undefined) this.leases.get(before.lease)?.keys.delete(key)
      holder?.keys.add(key)
      const revision = this.commit((modRevision) => {
        const entry = { key, value, createRevision: before?.createRevision ?? modRevision, modRevision, lease }
        this.entries.set(key, entry)
        return [{ _tag: "Put", entry }]
      })
      return Effect.succeed({ _tag: "Done", revision })
    })

  readonly remove: Store["remove"] = ({ createRevision, key }: Condition) =>
    Effect.sync(() => {
      if (this.entries.get(key)?.createRevision === createRevision) this.drop([key])
    })

  readonly list: Store["list"] = (prefix) =>
    Effect.sync((): Snapshot => {
      const entries = [...this.entries.values()].filter(({ key }) => key.startsWith(prefix))
      return { revision: this.revision, entries: entries.toSorted((a, b) => (a.key < b.key ? -1 : 1)) }
    })

  readonly watch: Store["watch"] = (prefix, from) => {
    /** All that is known from a revision on, as soon as there is some. */
    const told = (next: bigint): Effect.Effect<readonly [ReadonlyArray<Watched>, Option.Option<bigint>]> =>
      Effect.suspend(() => {
        if (next <= this.compacted) return Effect.succeed([[{ _tag: "Compacted" }], Option.none()] as const)
        const first = this.history.findIndex(({ revision }) => revision >= next)
        const fresh = (first < 0 ? [] : this.history.slice(first)).flatMap(({ changes }): ReadonlyArray<Watched> => {
          const ours = changes.filter((change) => keyOf(change).startsWith(prefix))
          return ours.length === 0 ? [] : [{ _tag: "Changes", changes: ours }]
        })
        const after = this.revision >= next ? this.revision + 1n : next
        if (fresh.length > 0) return Effect.succeed([fresh, Option.some(after)] as const)
        return Effect.andThen(Deferred.await(this.changed), told(after))
      })
    return Stream.suspend(() => {
      const all = Stream.paginate(from, told)
      return from <= this.compacted ? all : Stream.prepend(all, [{ _tag: "Progress", revision: from - 1n }])
    })
  }

  /** Forgets what happened up to a revision, as an operator of etcd does. */
  compact(revision: bigint): void {
    this.compacted = revision < this.revision ? revision : this.revision
    while (this.history.length > 0 && this.history[0]!.revision <= this.compacted) this.history.shift()
  }
}

/** A store that ends with the scope. */
export const make: Effect.Effect<Memory, never, Scope.Scope> = Effect.gen(function* () {
  return new Memory(yield* Clock.Clock, yield* Effect.scope)
})
