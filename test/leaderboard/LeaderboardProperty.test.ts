// LeaderboardEmbedded against a sorted list that is small enough to be seen to be right.
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import { makeEmbedded, type Score } from "xdooria/leaderboard"
import * as Tree from "../../src/leaderboard/internal/tree.ts"
import { boardOf, type Kind, kinds, look, operation, type Operation, perform } from "./Operations.ts"

interface Line {
  readonly member: string
  score: Score
  reached: number
}

class Model {
  readonly kind: Kind
  lines: Array<Line> = []
  now = 0
  constructor(kind: Kind) {
    this.kind = kind
  }

  sorted(): ReadonlyArray<Line> {
    const { order, ties } = this.kind
    const bytes = (a: Line, b: Line) => Buffer.compare(Buffer.from(a.member), Buffer.from(b.member))
    return this.lines.toSorted((a, b) => {
      if (a.score !== b.score) return a.score < b.score === (order === "ascending") ? -1 : 1
      return ties === "first" ? a.reached - b.reached : ties === "plan" ? -bytes(a, b) : bytes(a, b)
    })
  }

  ranked() {
    const all = this.sorted()
    return all.map(({ member, score }, index) => {
      const above = all.slice(0, index).filter((line) => line.score !== score)
      const rank =
        this.kind.ties === "competition"
          ? above.length + 1
          : this.kind.ties === "dense"
            ? new Set(above.map((line) => line.score)).size + 1
            : index + 1
      return { member, score, rank }
    })
  }

  place(member: string) {
    const entry = this.ranked().find((one) => one.member === member)
    return entry === undefined ? undefined : { score: entry.score, rank: entry.rank }
  }

  do({ do: name, member, score }: Operation) {
    this.now++
    const before = this.place(member)
    const line = this.lines.find((one) => one.member === member)
    if (name === "remove") this.lines = this.lines.filter((one) => one.member !== member)
    else {
      const zero = typeof score === "bigint" ? 0n : 0
      // Both are of one type.
      const sum = name === "increment" ? ((((line?.score ?? zero) as number) + (score as number)) as Score) : score
      const limit = typeof score === "bigint" ? 2n ** 63n - 1n : Number.MAX_SAFE_INTEGER
      if (sum > limit) return "ScoreOutOfRange"
      const isBetter = line !== undefined && (this.kind.order === "descending" ? sum > line.score : sum < line.score)
      if (line === undefined) this.lines.push({ member, score: sum, reached: this.now })
      else if (name !== "add" && sum !== line.score && (name !== "best" || isBetter)) {
        Object.assign(line, { score: sum, reached: this.now })
      }
    }
    const after = this.place(member)
    return { member, before, after, isChanged: before?.score !== after?.score }
  }
}

describe("LeaderboardEmbedded", () => {
  for (const [seed, kind] of kinds.entries()) {
    it.effect(`is a sorted list: ${kind.ties}, ${kind.order}, ${kind.score}`, () =>
      Effect.gen(function* () {
        const boards = yield* makeEmbedded
        const board = boardOf(kind)
        const model = new Model(kind)
        for (let i = 0; i < 300; i++) {
          const one = yield* operation(kind)
          assert.deepStrictEqual(yield* perform(boards, board, one), model.do(one), `${i}: ${one.do} ${one.member}`)
          if (i % 10 !== 0) continue
          const seen = yield* look(boards, board)
          const ranked = model.ranked()
          assert.deepStrictEqual([...seen.top], ranked)
          assert.deepStrictEqual(
            seen.pages.flatMap(({ entries }) => entries),
            ranked
          )
          assert.deepStrictEqual([...seen.offset], ranked.slice(4, 6))
          const inside = ranked.filter(({ score }) => score >= -1 && score <= 2)
          assert.deepStrictEqual([...seen.range.entries], inside.slice(1, 4))
          assert.deepStrictEqual(seen.count, [
            ranked.length,
            inside.length,
            ranked.filter(({ score }) => score >= 2).length
          ])
        }
      }).pipe(Random.withSeed(seed))
    )
  }
})

describe("the tree", () => {
  it("stays balanced, and finds every index, over thousands of changes", () => {
    const compare = (a: number, b: number) => a - b
    const depth = (tree: Tree.Tree<number>): number =>
      tree === undefined ? 0 : 1 + Math.max(depth(tree.left), depth(tree.right))
    let tree: Tree.Tree<number> = undefined
    for (let i = 0; i < 10_000; i++) tree = Tree.insert(tree, i, compare)
    assert.isAtMost(depth(tree), 3 * Math.log2(10_000))
    const frozen = tree
    for (let i = 0; i < 10_000; i += 2) tree = Tree.remove(tree, i, compare)
    for (let i = 0; i < 9_000; i += 3) tree = Tree.remove(tree, i, compare)
    const left = Array.from({ length: 10_000 }, (_, i) => i).filter((i) => i % 2 === 1 && (i % 3 !== 0 || i >= 9_000))
    assert.deepStrictEqual(Tree.slice(tree, 0, 10_000), left)
    assert.isAtMost(depth(tree), 3 * Math.log2(left.length))
    assert.strictEqual(Tree.size(frozen), 10_000)
    assert.strictEqual(
      Tree.countWhile(tree, (item) => item < 5_000),
      left.filter((item) => item < 5_000).length
    )
  })
})
