import * as Context from "effect/Context"
import type * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type { LeaderboardError } from "./LeaderboardError.ts"

/** A number within plus or minus 2^53-1, fractions allowed; or a whole number of 64 bits. */
export type Score = number | bigint

/** Which score comes first: the highest, or the lowest. */
export type Order = "descending" | "ascending"

/**
 * What decides among equal scores.
 *
 * - `first`: who reached the score first comes first: the store counts the changes of the board
 * - `member`: the member's bytes, upwards
 * - `competition`: they share a rank and the next rank is left out (1, 2, 2, 4); listed by member
 * - `dense`: they share a rank and no rank is left out (1, 2, 2, 3); listed by member
 * - `plan`: the member's bytes, downwards; a plain sorted set at the board's key, which a Go service of the plan shares
 */
export type Ties = "first" | "member" | "competition" | "dense" | "plan"

const TypeId = "~xdooria/leaderboard/View"

/** What can be read: a board as it is now, or a closed season of it. */
export interface View<out A extends Score> {
  readonly [TypeId]: (_: never) => A
  /** The words of the key, then the parts that {@link Leaderboard.within} added. */
  readonly key: string
  readonly parts: ReadonlyArray<string>
  readonly order: Order
  readonly ties: Ties
  readonly score: "number" | "int64"
  /** How long a settled season is kept, in milliseconds; Infinity for ever; undefined without seasons. */
  readonly keepMillis: number | undefined
  /** The closed season that is read; undefined for the board as it is now. */
  readonly season: string | undefined
}

/** A leaderboard, as a value: made by {@link Leaderboard.board}, once, in the program. */
export interface Board<out A extends Score> extends View<A> {
  readonly season: undefined
}

/** A board that is played in seasons. It takes writes only while a season is open. */
export interface SeasonBoard<out A extends Score> extends Board<A> {
  readonly keepMillis: number
}

/** The frozen result of a closed season. It can be read in every way, and not be written. */
export interface FrozenBoard<out A extends Score> extends View<A> {
  readonly season: string
}

/** A member's place. `rank` begins with 1. */
export interface Place<out A extends Score> {
  readonly score: A
  readonly rank: number
}

/** A line of a board. */
export interface Entry<out A extends Score> extends Place<A> {
  readonly member: string
}

/** A line among friends. `place`: its rank among them alone, by the board's policy. */
export interface Friend<out A extends Score> extends Entry<A> {
  readonly place: number
}

/**
 * What an update did. Both places are of the one instant at which it was applied.
 *
 * - `before`, `after`: undefined where the member is not on the board
 * - `isChanged`: whether the score is another one now
 */
export interface Change<out A extends Score> {
  readonly member: string
  readonly before: Place<A> | undefined
  readonly after: Place<A> | undefined
  readonly isChanged: boolean
}

/** How a write is bound to a season. `season`: refuse with SeasonClosed unless this one is open. */
export interface WriteOptions {
  readonly season?: string
}

/**
 * As WriteOptions, for what is not the same when done twice.
 *
 * - `operation`: an id of this increment, 1 to 64 letters, digits, `_` and `-`. Within 10 minutes a further one with the
 *   same id is not applied and replies what the first did, so that a lost reply is repeated in safety. The id belongs to
 *   the board and its season: with it another member or amount is OperationReused, and the next season does not know it.
 *   Where a repetition must not count in the next season either, give `season` as well
 */
export interface IncrementOptions extends WriteOptions {
  readonly operation?: string
}

/**
 * Where a page begins, and how long it is.
 *
 * - `limit`: 1 to 100; 10 unless given
 * - `offset`: how many entries to leave out, from 0
 * - `after`: the `next` of the page before; wins over `offset`. An entry that keeps its place is then neither skipped
 *   nor shown twice, whatever is written in between, which `offset` does not promise
 */
export interface PageOptions {
  readonly limit?: number
  readonly offset?: number
  readonly after?: string
}

/** Both ends belong to it; an end that is not given is open. */
export interface ScoreRange<out A extends Score> {
  readonly min?: A
  readonly max?: A
}

/**
 * A piece of a board.
 *
 * - `total`: how many members there are: on the board, or in the range of scores
 * - `next`: the cursor of what follows; undefined at the end
 */
export interface Page<out A extends Score> {
  readonly entries: ReadonlyArray<Entry<A>>
  readonly total: number
  readonly next: string | undefined
}

/**
 * A season.
 *
 * - `state`: `open`; `closed`, its result frozen and rewards still to give; `settled`, all of them given
 * - `members`: how many the frozen result has; 0 while open
 * - `rewarded`: how many of them, from the top, were handed to the reward
 */
export interface Season {
  readonly id: string
  readonly state: "open" | "closed" | "settled"
  readonly openedAt: DateTime.Utc
  readonly closedAt: DateTime.Utc | undefined
  readonly members: number
  readonly rewarded: number
}

/**
 * What a member gets for a season.
 *
 * - `id`: the same each time it is delivered, which is once or more often; write it along, and the effect is once
 */
