// What the tests of this room share: boards of their own, and what an update did in short.
import * as Effect from "effect/Effect"
import { randomUUID } from "node:crypto"
import {
  type Board,
  type BoardOf,
  type BoardOptions,
  type Change,
  Leaderboard,
  type LeaderboardError,
  type Score
} from "xdooria/leaderboard"

type Rest<O> = O extends unknown ? Omit<O, "key"> : never

/** A board that no other test has. */
export const fresh = <const O extends Rest<BoardOptions>>(options: O): BoardOf<O & { readonly key: "test" }> => {
  const board: Board<Score> = Leaderboard.board({ key: "test", ...options } as BoardOptions)
  return Leaderboard.within(board, randomUUID()) as never
}

/** The tag of the reason that it fails with. */
export const tagOf = <A, R>(effect: Effect.Effect<A, LeaderboardError, R>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => reason._tag)

/** `member score#rank`, one after another. */
export const lines = (
  entries: ReadonlyArray<{ readonly member: string; readonly score: Score; readonly rank: number }>
): string => entries.map(({ member, rank, score }) => `${member} ${score}#${rank}`).join(", ")

/** `score#rank -> score#rank`, and whether it is another score now. */
export const changed = ({ after, before, isChanged }: Change<Score>): string => {
  const place = (one: { readonly score: Score; readonly rank: number } | undefined) =>
    one === undefined ? "none" : `${one.score}#${one.rank}`
  return `${place(before)} ${isChanged ? "->" : "=="} ${place(after)}`
}
