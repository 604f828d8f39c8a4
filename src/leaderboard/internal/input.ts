import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Key from "../../redis/Key.ts"
import { limits, type Score, type ScoreRange, type View } from "../Leaderboard.ts"
import {
  InvalidBoard,
  InvalidMember,
  InvalidOperation,
  InvalidPage,
  InvalidSeason,
  LeaderboardError,
  type LeaderboardErrorReason,
  ScoreOutOfRange
} from "../LeaderboardError.ts"
import type { Row, Target } from "./store.ts"

/** Fails for a reason. */
export const fail = (reason: LeaderboardErrorReason): Effect.Effect<never, LeaderboardError> =>
  Effect.fail(new LeaderboardError({ reason }))

// A board is a constant of the program: its key is built once. A failure is not kept.
const targets = new WeakMap<View<Score>, Target>()

const isKept = ({ keepMillis = Infinity }: View<Score>): boolean =>
  keepMillis > 0 && (keepMillis === Infinity || keepMillis <= Number.MAX_SAFE_INTEGER)

/** The view with its key. */
export const targetOf = (view: View<Score>): Effect.Effect<Target, LeaderboardError> => {
  const known = targets.get(view)
  if (known !== undefined) return Effect.succeed(known)
  if (!isKept(view))
    return fail(new InvalidBoard({ problem: "`keep` is not more than 0 ms, to 2^53-1 ms or infinite" }))
  // The words come from the program, as a literal that is not in the board's type.
  const key = Key.make(view.key as "board", ...view.parts)
  if (Result.isFailure(key)) return fail(new InvalidBoard({ problem: key.failure.reason.message }))
  if (view.season !== undefined && !isId(view.season)) return fail(new InvalidSeason({ problem: idProblem }))
  const target = { view, key: key.success }
  targets.set(view, target)
  return Effect.succeed(target)
}

const idProblem = "it is not 1 to 64 letters, digits, _ and -"
const isId = (text: string): boolean => /^[A-Za-z0-9_-]{1,64}$/.test(text)

/** Why it is no season id, if it is one that is not. */
export const seasonReason = (season: string | undefined): InvalidSeason | undefined =>
  season === undefined || isId(season) ? undefined : new InvalidSeason({ problem: idProblem })

/** Why it is no operation id. */
export const operationReason = (operation: string | undefined): InvalidOperation | undefined =>
  operation === undefined || isId(operation) ? undefined : new InvalidOperation({ problem: idProblem })

const orFail = (reason: LeaderboardErrorReason | undefined): Effect.Effect<void, LeaderboardError> =>
  reason === undefined ? Effect.void : fail(reason)

/** A season id, where there is one. */
export const seasonOf = (season: string | undefined): Effect.Effect<void, LeaderboardError> =>
  orFail(seasonReason(season))

const longestMember = 256
const control = /\p{Cc}/u

const memberProblem = (member: string): string | undefined => {
  if (member === "") return "it is empty"
  // A code unit is a byte at least: a text of megabytes is not looked at.
  if (member.length > longestMember || Buffer.byteLength(member) > longestMember) {
    return `it has more than ${longestMember} bytes`
  }
  if (!member.isWellFormed()) return "it is not well-formed text"
  if (control.test(member)) return "it holds a control character"
  return undefined
}

/** Why it is no member. */
export const memberReason = (member: string): InvalidMember | undefined => {
  const problem = memberProblem(member)
  return problem === undefined ? undefined : new InvalidMember({ problem })
}

/** A member. */
export const memberOf = (member: string): Effect.Effect<void, LeaderboardError> => orFail(memberReason(member))

/** The problem of a score, or undefined. */
export const scoreProblem = (kind: View<Score>["score"], score: Score): string | undefined => {
  if (kind === "int64") {
    if (typeof score !== "bigint") return "it is not a bigint"
    return BigInt.asIntN(64, score) === score ? undefined : "it does not fit 64 bits"
  }
  if (typeof score !== "number") return "it is not a number"
  if (!Number.isFinite(score)) return "it is not finite"
  return Math.abs(score) <= Number.MAX_SAFE_INTEGER ? undefined : "it is beyond plus or minus 2^53-1"
}

