import { describe, expectTypeOf, it } from "@effect/vitest"
import type * as DateTime from "effect/DateTime"
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import {
  type Change,
  type Entry,
  type FrozenBoard,
  Leaderboard,
  LeaderboardEmbedded,
  type LeaderboardError,
  type Page,
  type Reset,
  type Reward,
  type Season
} from "xdooria/leaderboard"
import { LeaderboardLive, makeLive } from "xdooria/leaderboard/live"
import type { Redis } from "xdooria/redis"

const numbers = Leaderboard.board({ key: "numbers" })
const wide = Leaderboard.board({ key: "wide", score: "int64" })
const seasonal = Leaderboard.board({ key: "seasonal", seasons: { keep: "1 day" } })
const wideSeasonal = Leaderboard.board({ key: "wide", score: "int64", seasons: { keep: "1 day" } })
const frozen = Leaderboard.season(seasonal, "2026")

declare const boards: Leaderboard["Service"]
declare const instant: DateTime.Utc
declare const give: (reward: Reward<number>) => Effect.Effect<void, "full", "bag">

describe("a board", () => {
  it("has the scores that it was declared with", () => {
    expectTypeOf(boards.set(numbers, "m", 1)).toEqualTypeOf<Effect.Effect<Change<number>, LeaderboardError>>()
    expectTypeOf(boards.set(wide, "m", 1n)).toEqualTypeOf<Effect.Effect<Change<bigint>, LeaderboardError>>()
    expectTypeOf(boards.rank(wide, "m")).toEqualTypeOf<Effect.Effect<Entry<bigint> | undefined, LeaderboardError>>()
    expectTypeOf(boards.page(numbers)).toEqualTypeOf<Effect.Effect<Page<number>, LeaderboardError>>()
  })

  it("of numbers takes no bigint", () => {
    // @ts-expect-error such a board is exact to 2^53 only, so a bigint could be cut
    boards.set(numbers, "m", 1n)
    // @ts-expect-error such a board is exact to 2^53 only, so a bigint could be cut
    boards.add(numbers, "m", 1n)
    // @ts-expect-error such a board is exact to 2^53 only, so a bigint could be cut
    boards.best(numbers, "m", 1n)
    // @ts-expect-error such a board is exact to 2^53 only, so a bigint could be cut
    boards.increment(numbers, "m", 1n)
    // @ts-expect-error such a board is exact to 2^53 only, so a bigint could be cut
    boards.range(numbers, { min: 1n })
    // @ts-expect-error such a board is exact to 2^53 only, so a bigint could be cut
    boards.set(seasonal, "m", 1n)
  })

  it("of 64 bits takes no number", () => {
    // @ts-expect-error beyond 2^53 a number is not the score that was meant
    boards.set(wide, "m", 1)
    // @ts-expect-error beyond 2^53 a number is not the score that was meant
    boards.add(wide, "m", 1)
    // @ts-expect-error beyond 2^53 a number is not the score that was meant
    boards.best(wide, "m", 1)
    // @ts-expect-error beyond 2^53 a number is not the score that was meant
    boards.increment(wide, "m", 1)
    // @ts-expect-error beyond 2^53 a number is not the score that was meant
    boards.count(wide, { max: 1 })
    // @ts-expect-error beyond 2^53 a number is not the score that was meant
    boards.set(wideSeasonal, "m", 1)
  })

  it("of policy plan is descending and of numbers", () => {
    // @ts-expect-error a Go service reads the highest first
    Leaderboard.board({ key: "plan", ties: "plan", order: "ascending" })
    // @ts-expect-error a Go service has doubles
    Leaderboard.board({ key: "plan", ties: "plan", score: "int64" })
  })

  it("is the same kind of board within a part", () => {
    expectTypeOf(Leaderboard.within(numbers, "eu")).toEqualTypeOf(numbers)
    expectTypeOf(Leaderboard.within(wideSeasonal, "eu")).toEqualTypeOf(wideSeasonal)
  })
})

describe("a frozen season", () => {
  it("can be read", () => {
    expectTypeOf(frozen).toEqualTypeOf<FrozenBoard<number>>()
    expectTypeOf(boards.top(frozen)).toEqualTypeOf<Effect.Effect<ReadonlyArray<Entry<number>>, LeaderboardError>>()
  })

  it("cannot be written", () => {
    // @ts-expect-error its result stays as it is
    boards.set(frozen, "m", 1)
    // @ts-expect-error its result stays as it is
    boards.add(frozen, "m", 1)
    // @ts-expect-error its result stays as it is
    boards.best(frozen, "m", 1)
    // @ts-expect-error its result stays as it is
    boards.increment(frozen, "m", 1)
    // @ts-expect-error its result stays as it is
    boards.remove(frozen, "m")
    // @ts-expect-error it is closed already
    boards.close(frozen, "2026")
    // @ts-expect-error a season has none of its own
    Leaderboard.season(frozen, "2026")
  })
})

describe("a plain board", () => {
  it("has no seasons", () => {
    // @ts-expect-error it was declared without
    boards.open(numbers, "2026")
    // @ts-expect-error it was declared without
    boards.close(numbers, "2026")
    // @ts-expect-error it was declared without
    boards.settle(numbers, "2026", give)
    // @ts-expect-error it was declared without
    boards.seasons(numbers)
    // @ts-expect-error it was declared without
    boards.reset(numbers, { every: "day" }, instant, give)
    // @ts-expect-error it was declared without
    Leaderboard.season(numbers, "2026")
  })
})

describe("settling", () => {
  it("fails with what the reward fails with, and asks for what it asks for", () => {
    expectTypeOf(boards.settle(seasonal, "2026", give)).toEqualTypeOf<
      Effect.Effect<Season, LeaderboardError | "full", "bag">
    >()
    expectTypeOf(boards.reset(seasonal, { every: "week" }, instant, give)).toEqualTypeOf<
      Effect.Effect<Reset, LeaderboardError | "full", "bag">
    >()
    expectTypeOf(boards.close(seasonal, "2026")).toEqualTypeOf<Effect.Effect<Season, LeaderboardError>>()
  })

  it("gives the rewards of the board's own scores", () => {
    // @ts-expect-error a reward of numbers
    boards.settle(wideSeasonal, "2026", give)
  })
})

describe("the errors", () => {
  it("are these", () => {
    expectTypeOf<LeaderboardError["reason"]["_tag"]>().toEqualTypeOf<
      | "ScoreOutOfRange"
      | "InvalidMember"
      | "InvalidBoard"
      | "InvalidPage"
      | "InvalidOperation"
      | "OperationReused"
      | "InvalidSeason"
      | "SeasonClosed"
      | "SeasonOpen"
      | "SeasonNotFound"
      | "Unreadable"
      | "Unavailable"
      | "OutcomeUnknown"
      | "Refused"
    >()
  })
})

describe("the layers", () => {
  it("ask for Redis only when they run on it, and cannot fail", () => {
    expectTypeOf(LeaderboardLive).toEqualTypeOf<Layer.Layer<Leaderboard, never, Redis>>()
    expectTypeOf(makeLive).toEqualTypeOf<Effect.Effect<Leaderboard["Service"], never, Redis>>()
    expectTypeOf(LeaderboardEmbedded).toEqualTypeOf<Layer.Layer<Leaderboard>>()
  })
})
