// How scores and members are stored. A sorted set is read from its start on every board but those of policy `plan`,
// which are read from their end. So that the best score comes first, a descending board stores the negative score.
//
// number: the score of the sorted set is the (negative) score
// int64:  the score of the sorted set is 0; the stored member begins with 20 digits, score + 2^63 (or 2^63 - 1 - score)
// first:  then, in the stored member, 16 digits of the tick: which change of the board it was. The last one is kept with
//         what the members begin with, under the empty name, which no member has
import * as Result from "effect/Result"
import * as Command from "../../redis/Command.ts"
import { UnexpectedReply } from "../../redis/RedisError.ts"
import type { Score, View } from "../Leaderboard.ts"
import type { Row } from "./store.ts"

/** A score as it is stored: that of the sorted set, and the digits at the begin of the stored member. */
export interface Stored {
  readonly z: string
  readonly digits: string
}

const isNegated = ({ order, ties }: View<Score>): boolean => order === "descending" && ties !== "plan"

const half = 2n ** 63n

/** How many digits of the score, and of the tick, a stored member begins with. */
export const widthsOf = ({ score, ties }: View<Score>): { readonly digits: number; readonly tick: number } => ({
  digits: score === "int64" ? 20 : 0,
  tick: ties === "first" ? 16 : 0
})

// 0 - x, for -x of 0 is -0.
const numberOf = (view: View<Score>, score: number): string => {
  const value = isNegated(view) ? 0 - score : score
  return Number.isFinite(value) ? String(value) : value > 0 ? "inf" : "-inf"
}

const digitsOf = (view: View<Score>, score: bigint): string =>
  (isNegated(view) ? half - 1n - score : score + half).toString().padStart(20, "0")

/** A score, to be stored or compared. */
export const storedOf = (view: View<Score>, score: Score): Stored =>
  typeof score === "bigint" ? { z: "0", digits: digitsOf(view, score) } : { z: numberOf(view, score), digits: "" }

/** A score as one text, to be set; {@link scoreOf} reads it. */
export const textOf = (view: View<Score>, score: Score): string =>
  typeof score === "bigint" ? digitsOf(view, score) : numberOf(view, score)

/** What is added to a stored score: a number, or a sign and 20 digits. */
export const incrementOf = (view: View<Score>, by: Score): string => {
  if (typeof by === "number") return numberOf(view, by)
  const value = isNegated(view) ? -by : by
  return `${value < 0n ? "-" : "+"}${(value < 0n ? -value : value).toString().padStart(20, "0")}`
}

/** The stored member of a row. */
export const memberOf = (view: View<Score>, { member, score, tick }: Row): string => {
  const { tick: width } = widthsOf(view)
  return storedOf(view, score).digits + (width === 0 ? "" : String(tick).padStart(width, "0")) + member
}

const unreadable = Result.fail(new UnexpectedReply({ problem: "it was not written by this room" }))

/** Reads a score: that of the sorted set, or the digits that the stored member begins with. */
export const scoreOf = (view: View<Score>, text: Command.Reply): Result.Result<Score, UnexpectedReply> => {
  if (view.score === "number") {
    const value = Command.double(text)
    return isNegated(view) ? Result.map(value, (value) => 0 - value) : value
  }
  if (typeof text !== "string" || !/^\d{20}$/.test(text)) return unreadable
  const value = BigInt(text)
  return Result.succeed(isNegated(view) ? half - 1n - value : value - half)
}

/** Reads a row: the stored member, and the score of the sorted set. */
export const rowOf = (
  view: View<Score>,
  stored: Command.Reply,
  z: Command.Reply
): Result.Result<Row, UnexpectedReply> => {
  const { digits, tick: width } = widthsOf(view)
  if (typeof stored !== "string") return unreadable
  const ticks = stored.slice(digits, digits + width)
  if (width > 0 && !/^\d{16}$/.test(ticks)) return unreadable
  const member = stored.slice(digits + width)
  return Result.map(scoreOf(view, digits === 0 ? z : stored.slice(0, digits)), (score) => ({
    member,
    score,
    tick: Number(ticks)
  }))
}
