// Random operations on a board, to be run on several backends that must answer alike.
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import {
  type Board,
  type Leaderboard,
  type LeaderboardError,
  type Page,
  type Score,
  type Ties
} from "xdooria/leaderboard"
import { fresh } from "./Backend.ts"

/** What kind of board. */
export interface Kind {
  readonly ties: Ties
  readonly order: "descending" | "ascending"
  readonly score: "number" | "int64"
}

/** Every kind that there is. */
export const kinds: ReadonlyArray<Kind> = [
  { ties: "plan", order: "descending", score: "number" },
  ...(["first", "member", "competition", "dense"] as const).flatMap((ties) =>
    (["descending", "ascending"] as const).flatMap((order) =>
      (["number", "int64"] as const).map((score) => ({ ties, order, score }))
    )
  )
]

/** A board of a kind, that no other test has. */
export const boardOf = (kind: Kind): Board<Score> => fresh(kind as never) as Board<Score>

export interface Operation {
  readonly do: "add" | "set" | "best" | "increment" | "remove"
  readonly member: string
  readonly score: Score
}

const members = ["a", "b", "B", "ab", "é", "\u{FF5E}", "\u{1F600}", "z:9", "10", "9"]

const pick = <A>(list: ReadonlyArray<A>) => Effect.map(Random.nextIntBetween(0, list.length - 1), (i) => list[i]!)

/** Few members and few scores, so that there are ties, and some at the ends of what can be held. */
export const operation = ({ score }: Kind): Effect.Effect<Operation> =>
  Effect.gen(function* () {
    const small = yield* Random.nextIntBetween(-3, 3)
    const far = score === "int64" ? 2n ** 63n - 1n : Number.MAX_SAFE_INTEGER
    const value = (yield* Random.nextIntBetween(0, 20)) === 0 ? far : score === "int64" ? BigInt(small) : small
    return {
      do: yield* pick(["add", "set", "best", "increment", "remove"] as const),
      member: yield* pick(members),
      score: value
    }
  })

type Boards = Leaderboard["Service"]

const orTag = <A>(effect: Effect.Effect<A, LeaderboardError>): Effect.Effect<A | string> =>
  Effect.catch(effect, ({ reason }) => Effect.succeed<A | string>(reason._tag))

/** Does it, and gives what the room says of it. */
export const perform = (boards: Boards, board: Board<Score>, { do: name, member, score }: Operation) =>
  orTag(name === "remove" ? boards.remove(board, member) : boards[name](board, member, score))

/** All that can be read of a board, cursors too. */
export const look = (boards: Boards, board: Board<Score>) =>
  Effect.gen(function* () {
    const exact = (value: number): Score => (board.score === "int64" ? BigInt(value) : value)
    const range = { min: exact(-1), max: exact(2) }
    const pages: Array<Page<Score>> = []
    let after: string | undefined
    do {
      const page = yield* boards.page(board, { limit: 3, ...(after === undefined ? {} : { after }) })
      pages.push(page)
      after = page.next
    } while (after !== undefined)
    return {
      top: yield* boards.top(board, 100),
      pages,
      offset: (yield* boards.page(board, { offset: 4, limit: 2 })).entries,
      range: yield* boards.range(board, range, { offset: 1, limit: 3 }),
      count: [
        yield* boards.count(board),
        yield* boards.count(board, range),
        yield* boards.count(board, { min: range.max })
      ],
      around: yield* Effect.forEach(members, (member) => boards.around(board, member, 2)),
      percentiles: yield* Effect.forEach(members, (member) => boards.percentile(board, member)),
      many: yield* boards.many(board, members),
      friends: yield* boards.friends(board, members.slice(3))
    }
  }).pipe(Effect.orDie)
