import * as Result from "effect/Result"
import type * as Key from "../Key.ts"
import * as Op from "./Operation.ts"

/** A member and its score: a double, so whole numbers are exact within plus or minus 2^53-1. */
export interface Scored {
  readonly member: string
  readonly score: number
}

const score = (value: number): number | string => (value === Infinity ? "+inf" : value === -Infinity ? "-inf" : value)

const scored: Op.Decode<ReadonlyArray<Scored>> = (reply) =>
  Result.map(Op.pairs(Op.text, Op.double)(reply), (all) => all.map(([member, of]) => ({ member, score: of })))

/** An end of a range of scores: the score itself, or what lies beyond it. Infinities are open ends. */
export type ScoreBound = number | { readonly exclusive: number }

/** An end of a range of members of one score, in the order of their bytes. */
export type MemberBound = "first" | "last" | string | { readonly exclusive: string }

/** A part of a longer range: so many after so many. */
export interface Limit {
  readonly offset: number
  readonly count: number
}

/**
 * Which members, in rising order of score and then of bytes, or falling when `reversed`.
 *
 * - `rank`: from `start` to `stop`, both included, 0 the first (the last when `reversed`), -1 the last
 * - `score`: from `min` to `max`, whichever the order
 */
export type Range =
  | { readonly by: "rank"; readonly start: number; readonly stop: number; readonly reversed?: boolean }
  | {
      readonly by: "score"
      readonly min: ScoreBound
      readonly max: ScoreBound
      readonly reversed?: boolean
      readonly limit?: Limit
    }

const bound = (value: ScoreBound): number | string =>
  typeof value === "number" ? score(value) : `(${score(value.exclusive)}`

const rangeArgs = (range: Range): ReadonlyArray<string | number> => {
  const reversed = range.reversed === true ? ["REV"] : []
  if (range.by === "rank") return [range.start, range.stop, ...reversed]
  const ends = [bound(range.min), bound(range.max)]
  const limit = range.limit === undefined ? [] : ["LIMIT", range.limit.offset, range.limit.count]
  return [...(range.reversed === true ? ends.toReversed() : ends), "BYSCORE", ...reversed, ...limit]
}

/** When a member's score is set: `ifHigher` and `ifLower` add an absent one too. */
export type When = "always" | "ifAbsent" | "ifPresent" | "ifHigher" | "ifLower"

const whenArgs: Readonly<Record<When, ReadonlyArray<string>>> = {
  always: [],
  ifAbsent: ["NX"],
  ifPresent: ["XX"],
  ifHigher: ["GT"],
  ifLower: ["LT"]
}

/** Sets the scores of members, at least one; gives how many were added or changed. */
export const zadd = <Slot extends string>(
  key: Key.Key<Slot>,
  members: ReadonlyArray<Scored>,
  when: When = "always"
): Op.Command<number, Slot> =>
  Op.make(
    "ZADD",
    [key, ...whenArgs[when], "CH", ...members.flatMap((one) => [score(one.score), one.member])],
    Op.integer
  )

/** Adds to the score of a member, absent as 0; gives the sum. */
export const zincrBy = <Slot extends string>(
  key: Key.Key<Slot>,
  member: string,
  amount: number
): Op.Command<number, Slot> => Op.make("ZINCRBY", [key, score(amount), member], Op.double)

/** Removes members; gives how many there were. */
export const zrem = <Slot extends string>(
  key: Key.Key<Slot>,
  ...members: ReadonlyArray<string>
): Op.Command<number, Slot> => Op.make("ZREM", [key, ...members], Op.integer)

/** The score of a member, or undefined. */
export const zscore = <Slot extends string>(key: Key.Key<Slot>, member: string): Op.Command<number | undefined, Slot> =>
  Op.make("ZSCORE", [key, member], Op.optional(Op.double), { idempotent: true })

