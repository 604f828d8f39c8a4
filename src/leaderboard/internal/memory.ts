import type { Score, View } from "../Leaderboard.ts"
import { byRow, byScore, endsOf } from "./order.ts"
import type { From, Found, Moved, Row, SeasonRow, Slice } from "./store.ts"
import * as Tree from "./tree.ts"

/** What is ranked at one moment; it never changes. */
export interface Ranking {
  readonly rows: Tree.Tree<Row>
  /** Each score once, on boards of policy `dense`. */
  readonly scores: Tree.Tree<Score>
}

/** A closed season with its result, until it ends. */
export interface Frozen {
  readonly ranking: Ranking
  readonly byMember: ReadonlyMap<string, Row>
}

/**
 * What is not told of a season.
 *
 * - `until`: when it ends; undefined before it is settled
 * - `closer`, `settler`: who closed it, and who hands out its rewards until `claimed`
 */
export interface Owned {
  readonly until: number | undefined
  readonly closer: string | undefined
  readonly settler: string | undefined
  readonly claimed: number
}

/** What an operation did. */
interface Operation {
  /** The season in which it was; empty on a board without. */
  readonly season: string
  readonly print: string
  readonly until: number
  readonly reply: Moved
}

/** A board. */
export interface Memory {
  ranking: Ranking
  byMember: Map<string, Row>
  /** That of the last change. */
  tick: number
  open: string | undefined
  /** The latest date that a season was named by; empty before the first. */
  reached: string
  readonly seasons: Map<string, SeasonRow & Owned>
  readonly frozen: Map<string, Frozen>
  /** What was replied to operations, until when. */
  readonly operations: Map<string, Operation>
}

const nothing: Ranking = { rows: undefined, scores: undefined }

/** A board with nothing on it. */
export const empty = (): Memory => ({
  ranking: nothing,
  byMember: new Map(),
  tick: 0,
  open: undefined,
  reached: "",
  seasons: new Map(),
  frozen: new Map(),
  operations: new Map()
})

/** Puts a new row in the place of a member's old one; either may be none. */
export const move = (view: View<Score>, board: Memory, old: Row | undefined, row: Row | undefined): void => {
  const compare = byRow(view)
  let { rows, scores } = board.ranking
  if (old !== undefined) {
    rows = Tree.remove(rows, old, compare)
    board.byMember.delete(old.member)
  }
  if (row !== undefined) {
    rows = Tree.insert(rows, row, compare)
    board.byMember.set(row.member, row)
    board.tick = row.tick
  }
  if (view.ties === "dense") {
    const order = byScore(view)
    if (old !== undefined && better(view, rows, old.score) === atLeast(view, rows, old.score)) {
      scores = Tree.remove(scores, old.score, order)
    }
    if (row !== undefined) scores = Tree.insert(scores, row.score, order)
  }
  board.ranking = { rows, scores }
}

/** Takes everything off a board, and gives what was there. */
export const freeze = (board: Memory): Frozen => {
  const { byMember, ranking } = board
  board.ranking = nothing
  board.byMember = new Map()
  board.tick = 0
  return { ranking, byMember }
}

/** How many have a better score. */
const better = (view: View<Score>, rows: Tree.Tree<Row>, score: Score): number => {
  const compare = byScore(view)
  return Tree.countWhile(rows, (row) => compare(row.score, score) < 0)
}

/** How many have this score or a better one. */
const atLeast = (view: View<Score>, rows: Tree.Tree<Row>, score: Score): number => {
  const compare = byScore(view)
  return Tree.countWhile(rows, (row) => compare(row.score, score) <= 0)
}

/** The rank of a row at an index. */
const rankAt = (view: View<Score>, { rows, scores }: Ranking, score: Score, index: number): number => {
  if (view.ties === "competition") return better(view, rows, score) + 1
  if (view.ties !== "dense") return index + 1
  const compare = byScore(view)
  return Tree.countWhile(scores, (one) => compare(one, score) < 0) + 1
}

/** Where a row is. */
export const locate = (view: View<Score>, ranking: Ranking, row: Row): Found => {
  const compare = byRow(view)
  const index = Tree.countWhile(ranking.rows, (one) => compare(one, row) < 0)
  const shares = view.ties === "competition" || view.ties === "dense"
  return {
    row,
    index,
    rank: rankAt(view, ranking, row.score, index),
    better: shares ? better(view, ranking.rows, row.score) : index
  }
}

/** The indexes of a range of scores: the first, and the one behind the last. */
export const span = (
  view: View<Score>,
  { rows }: Ranking,
  range: { readonly min?: Score; readonly max?: Score }
): { readonly start: number; readonly end: number } => {
  const { best, worst } = endsOf(view, range)
  const start = best === undefined ? 0 : better(view, rows, best)
  const end = worst === undefined ? Tree.size(rows) : atLeast(view, rows, worst)
  return { start, end: Math.max(start, end) }
}

const bounds = (
  view: View<Score>,
  { byMember, ranking }: Frozen,
  from: From
): { readonly start: number; readonly end: number; readonly total: number } => {
  const total = Tree.size(ranking.rows)
  switch (from._tag) {
    case "Offset":
      return { start: from.offset, end: from.offset + from.limit, total }
    case "After": {
      const compare = byRow(view)
      const start = Tree.countWhile(ranking.rows, (row) => compare(row, from.row) <= 0)
      return { start, end: start + from.limit, total }
    }
    case "Around": {
      const row = byMember.get(from.member)
      if (row === undefined) return { start: 0, end: 0, total }
      const { index } = locate(view, ranking, row)
      return { start: Math.max(0, index - from.radius), end: index + from.radius + 1, total }
    }
    case "Scores": {
      const { end, start } = span(view, ranking, from.range)
      const first = start + from.offset
      return { start: first, end: Math.min(end, first + from.limit), total: end - start }
    }
  }
}

/** The rows that are asked for. */
export const sliceOf = (view: View<Score>, from: From, frozen: Frozen): Slice => {
  const { end, start, total } = bounds(view, frozen, from)
  const rows = Tree.slice(frozen.ranking.rows, start, end)
  const [row] = rows
  const last = view.ties === "plan" ? Buffer.from(rows.at(-1)?.member ?? "").toString("hex") : undefined
  const rank = row === undefined ? 0 : rankAt(view, frozen.ranking, row.score, start)
  return { total, first: start, rank, rows, last }
}
