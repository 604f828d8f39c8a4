import * as Schema from "effect/Schema"
import * as Reason from "../utils/Reason.ts"

/**
 * A score that the board cannot hold exactly: not a number, infinite, beyond plus or minus 2^53-1, beyond 64 bits on a
 * board of `int64`, or a sum that would be. Nothing was applied.
 */
export class ScoreOutOfRange extends Reason.permanent<ScoreOutOfRange>("xdooria/leaderboard/ScoreOutOfRange")(
  "ScoreOutOfRange",
  { problem: Schema.String }
) {
  override get message(): string {
    return `the score is out of range: ${this.problem}`
  }
}

/** A member that is not a text of 1 to 256 bytes without control characters. Never encoded, always refused. */
export class InvalidMember extends Reason.permanent<InvalidMember>("xdooria/leaderboard/InvalidMember")(
  "InvalidMember",
  { problem: Schema.String }
) {
  override get message(): string {
    return `not a member: ${this.problem}`
  }
}

/** A board whose key, or whose part of it from elsewhere, is not one that room redis takes. */
export class InvalidBoard extends Reason.permanent<InvalidBoard>("xdooria/leaderboard/InvalidBoard")("InvalidBoard", {
  problem: Schema.String
}) {
  override get message(): string {
    return `not a board: ${this.problem}`
  }
}

/** A limit, offset, radius, cursor or list of members that is not allowed. */
export class InvalidPage extends Reason.permanent<InvalidPage>("xdooria/leaderboard/InvalidPage")("InvalidPage", {
  problem: Schema.String
}) {
  override get message(): string {
    return `not a page: ${this.problem}`
  }
}

/** An operation id that is not 1 to 64 letters, digits, `_` and `-`. */
export class InvalidOperation extends Reason.permanent<InvalidOperation>("xdooria/leaderboard/InvalidOperation")(
  "InvalidOperation",
  { problem: Schema.String }
) {
  override get message(): string {
    return `not an operation id: ${this.problem}`
  }
}

/** An operation id that was used on this board, and in this season, for another member or amount. Nothing was applied. */
export class OperationReused extends Reason.permanent<OperationReused>("xdooria/leaderboard/OperationReused")(
  "OperationReused",
  {}
) {
  override get message(): string {
    return "the operation id was used for another increment"
  }
}

/** A season id that is not 1 to 64 letters, digits, `_` and `-`. */
export class InvalidSeason extends Reason.permanent<InvalidSeason>("xdooria/leaderboard/InvalidSeason")(
  "InvalidSeason",
  { problem: Schema.String }
) {
  override get message(): string {
    return `not a season id: ${this.problem}`
  }
}

/** The season is not open: it was closed, or another one is, or none. `open`: which is open now, empty for none. */
export class SeasonClosed extends Reason.permanent<SeasonClosed>("xdooria/leaderboard/SeasonClosed")("SeasonClosed", {
  open: Schema.String
}) {
  override get message(): string {
    return this.open === "" ? "no season is open" : `the season is closed; ${this.open} is open`
  }
}

/** Another season is open, so this one cannot be. `open`: which. */
export class SeasonOpen extends Reason.permanent<SeasonOpen>("xdooria/leaderboard/SeasonOpen")("SeasonOpen", {
  open: Schema.String
}) {
  override get message(): string {
    return `season ${this.open} is open`
  }
}

/** There is no result of this season: it never was, is still open, or has expired. */
export class SeasonNotFound extends Reason.permanent<SeasonNotFound>("xdooria/leaderboard/SeasonNotFound")(
  "SeasonNotFound",
  {}
) {
  override get message(): string {
    return "there is no such season"
  }
}

/** What is stored is no board of this declaration: another type, or written by someone else. `problem`: what it is. */
export class Unreadable extends Reason.permanent<Unreadable>("xdooria/leaderboard/Unreadable")("Unreadable", {
  problem: Schema.String
}) {
  override get message(): string {
    return `what is stored is no such board: ${this.problem}`
  }
}

/** The store cannot be reached, or serves nothing now; nothing was applied. `detail`: why. */
export class Unavailable extends Reason.transient<Unavailable>("xdooria/leaderboard/Unavailable")("Unavailable", {
  detail: Schema.String
}) {
  override get message(): string {
    return `the store of boards is not available: ${this.detail}`
  }
}

/** The operation was sent and its reply was lost: it may have been applied. `detail`: how it was lost. */
export class OutcomeUnknown extends Reason.ambiguous<OutcomeUnknown>("xdooria/leaderboard/OutcomeUnknown")(
  "OutcomeUnknown",
  { detail: Schema.String }
) {
  override get message(): string {
    return `the reply was lost (${this.detail}), the operation may have been applied`
  }
}

/** The store refuses the operation for good: permissions, or its configuration. `detail`: the reason of room redis. */
export class Refused extends Reason.permanent<Refused>("xdooria/leaderboard/Refused")("Refused", {
  detail: Schema.String
}) {
  override get message(): string {
    return `the store of boards refuses the operation: ${this.detail}`
  }
}

/** Why an operation failed. */
export const LeaderboardErrorReason = Schema.Union([
  ScoreOutOfRange,
  InvalidMember,
  InvalidBoard,
  InvalidPage,
  InvalidOperation,
  OperationReused,
  InvalidSeason,
  SeasonClosed,
  SeasonOpen,
  SeasonNotFound,
  Unreadable,
  Unavailable,
  OutcomeUnknown,
  Refused
])

/** See {@link LeaderboardErrorReason}. */
export type LeaderboardErrorReason = typeof LeaderboardErrorReason.Type

/** The error of room leaderboard. Its message has no member and no score. */
export class LeaderboardError extends Reason.error<LeaderboardError>("xdooria/leaderboard/LeaderboardError")(
  "LeaderboardError",
  { reason: LeaderboardErrorReason }
) {
  override get message(): string {
    return `leaderboard: ${this.reason.message}`
  }
}
