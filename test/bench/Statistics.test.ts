import { assert, describe, it } from "@effect/vitest"
import { median, rotate, summarize } from "./Statistics.ts"

describe("Statistics", () => {
  it("takes the middle, or the mean of the two in the middle", () => {
    assert.strictEqual(median([3, 1, 2]), 2)
    assert.strictEqual(median([4, 1, 2, 3]), 2.5)
  })

  it("divides round by round: a slow moment that hits both is no difference", () => {
    const baseline = [
      { perSecond: 100, user: 8, system: 2 },
      { perSecond: 10, user: 80, system: 20 }
    ]
    const half = baseline.map(({ perSecond, user, system }) => ({ perSecond: perSecond / 2, user: user * 2, system }))
    const { throughput, cpu, more } = summarize(half, baseline)
    assert.deepStrictEqual(throughput, { median: 0.5, min: 0.5, max: 0.5 })
    assert.deepStrictEqual(cpu, { median: 1.8, min: 1.8, max: 1.8 })
    assert.strictEqual(more, 44)
  })

  it("begins each round one further on", () => {
    assert.deepStrictEqual(
      [0, 1, 2, 3].map((round) => rotate(["a", "b", "c"], round).join("")),
      ["abc", "bca", "cab", "abc"]
    )
  })
})
