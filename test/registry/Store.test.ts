import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Failure, Range } from "../../src/registry/internal/etcdConnection.ts"
import { listed } from "../../src/registry/internal/etcdList.ts"
import * as Memory from "../../src/registry/internal/memory.ts"
import { suite } from "./StoreContract.ts"

const memory = Effect.map(Memory.make, (store) => ({
  store,
  compact: Effect.orDie(Effect.map(store.list(""), ({ revision }) => store.compact(revision)))
}))

suite("The store in memory", memory, { clock: "test" })

/** What etcd makes of a range: entries of so many bytes, and answers that have a limit. */
const etcdOf = (sizes: ReadonlyArray<number>, most: number) => {
  const asked: Array<Range> = []
  const all = sizes.map((size, i) => ({ key: Buffer.from(`/p/${String(i).padStart(5, "0")}`), size }))
  const ask = (range: Range) =>
    Effect.suspend(() => {
      asked.push(range)
      const from = all.filter(({ key }) => Buffer.compare(key, range.key) >= 0)
      const found = from.slice(0, range.limit)
      const failure: Failure = { _tag: "TooLarge", detail: "", isSent: true }
      const isTooLarge = range.keys_only !== true && found.reduce((sum, { size }) => sum + size, 0) > most
      if (isTooLarge) return Effect.fail(failure)
      const value = Buffer.from(range.keys_only === true ? "" : "v")
      const kvs = found.map(({ key }) => ({ key, value, create_revision: 1, mod_revision: 1, lease: 0 }))
      // Others write meanwhile.
      return Effect.succeed({ header: { revision: 6 + asked.length }, more: from.length > found.length, kvs })
    })
  return { ask, asked, keys: all.map(({ key }) => key.toString()) }
}

it.effect("lists in pages, all of one revision", () =>
  Effect.gen(function* () {
    for (const count of [0, 1, 999, 1_000, 1_001, 2_500]) {
      const { ask, asked, keys } = etcdOf(
        Array.from({ length: count }, () => 1),
        1_000
      )
      const { entries, revision } = yield* listed(ask, "/p/")
      assert.strictEqual(revision, 7n)
      assert.deepStrictEqual(
        entries.map(({ key }) => key),
        keys
      )
      assert.strictEqual(asked.length, Math.max(1, Math.ceil(count / 1_000)))
      for (const range of asked.slice(1)) assert.strictEqual(range.revision, "7")
    }
  })
)

it.effect("lists what is too large for one page in smaller ones, and of what fits none the key alone", () =>
  Effect.gen(function* () {
    const sizes = Array.from({ length: 3_000 }, (_, i) => (i === 1_500 ? 5_000 : i % 500 === 7 ? 900 : 1))
    const { ask, asked, keys } = etcdOf(sizes, 1_000)
    const { entries } = yield* listed(ask, "/p/")
    assert.deepStrictEqual(
      entries.map(({ key }) => key),
      keys
    )
    assert.deepStrictEqual(
      entries.flatMap(({ value }, i) => (value === "" ? [i] : [])),
      [1_500]
    )
    assert.isBelow(asked.length, 120)
  })
)