/** The scores of members, each undefined where it is none. */
export const zmscore = <Slot extends string>(
  key: Key.Key<Slot>,
  ...members: ReadonlyArray<string>
): Op.Command<ReadonlyArray<number | undefined>, Slot> =>
  Op.make("ZMSCORE", [key, ...members], Op.listOf(Op.optional(Op.double)), { idempotent: true })

/** The place of a member from the lowest score, 0 the first, or undefined. */
export const zrank = <Slot extends string>(key: Key.Key<Slot>, member: string): Op.Command<number | undefined, Slot> =>
  Op.make("ZRANK", [key, member], Op.optional(Op.integer), { idempotent: true })

/** The place of a member from the highest score, 0 the first, or undefined. */
export const zrevRank = <Slot extends string>(
  key: Key.Key<Slot>,
  member: string
): Op.Command<number | undefined, Slot> =>
  Op.make("ZREVRANK", [key, member], Op.optional(Op.integer), { idempotent: true })

/** How many members there are. */
export const zcard = <Slot extends string>(key: Key.Key<Slot>): Op.Command<number, Slot> =>
  Op.make("ZCARD", [key], Op.integer, { idempotent: true })

/** How many members have a score in a range. */
export const zcount = <Slot extends string>(
  key: Key.Key<Slot>,
  min: ScoreBound,
  max: ScoreBound
): Op.Command<number, Slot> => Op.make("ZCOUNT", [key, bound(min), bound(max)], Op.integer, { idempotent: true })

/** The members of a range. */
export const zrange = <Slot extends string>(
  key: Key.Key<Slot>,
  range: Range
): Op.Command<ReadonlyArray<string>, Slot> =>
  Op.make("ZRANGE", [key, ...rangeArgs(range)], Op.listOf(Op.text), { idempotent: true })

/** The members of a range with their scores. */
export const zrangeWithScores = <Slot extends string>(
  key: Key.Key<Slot>,
  range: Range
): Op.Command<ReadonlyArray<Scored>, Slot> =>
  Op.make("ZRANGE", [key, ...rangeArgs(range), "WITHSCORES"], scored, { idempotent: true })

const memberBound = (value: MemberBound): string =>
  value === "first" ? "-" : value === "last" ? "+" : typeof value === "string" ? `[${value}` : `(${value.exclusive}`

/** The members of a range in the order of their bytes, where all have one score. */
export const zrangeByMember = <Slot extends string>(
  key: Key.Key<Slot>,
  min: MemberBound,
  max: MemberBound,
  limit?: Limit
): Op.Command<ReadonlyArray<string>, Slot> =>
  Op.make(
    "ZRANGE",
    [
      key,
      memberBound(min),
      memberBound(max),
      "BYLEX",
      ...(limit === undefined ? [] : ["LIMIT", limit.offset, limit.count])
    ],
    Op.listOf(Op.text),
    { idempotent: true }
  )

/** Removes the members of a range of places from the lowest score, both ends included; gives how many. */
export const zremRangeByRank = <Slot extends string>(
  key: Key.Key<Slot>,
  start: number,
  stop: number
): Op.Command<number, Slot> => Op.make("ZREMRANGEBYRANK", [key, start, stop], Op.integer)

/** Removes the members of a range of scores; gives how many. */
export const zremRangeByScore = <Slot extends string>(
  key: Key.Key<Slot>,
  min: ScoreBound,
  max: ScoreBound
): Op.Command<number, Slot> => Op.make("ZREMRANGEBYSCORE", [key, bound(min), bound(max)], Op.integer)

/** Removes and gives up to `count` members from the lowest score. */
export const zpopMin = <Slot extends string>(
  key: Key.Key<Slot>,
  count: number
): Op.Command<ReadonlyArray<Scored>, Slot> => Op.make("ZPOPMIN", [key, count], scored)

/** Removes and gives up to `count` members from the highest score. */
export const zpopMax = <Slot extends string>(
  key: Key.Key<Slot>,
  count: number
): Op.Command<ReadonlyArray<Scored>, Slot> => Op.make("ZPOPMAX", [key, count], scored)