export interface Reward<out A extends Score> extends Entry<A> {
  readonly id: string
  readonly season: string
}

/** How rewards are given. `top`: to so many from the top, whole, from 0; to all unless given. */
export interface SettleOptions {
  readonly top?: number
}

/**
 * When a season ends and the next one begins: at midnight.
 *
 * - `zone`: whose midnight; UTC unless given. A fixed offset moves it: `DateTime.zoneMakeOffset(-5 * 3600_000)` resets at
 *   05:00 UTC
 * - `startsOn`: the first day of a week, 0 for Sunday; 1 unless given
 */
export type Period =
  | { readonly every: "day"; readonly zone?: DateTime.TimeZone }
  | { readonly every: "week"; readonly zone?: DateTime.TimeZone; readonly startsOn?: 0 | 1 | 2 | 3 | 4 | 5 | 6 }

/**
 * What a reset did.
 *
 * - `open`: the season that is open now; undefined when none is, because it was closed by hand
 * - `closed`: the season that it closed. Of resets that run at once, one says so
 * - `settled`: the seasons whose rewards it finished; not those that another one is giving just now
 */
export interface Reset {
  readonly open: string | undefined
  readonly closed: string | undefined
  readonly settled: ReadonlyArray<string>
}

type Plain = { readonly ties?: Ties; readonly order?: Order; readonly score?: "number" | "int64" }
type PlanOptions = { readonly ties: "plan"; readonly order?: "descending"; readonly score?: "number" }

/**
 * How a board is declared.
 *
 * - `key`: the words of its key, a literal. It is the key of the sorted set, as it is
 * - `order`: `descending` unless given
 * - `ties`: `first` unless given; `plan` is descending and of numbers
 * - `score`: `number` unless given; `int64` for bigints
 * - `seasons`: makes it a board of seasons. `keep`: how long a settled season can be read: more than 0, in whole
 *   milliseconds, rounded up; `Duration.infinity` for ever. Anything else is InvalidBoard when the board is used
 */
export type BoardOptions = { readonly key: string; readonly seasons?: { readonly keep: Duration.Input } } & (
  | PlanOptions
  | (Plain & { readonly ties?: Exclude<Ties, "plan"> })
)

type ScoreOf<O> = O extends { readonly score: "int64" } ? bigint : number

/** The board that options declare. */
export type BoardOf<O> = O extends { readonly seasons: object } ? SeasonBoard<ScoreOf<O>> : Board<ScoreOf<O>>

/** The most entries of a page, and of members in one call of `many` and `friends`. */
export const limits = { page: 100, members: 500 } as const

