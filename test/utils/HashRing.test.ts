import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Schema from "effect/Schema"
import { HashRing } from "xdooria/utils"

const between = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

/** Nodes by their number, each with its weight. */
const weights = Arbitrary.array(Arbitrary.schema(between(1, 5)), { minLength: 1, maxLength: 12 })

const node = (i: number, weight = 1): HashRing.Node<string> => ({ key: `10.0.0.${i}:9000`, weight, value: `n${i}` })
const ringOf = (all: ReadonlyArray<number>) => HashRing.make(all.map((weight, i) => node(i, weight)))

const keys = Array.from({ length: 2000 }, (_, i) => `${i}`)

const runs = { arbitrary: { runs: 30 } }

const countsOf = (ring: HashRing.HashRing<string>, of: ReadonlyArray<string> = keys) => {
  const counts = new Map<string, number>()
  for (const key of of) {
    const value = HashRing.get(ring, key)!
    counts.set(value, (counts.get(value) ?? 0) + 1)
  }
  return counts
}

describe("HashRing", () => {
  it("has no node without nodes", () => {
    const ring = HashRing.make<string>([])
    assert.isUndefined(HashRing.get(ring, "key"))
    assert.isUndefined(HashRing.getBounded(ring, "key", () => 0, 0.25))
  })

  it.prop(
    "is the same whatever the order in which it is told",
    [weights],
    ([all]) => {
      const nodes = all.map((weight, i) => node(i, weight))
      const one = HashRing.make(nodes)
      const other = HashRing.make([...nodes.toReversed(), ...nodes])
      for (const key of keys.slice(0, 200)) assert.strictEqual(HashRing.get(one, key), HashRing.get(other, key))
    },
    runs
  )

  it("is the same in every process, for ever", () => {
    const ring = ringOf([1, 2, 1])
    assert.deepStrictEqual(
      ["ann", "bob", "", "玩家", "x".repeat(10_000)].map((key) => HashRing.get(ring, key)),
      ["n1", "n1", "n2", "n0", "n1"]
    )
  })

  it.prop(
    "moves to a node that comes only what it takes, and that is its share",
    [weights],
    ([all]) => {
      const before = ringOf(all)
      const after = ringOf([...all, 1])
      const moved = keys.filter((key) => HashRing.get(before, key) !== HashRing.get(after, key))
      for (const key of moved) assert.strictEqual(HashRing.get(after, key), `n${all.length}`)
      // Its share is 1 of the sum. 128 places leave it within a third or so of that.
      const share = keys.length / (all.reduce((a, b) => a + b, 0) + 1)
      assert.isBelow(moved.length, 1.5 * share + 20)
      assert.isAbove(moved.length, 0.5 * share - 20)
    },
    runs
  )

  it.prop(
    "moves from a node that goes only what it had",
    [weights],
    ([all]) => {
      const before = ringOf([...all, 1])
      const after = ringOf(all)
      for (const key of keys) {
        const was = HashRing.get(before, key)
        if (was !== `n${all.length}`) assert.strictEqual(HashRing.get(after, key), was)
      }
    },
    runs
  )

  it.prop(
    "gives each node about the share of its weight",
    [weights],
    ([all]) => {
      const counts = countsOf(ringOf(all))
      const total = all.reduce((a, b) => a + b, 0)
      all.forEach((weight, i) => {
        const share = (keys.length * weight) / total
        assert.isBelow(counts.get(`n${i}`) ?? 0, 1.5 * share + 20)
        assert.isAbove(counts.get(`n${i}`) ?? 0, 0.5 * share - 20)
      })
    },
    runs
  )

  it("spreads keys that look alike, and nodes that do", () => {
    for (const prefix of ["", "p", "player-", "00000000-0000-7000-8000-00000000"]) {
      for (const name of ["10.0.0.", "game-", ""]) {
        const ring = HashRing.make(Array.from({ length: 10 }, (_, i) => ({ key: `${name}${i}`, value: `${i}` })))
        const counts = countsOf(
          ring,
          keys.map((key) => prefix + key)
        )
        assert.strictEqual(counts.size, 10)
        for (const count of counts.values()) {
          assert.isAbove(count, keys.length / 20)
          assert.isBelow(count, (keys.length * 3) / 20)
        }
      }
    }
  })

  it.prop(
    "keeps each node within its bound, and a key with its node while that has room",
    [weights, Schema.Literals([0, 0.1, 0.25, 1])],
    ([all, slack]) => {
      const ring = ringOf(all)
      const total = all.reduce((a, b) => a + b, 0)
      const loads = new Map<string, number>()
      const capacity = (weight: number, sum: number) => Math.ceil(((1 + slack) * sum * weight) / total)
      keys.slice(0, 500).forEach((key, placed) => {
        const got = HashRing.getBounded(ring, key, (value) => loads.get(value) ?? 0, slack)!
        const first = HashRing.get(ring, key)!
        if ((loads.get(first) ?? 0) < capacity(all[Number(first.slice(1))]!, placed + 1)) assert.strictEqual(got, first)
        loads.set(got, (loads.get(got) ?? 0) + 1)
        assert.isAtMost(loads.get(got)!, capacity(all[Number(got.slice(1))]!, placed + 1))
      })
    },
    runs
  )

  it("spreads the keys of a full node over the others", () => {
    const ring = ringOf([1, 1, 1, 1, 1])
    const elsewhere = new Set(
      keys
        .filter((key) => HashRing.get(ring, key) === "n0")
        .map((key) => HashRing.getBounded(ring, key, (value) => (value === "n0" ? 100 : 50), 0.25))
    )
    assert.deepStrictEqual([...elsewhere].toSorted(), ["n1", "n2", "n3", "n4"])
  })

  it("always finds room, also with loads that are no whole numbers", () => {
    const ring = ringOf([1, 1])
    assert.isDefined(HashRing.getBounded(ring, "key", () => 0.5, 0))
  })

  it("finds a node also where one more is lost in the loads, the one that carries least", () => {
    const ring = ringOf([1, 2, 1])
    assert.isDefined(HashRing.getBounded(ringOf([1, 1]), "key", () => 2 ** 53, 0))
    assert.isDefined(HashRing.getBounded(ringOf([1, 1, 1]), "key", () => Number.MAX_VALUE, 0))
    for (const key of keys.slice(0, 50)) {
      const loads = new Map([
        ["n0", 2 ** 54],
        ["n1", 2 ** 55],
        ["n2", 2 ** 54]
      ])
      assert.strictEqual(
        HashRing.getBounded(ring, key, (value) => loads.get(value)!, 0),
        HashRing.get(ring, key)
      )
    }
  })

  it("refuses loads and a slack that are none", () => {
    for (const wrong of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
      assert.throws(() => HashRing.getBounded(ringOf([1, 1]), "key", () => wrong, 0), RangeError)
      assert.throws(() => HashRing.getBounded(ringOf([1, 1]), "key", () => 0, wrong), RangeError)
    }
  })

  it("gives a place that two nodes have to the first by key, in any order", () => {
    // Lone surrogates are one text in UTF-8, so all their places are.
    const nodes = ["\ud800", "\ud801", "\udfff"].map((key) => ({ key, value: key }))
    for (const order of [nodes, nodes.toReversed()]) {
      const ring = HashRing.make(order)
      for (const key of keys.slice(0, 100)) assert.strictEqual(HashRing.get(ring, key), "\ud800")
    }
  })

  it("refuses a weight that is none", () => {
    for (const weight of [0, -1, 0.5, 1001, Number.NaN]) {
      assert.throws(() => HashRing.make([node(1, weight)]), RangeError)
    }
  })
})
