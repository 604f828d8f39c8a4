// What room registry asks of a store with leases, for a store that others may use at the same time.
import { assert, describe, it } from "@effect/vitest"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import { randomUUID } from "node:crypto"
import { Refused } from "../../src/registry/RegistryError.ts"
import type { Store, Watched } from "../../src/registry/internal/store.ts"

/** A store, and an operator who makes it forget what has been. */
export interface Subject {
  readonly store: Store
  readonly compact: Effect.Effect<void>
}

/** A prefix that no other test uses. */
export const newPrefix = Effect.sync(() => `/xdooria/meta/test-${randomUUID()}/`)

const idle = 60_000

/** Puts without a condition, and gives the revision. */
export const put = (store: Store, key: string, value: string, lease: string) =>
  Effect.map(store.put({ key, value, lease }), (answer) => {
    assert(answer._tag === "Done")
    return answer.revision
  })

/** A watch: what it tells, one by one, and why it fails. It ends with the scope. */
export const watching = (store: Store, prefix: string, from: bigint) =>
  Effect.gen(function* () {
    const queue = yield* Queue.unbounded<Watched>()
    const fiber = yield* Effect.forkScoped(
      Stream.runForEach(store.watch(prefix, from), (watched) => Queue.offer(queue, watched))
    )
    return { next: Queue.take(queue), failure: Effect.flip(Fiber.join(fiber)) }
  })

/** The next so many changes that a watch tells, or more, when they are of one revision; those of each in one piece. */
export const changesOf = <E, R>(
  next: Effect.Effect<Watched, E, R>,
  count: number
): Effect.Effect<ReadonlyArray<string>, E, R> =>
  Effect.gen(function* () {
    const told: Array<string> = []
    let last = 0n
    while (told.length < count) {
      const watched = yield* next
      if (watched._tag !== "Changes") continue
      for (const change of watched.changes) {
        const [text, revision] =
          change._tag === "Put"
            ? ([`+${change.entry.key}`, change.entry.modRevision] as const)
            : ([`-${change.key}`, change.modRevision] as const)
        assert.isTrue(revision >= last)
        last = revision
        told.push(text)
      }
      last++
    }
    return told
  })

/**
 * Declares the suite.
 *
 * - `clock`: `test` where time is TestClock's; on a `live` one, waiting is the only way to let time pass
 */