/** Ranks members by score. Provided by LeaderboardLive and LeaderboardEmbedded. */
export class Leaderboard extends Context.Service<
  Leaderboard,
  {
    /** Puts a member on the board, who must be new: one that is there stays as it is. */
    readonly add: <A extends Score>(
      board: Board<A>,
      member: string,
      score: A,
      options?: WriteOptions
    ) => Effect.Effect<Change<A>, LeaderboardError>
    /** Sets a score. The same score again changes nothing, nor when it was reached. */
    readonly set: <A extends Score>(
      board: Board<A>,
      member: string,
      score: A,
      options?: WriteOptions
    ) => Effect.Effect<Change<A>, LeaderboardError>
    /** Sets a score if it is better than the one that is there: higher on a descending board, else lower. */
    readonly best: <A extends Score>(
      board: Board<A>,
      member: string,
      score: A,
      options?: WriteOptions
    ) => Effect.Effect<Change<A>, LeaderboardError>
    /**
     * Adds to a score, from 0 when the member is new. Fails with ScoreOutOfRange, and adds nothing, when the sum is one.
     * When the reply is lost it is OutcomeUnknown, but with `operation`, where the room repeats it by itself.
     */
    readonly increment: <A extends Score>(
      board: Board<A>,
      member: string,
      by: A,
      options?: IncrementOptions
    ) => Effect.Effect<Change<A>, LeaderboardError>
    /** Takes a member off the board. */
    readonly remove: <A extends Score>(
      board: Board<A>,
      member: string,
      options?: WriteOptions
    ) => Effect.Effect<Change<A>, LeaderboardError>

    /** The first ones. `limit`: 1 to 100; 10 unless given. */
    readonly top: <A extends Score>(
      view: View<A>,
      limit?: number
    ) => Effect.Effect<ReadonlyArray<Entry<A>>, LeaderboardError>
    /** A page; beyond the end it is empty. */
    readonly page: <A extends Score>(view: View<A>, options?: PageOptions) => Effect.Effect<Page<A>, LeaderboardError>
    /** The members with a score in a range, best first. */
    readonly range: <A extends Score>(
      view: View<A>,
      range: ScoreRange<A>,
      options?: Omit<PageOptions, "after">
    ) => Effect.Effect<Page<A>, LeaderboardError>
    /** A member with those before and after it: `radius` of each, 0 to 49, 5 unless given. Empty for an absent one. */
    readonly around: <A extends Score>(
      view: View<A>,
      member: string,
      radius?: number
    ) => Effect.Effect<ReadonlyArray<Entry<A>>, LeaderboardError>
    /** A member's rank and score, or undefined. */
    readonly rank: <A extends Score>(
      view: View<A>,
      member: string
    ) => Effect.Effect<Entry<A> | undefined, LeaderboardError>
    /** A member's score, or undefined. */
    readonly score: <A extends Score>(view: View<A>, member: string) => Effect.Effect<A | undefined, LeaderboardError>
    /** Up to 500 members at one instant, in the order asked; undefined for an absent one. */
    readonly many: <A extends Score>(
      view: View<A>,
      members: ReadonlyArray<string>
    ) => Effect.Effect<ReadonlyArray<Entry<A> | undefined>, LeaderboardError>
    /** Up to 500 members, ranked among themselves as well; absent ones are left out. */
    readonly friends: <A extends Score>(
      view: View<A>,
      members: ReadonlyArray<string>
    ) => Effect.Effect<ReadonlyArray<Friend<A>>, LeaderboardError>
    /** How many members there are, or have a score in a range. */
    readonly count: <A extends Score>(view: View<A>, range?: ScoreRange<A>) => Effect.Effect<number, LeaderboardError>
    /**
     * How many of the others are not before this member, in percent: 100 for the first, 0 for the last, 100 for one that
     * is alone; undefined for an absent one.
     */
    readonly percentile: <A extends Score>(
      view: View<A>,
      member: string
    ) => Effect.Effect<number | undefined, LeaderboardError>

    /** Opens a season; nothing to do when it is open. Fails with SeasonOpen or SeasonClosed: an id is used once. */
    readonly open: <A extends Score>(board: SeasonBoard<A>, season: string) => Effect.Effect<Season, LeaderboardError>
    /** Closes a season and freezes its result, in one step and once; nothing to do when it is closed already. */
    readonly close: <A extends Score>(board: SeasonBoard<A>, season: string) => Effect.Effect<Season, LeaderboardError>
    /**
     * Hands the entries of a closed season to `reward`, from the top, and notes how far it came after each 100. It goes
     * on from there when it is run again, so each reward is delivered at least once. The season is then settled, and
     * ends after `keep`. What `reward` fails with stops it. One at a time hands them out: it has a claim on the season
     * for 10 seconds by the clock of the store, which it renews. Another one waits until the season is settled, or goes
     * on when the claim has ended. Fails with Unreadable when the result is not there any more.
     */
    readonly settle: <A extends Score, E, R>(
      board: SeasonBoard<A>,
      season: string,
      reward: (reward: Reward<A>) => Effect.Effect<void, E, R>,
      options?: SettleOptions
    ) => Effect.Effect<Season, LeaderboardError | E, R>
    /** The seasons that there are, the oldest first. */
    readonly seasons: <A extends Score>(board: SeasonBoard<A>) => Effect.Effect<ReadonlyArray<Season>, LeaderboardError>
    /**
     * Makes the season of an instant the open one, and settles every season that is closed and not settled: also one
     * whose settling was cut short. Run it as often as you like, from several processes: it does what is missing. After
     * missed resets the open season is closed late, with all that was written to it, and the seasons in between never
     * were. An instant before the latest season opens nothing, nor does one in a season that was closed by hand; what is
     * closed is settled all the same. What another one is settling just now is left to it. A season whose settling
     * fails does not keep the others: the first failure is told when all were tried. A season is named by the date on
     * which it begins.
     */
    readonly reset: <A extends Score, E, R>(
      board: SeasonBoard<A>,
      period: Period,
      instant: DateTime.DateTime,
      reward: (reward: Reward<A>) => Effect.Effect<void, E, R>,
      options?: SettleOptions
    ) => Effect.Effect<Reset, LeaderboardError | E, R>
  }
>()("xdooria/leaderboard/Leaderboard") {
  /** Declares a board. */
  static readonly board = <const O extends BoardOptions>(options: O): BoardOf<O> => {
    const { key, order = "descending", score = "number", seasons, ties = "first" }: BoardOptions = options
    return {
      [TypeId]: (score: never) => score,
      key,
      parts: [],
      order,
      ties,
      score,
      keepMillis: seasons === undefined ? undefined : Math.ceil(Duration.toMillis(seasons.keep)),
      season: undefined
    } as unknown as BoardOf<O>
  }

  /**
   * One of many boards of one declaration, such as that of a region: `arena` within `eu` has the key `arena:eu`.
   *
   * - `parts`: from elsewhere, as for `Key.make` of room redis; what that refuses is InvalidBoard when the board is used
   */
  static readonly within = <B extends Board<Score>>(board: B, ...parts: ReadonlyArray<string>): B => ({
    ...board,
    parts: [...board.parts, ...parts]
  })

  /** The frozen result of a closed season, to be read. Reading it fails with SeasonNotFound when there is none. */
  static readonly season = <A extends Score>(board: SeasonBoard<A>, season: string): FrozenBoard<A> => ({
    ...board,
    season
  })
}
