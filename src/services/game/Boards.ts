import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { type Change, type Entry, Leaderboard } from "../../leaderboard/Leaderboard.ts"
import { StorageUnavailable } from "../errors.ts"
import type { PlayerId } from "../PlayerId.ts"
import { PlayerNotRanked } from "./errors.ts"

/** The boards of the game; whoever reaches a score of the arena first stays before those who follow. */
const boards = {
  arena: Leaderboard.board({ key: "leaderboard:arena", ties: "first", score: "int64" }),
  sprint: Leaderboard.board({ key: "leaderboard:sprint", ties: "competition", order: "ascending", score: "int64" })
}

/** The name of a board. */
export const BoardName = Schema.Literals(["arena", "sprint"])

/** See {@link BoardName}. */
export type BoardName = typeof BoardName.Type

/** A player's place on a board. */
export type Standing = Entry<bigint>

/** Where the players of the game stand. */
export class Boards extends Context.Service<
  Boards,
  {
    /** Offers a score: the board keeps the player's best. Again, it changes nothing. */
    readonly submit: (
      board: BoardName,
      playerId: PlayerId,
      score: bigint
    ) => Effect.Effect<Change<bigint>, StorageUnavailable>
    /** The first `limit` of a board, 1 to 100, and how many there are in all. */
    readonly top: (
      board: BoardName,
      limit: number
    ) => Effect.Effect<{ readonly entries: ReadonlyArray<Standing>; readonly total: number }, StorageUnavailable>
    /** Where a player stands. Fails with PlayerNotRanked when it has no score. */
    readonly rank: (
      board: BoardName,
      playerId: PlayerId
    ) => Effect.Effect<Standing, PlayerNotRanked | StorageUnavailable>
    /** A player and up to `distance`, 1 to 49, on each side. Fails with PlayerNotRanked when it has no score. */
    readonly around: (
      board: BoardName,
      playerId: PlayerId,
      distance: number
    ) => Effect.Effect<ReadonlyArray<Standing>, PlayerNotRanked | StorageUnavailable>
  }
>()("xdooria/services/game/Boards") {}

/** Keeps the boards in room leaderboard. */
export const BoardsLive: Layer.Layer<Boards, never, Leaderboard> = Layer.effect(
  Boards,
  Effect.gen(function* () {
    const leaderboard = yield* Leaderboard
    return {
      submit: (board, playerId, score) =>
        Effect.catchTag(leaderboard.best(boards[board], playerId, score), "LeaderboardError", StorageUnavailable.from),
      top: (board, limit) =>
        Effect.catchTag(leaderboard.page(boards[board], { limit }), "LeaderboardError", StorageUnavailable.from),
      rank: Effect.fnUntraced(
        function* (board, playerId) {
          const entry = yield* leaderboard.rank(boards[board], playerId)
          return entry ?? (yield* new PlayerNotRanked({ playerId, board }))
        },
        Effect.catchTag("LeaderboardError", StorageUnavailable.from)
      ),
      around: Effect.fnUntraced(
        function* (board, playerId, distance) {
          const entries = yield* leaderboard.around(boards[board], playerId, distance)
          return entries.length === 0 ? yield* new PlayerNotRanked({ playerId, board }) : entries
        },
        Effect.catchTag("LeaderboardError", StorageUnavailable.from)
      )
    }
  })
)
