import type { Score, ScoreRange, View } from "../Leaderboard.ts"
import type { Row } from "./store.ts"

// UTF-16 puts surrogates before U+E000 to U+FFFF, UTF-8 and so Redis behind them.
const fixed = (unit: number): number => (unit < 0xd800 ? unit : unit < 0xe000 ? unit + 0x2000 : unit - 0x800)

/** The order of two texts by their bytes of UTF-8. */
export const byBytes = (a: string, b: string): number => {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const difference = fixed(a.charCodeAt(i)) - fixed(b.charCodeAt(i))
    if (difference !== 0) return difference
  }
  return a.length - b.length
}

/** Less than 0 when the first score comes first on a board. */
export const byScore =
  ({ order }: View<Score>) =>
  (a: Score, b: Score): number =>
    a === b ? 0 : a < b === (order === "ascending") ? -1 : 1

/** The order of the rows of a board. */
export const byRow = (view: View<Score>) => {
  const scores = byScore(view)
  const sign = view.ties === "plan" ? -1 : 1
  return (a: Row, b: Row): number => scores(a.score, b.score) || a.tick - b.tick || sign * byBytes(a.member, b.member)
}

/** The ends of a range in the order of a board: the best score that belongs to it, and the worst. */
export const endsOf = (
  { order }: View<Score>,
  { max, min }: ScoreRange<Score>
): { readonly best: Score | undefined; readonly worst: Score | undefined } =>
  order === "descending" ? { best: max, worst: min } : { best: min, worst: max }