/** Why the board cannot hold a score. */
export const scoreReason = (kind: View<Score>["score"], score: Score): ScoreOutOfRange | undefined => {
  const problem = scoreProblem(kind, score)
  return problem === undefined ? undefined : new ScoreOutOfRange({ problem })
}

/** The score; 0 for -0. */
export const withoutSign = <A extends Score>(score: A): A => (score === 0 ? (0 as A) : score)

/** A score. */
const scoreOf = (kind: View<Score>["score"], score: Score): Effect.Effect<Score, LeaderboardError> => {
  const reason = scoreReason(kind, score)
  return reason === undefined ? Effect.succeed(withoutSign(score)) : fail(reason)
}

/** A range of scores; one whose ends are infinite says what one without them does. */
export const rangeOf = (
  { score }: View<Score>,
  { max, min }: ScoreRange<Score>
): Effect.Effect<ScoreRange<Score>, LeaderboardError> =>
  Effect.gen(function* () {
    return {
      ...(min === undefined ? {} : { min: yield* scoreOf(score, min) }),
      ...(max === undefined ? {} : { max: yield* scoreOf(score, max) })
    }
  })

/** A whole number within bounds. */
export const within = (
  name: string,
  value: number,
  min: number,
  max: number
): Effect.Effect<number, LeaderboardError> =>
  Number.isInteger(value) && value >= min && value <= max
    ? Effect.succeed(value)
    : fail(new InvalidPage({ problem: `${name} is not a whole number from ${min} to ${max}` }))

/** Members, no more than are allowed at once. */
export const membersOf = (members: ReadonlyArray<string>): Effect.Effect<void, LeaderboardError> =>
  members.length > limits.members
    ? fail(new InvalidPage({ problem: `more than ${limits.members} members at once` }))
    : Effect.forEach(members, memberOf, { discard: true })

/** The cursor that continues after a row; `bytes`: those of its member, where its text may not be all of them. */
export const cursorOf = ({ member, score, tick }: Row, bytes: string | undefined): string =>
  Buffer.from(bytes === undefined ? `${score},${tick},${member}` : `${score},x,${bytes}`).toString("base64url")

/** Where a cursor continues; see {@link cursorOf}. */
interface Position {
  readonly row: Row
  readonly bytes: string | undefined
}

const scoreIn = (kind: View<Score>["score"], text: string): Score | undefined => {
  if (kind === "int64") return /^-?\d{1,19}$/.test(text) ? BigInt(text) : undefined
  return Number.isNaN(Number(text)) ? undefined : Number(text)
}

const positionOf = ({ score: kind, ties }: View<Score>, cursor: string): Position | undefined => {
  const text = /^[A-Za-z0-9_-]{1,8192}$/.test(cursor) ? Buffer.from(cursor, "base64url").toString() : ""
  const [, digits = "", tick, rest] = /^([^,]{1,30}),(\d{1,16}|x),([^]*)$/.exec(text) ?? []
  const score = scoreIn(kind, digits)
  if (rest === undefined || score === undefined) return undefined
  if (tick !== "x")
    return rest === "" ? undefined : { row: { member: rest, score, tick: Number(tick) }, bytes: undefined }
  if (ties !== "plan" || !/^([0-9a-f]{2})*$/.test(rest)) return undefined
  return { row: { member: Buffer.from(rest, "hex").toString(), score, tick: 0 }, bytes: rest }
}

/** Where a cursor of a board continues. */
export const afterOf = (view: View<Score>, cursor: string): Effect.Effect<Position, LeaderboardError> => {
  const position = positionOf(view, cursor)
  return position === undefined
    ? fail(new InvalidPage({ problem: "it is no cursor of such a board" }))
    : Effect.succeed(position)
}
