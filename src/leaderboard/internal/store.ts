import type * as Effect from "effect/Effect"
import type * as Key from "../../redis/Key.ts"
import type { Score, ScoreRange, View } from "../Leaderboard.ts"
import type { LeaderboardError } from "../LeaderboardError.ts"

/** A view, and the key of its board. */
export interface Target {
  readonly view: View<Score>
  readonly key: Key.Key<"board">
}

/** A line as it is stored. `tick`: the change with which the score was reached, by `first`; else 0. */
export interface Row {
  readonly member: string
  readonly score: Score
  readonly tick: number
}

/** A score with its rank, from 1. */
export interface Placed {
  readonly score: Score
  readonly rank: number
}

/** Where an update found a member, and where it is now. */
export interface Moved {
  readonly before: Placed | undefined
  readonly after: Placed
}

/**
 * Rows one after another.
 *
 * - `first`, `rank`: the index of the first, from 0, and its rank
 * - `last`: the bytes of the last member in hexadecimal, where its text may not be all of them; empty for too many
 */
export interface Slice {
  readonly total: number
  readonly first: number
  readonly rank: number
  readonly rows: ReadonlyArray<Row>
  readonly last: string | undefined
}

/** A row with its index; `better`: how many come before it and do not share its rank. */
export interface Found {
  readonly row: Row
  readonly index: number
  readonly rank: number
  readonly better: number
}

/** The most bytes of a member that {@link Slice} tells. */
export const lastBytes = 2048

/** Which rows: so many from an index, after a row that may be gone (`bytes`: see {@link Slice}), around a member, or in a range of scores. */
export type From =
  | { readonly _tag: "Offset"; readonly offset: number; readonly limit: number }
  | { readonly _tag: "After"; readonly row: Row; readonly bytes: string | undefined; readonly limit: number }
  | { readonly _tag: "Around"; readonly member: string; readonly radius: number }
  | { readonly _tag: "Scores"; readonly range: ScoreRange<Score>; readonly offset: number; readonly limit: number }

/** A write. `season`: the one that must be open; undefined for any. */
export interface Write {
  readonly mode: "add" | "set" | "best" | "increment"
  readonly member: string
  readonly value: Score
  readonly season: string | undefined
  readonly operation: string | undefined
}

/** A season as it is stored; instants in milliseconds. */
export interface SeasonRow {
  readonly id: string
  readonly state: "open" | "closed" | "settled"
  readonly opened: number
  readonly closed: number | undefined
  readonly members: number
  readonly rewarded: number
}

/**
 * One season ends and another begins; either may be none.
 *
 * - `by`: who asks, a token of its own
 * - `isForward`: do nothing, and refuse nothing, when a season of that date or a later one was opened before
 */
export interface Turn {
  readonly closing: string | undefined
  readonly opening: string | undefined
  readonly by: string
  readonly isForward: boolean
}

/** `isClosedByIt`: whether it was this one that closed the season; `open`: the one that is open now. */
export interface Turned {
  readonly isClosedByIt: boolean
  readonly open: string | undefined
}

/**
 * How far the rewards of a season came.
 *
 * - `by`: who hands them out, a token of its own
 * - `rewarded`: how many were handed over
 * - `step`: there are more to come, these are all, or it leaves them to others
 */
export interface Advance {
  readonly season: string
  readonly by: string
  readonly rewarded: number
  readonly step: "more" | "all" | "leave"
}

/** A season that is closed, and whether the one who asked owns it; `leftMillis`: how long the claim of another holds. */
export interface Claim {
  readonly state: "closed" | "settled"
  readonly members: number
  readonly rewarded: number
  readonly isMine: boolean
  readonly leftMillis: number
}

/** How long an operation id is remembered, in milliseconds. */
export const operationMillis = 600_000

/** How long a claim on the rewards of a season holds unless it is renewed, in milliseconds. */
export const claimMillis = 10_000

/** What a backend does; all input was checked before. Each of these is one atomic step. */
export interface Store {
  readonly update: (target: Target, write: Write) => Effect.Effect<Moved, LeaderboardError>
  readonly remove: (
    target: Target,
    member: string,
    season: string | undefined
  ) => Effect.Effect<Placed | undefined, LeaderboardError>
  readonly slice: (target: Target, from: From) => Effect.Effect<Slice, LeaderboardError>
  readonly many: (
    target: Target,
    members: ReadonlyArray<string>
  ) => Effect.Effect<{ readonly total: number; readonly found: ReadonlyArray<Found | undefined> }, LeaderboardError>
  readonly count: (target: Target, range: ScoreRange<Score>) => Effect.Effect<number, LeaderboardError>
  /** What was done before is left as it is. */
  readonly turn: (target: Target, turn: Turn) => Effect.Effect<Turned, LeaderboardError>
  /** Notes how far it came, and claims the season, or renews the claim, unless it is another's. */
  readonly advance: (target: Target, advance: Advance) => Effect.Effect<Claim, LeaderboardError>
  /** The seasons in the order in which they were opened. */
  readonly seasons: (target: Target) => Effect.Effect<ReadonlyArray<SeasonRow>, LeaderboardError>
}