export const suite = <E>(
  name: string,
  make: Effect.Effect<Subject, E, Scope.Scope>,
  { clock }: { readonly clock: "test" | "live" }
): void => {
  const test = clock === "test" ? it.effect : it.live
  const advance = clock === "test" ? TestClock.adjust : (duration: Duration.Input) => Effect.sleep(duration)

  describe(name, () => {
    test("puts keys on leases, and lists them by prefix", () =>
      Effect.gen(function* () {
        const { store } = yield* make
        const prefix = yield* newPrefix
        const { lease, ttlMillis } = yield* store.grant(idle)
        assert.isTrue(ttlMillis >= idle)
        const second = yield* put(store, `${prefix}b`, "", lease)
        const first = yield* put(store, `${prefix}a`, "größe", lease)
        yield* put(store, `${prefix.slice(0, -1)}0`, "not ours", lease)
        const { entries, revision } = yield* store.list(prefix)
        assert.isTrue(revision > first && first > second)
        assert.deepStrictEqual(entries, [
          { key: `${prefix}a`, value: "größe", createRevision: first, modRevision: first, lease },
          { key: `${prefix}b`, value: "", createRevision: second, modRevision: second, lease }
        ])
        const again = yield* put(store, `${prefix}a`, "2", lease)
        const changed = (yield* store.list(prefix)).entries[0]
        assert.deepStrictEqual(changed, {
          key: `${prefix}a`,
          value: "2",
          createRevision: first,
          modRevision: again,
          lease
        })
        yield* store.revoke(lease)
      }))

    test("puts when the condition holds, and tells what is there when it does not", () =>
      Effect.gen(function* () {
        const { store } = yield* make
        const key = `${yield* newPrefix}k`
        const { lease } = yield* store.grant(idle)
        const other = yield* store.put({ key, value: "1", lease, condition: { key, createRevision: 1n } })
        assert.deepStrictEqual(other, { _tag: "Conflict", entry: undefined })
        const done = yield* store.put({ key, value: "1", lease, condition: { key, createRevision: 0n } })
        assert(done._tag === "Done")
        const conflict = yield* store.put({ key, value: "2", lease, condition: { key, createRevision: 0n } })
        assert(conflict._tag === "Conflict")
        assert.deepStrictEqual(conflict.entry, (yield* store.list(key)).entries[0])
        const condition = { key, createRevision: done.revision }
        assert.strictEqual((yield* store.put({ key, value: "3", lease, condition }))._tag, "Done")
        yield* store.remove({ key, createRevision: done.revision + 1n })
        assert.strictEqual((yield* store.list(key)).entries[0]?.value, "3")
        yield* store.remove(condition)
        assert.deepStrictEqual((yield* store.list(key)).entries, [])
        yield* store.revoke(lease)
      }))

    test("ends keys with their lease, all of them in one change", () =>
      Effect.gen(function* () {
        const { store } = yield* make
        const prefix = yield* newPrefix
        const { lease } = yield* store.grant(idle)
        const from = yield* put(store, `${prefix}a`, "", lease)
        yield* put(store, `${prefix}b`, "", lease)
        yield* put(store, `${prefix}stays`, "", "0")
        const { next } = yield* watching(store, prefix, from + 2n)
        assert.isTrue((yield* store.keepAlive(lease)) > idle / 2)
        yield* store.revoke(lease)
        const [first, ...ended] = yield* changesOf(next, 2)
        assert.strictEqual(first, `+${prefix}stays`)
        assert.deepStrictEqual(ended.toSorted(), [`-${prefix}a`, `-${prefix}b`])
        assert.strictEqual(yield* store.keepAlive(lease), 0)
        yield* store.revoke(lease)
        const refused = yield* Effect.flip(store.put({ key: `${prefix}a`, value: "", lease }))
        assert.instanceOf(refused, Refused)
        const [left] = (yield* store.list(prefix)).entries
        assert(left !== undefined)
        assert.strictEqual(left.lease, "0")
        yield* store.remove(left)
      }))

    test("ends a lease that is not kept alive, and no other", () =>
      Effect.gen(function* () {
        const { store } = yield* make
        const prefix = yield* newPrefix
        const [short, kept] = [yield* store.grant(2_000), yield* store.grant(2_000)]
        const from = yield* put(store, `${prefix}short`, "", short.lease)
        yield* put(store, `${prefix}kept`, "", kept.lease)
        const { next } = yield* watching(store, prefix, from + 2n)
        for (let round = 0; round < 4; round++) {
          yield* advance(1_000)
          yield* store.keepAlive(kept.lease)
        }
        assert.deepStrictEqual(yield* changesOf(next, 1), [`-${prefix}short`])
        assert.strictEqual((yield* store.list(prefix)).entries.length, 1)
        yield* store.revoke(kept.lease)
      }))

    test("tells every change from a revision on, and where it begins", () =>
      Effect.gen(function* () {
        const { store } = yield* make
        const prefix = yield* newPrefix
        const { lease } = yield* store.grant(idle)
        const from = yield* put(store, `${prefix}a`, "1", lease)
        yield* put(store, `${prefix}a`, "2", lease)
        const { next } = yield* watching(store, prefix, from)
        assert.deepStrictEqual(yield* next, { _tag: "Progress", revision: from - 1n })
        assert.strictEqual((yield* changesOf(next, 1))[0], `+${prefix}a`)
        const third = yield* put(store, `${prefix}a`, "3", lease)
        const values = yield* store.watch(prefix, from).pipe(
          Stream.filter((watched) => watched._tag === "Changes"),
          Stream.flatMap(({ changes }) => Stream.fromIterable(changes)),
          Stream.take(3),
          Stream.runCollect
        )
        assert.deepStrictEqual(
          values.map((change) => change._tag === "Put" && change.entry.value),
          ["1", "2", "3"]
        )
        assert.isTrue(values.every((change) => change._tag === "Put" && change.entry.createRevision === from))
        const last = values[2]
        assert.strictEqual(last?._tag === "Put" ? last.entry.modRevision : 0n, third)
        yield* store.revoke(lease)
      }))

    test("says when it has forgotten where a watch begins", () =>
      Effect.gen(function* () {
        const { compact, store } = yield* make
        const prefix = yield* newPrefix
        const { lease } = yield* store.grant(idle)
        const from = yield* put(store, `${prefix}a`, "1", lease)
        yield* put(store, `${prefix}a`, "2", lease)
        yield* compact
        const told = yield* store.watch(prefix, from).pipe(
          Stream.filter(({ _tag }) => _tag !== "Progress"),
          Stream.runCollect
        )
        assert.deepStrictEqual(told, [{ _tag: "Compacted" }])
        yield* store.revoke(lease)
      }))
  })
}
