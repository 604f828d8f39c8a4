import { assert, describe, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import { Leaderboard, LeaderboardEmbedded, makeEmbedded } from "xdooria/leaderboard"
import { seasonAt } from "../../src/leaderboard/internal/seasons.ts"
import { changed, fresh } from "./Backend.ts"
import { suite } from "./LeaderboardContract.ts"

suite("LeaderboardEmbedded", LeaderboardEmbedded, { clock: "test" })

describe("makeEmbedded", () => {
  it.effect("gives each caller boards of its own", () =>
    Effect.gen(function* () {
      const board = fresh({})
      const [one, other] = [yield* makeEmbedded, yield* makeEmbedded]
      yield* one.set(board, "m", 1)
      assert.strictEqual(yield* other.count(board), 0)
    })
  )

  it.effect("forgets an operation after 10 minutes", () =>
    Effect.gen(function* () {
      const boards = yield* makeEmbedded
      const board = fresh({})
      const add = boards.increment(board, "m", 1, { operation: "once" })
      yield* add
      yield* TestClock.adjust("599 seconds")
      assert.strictEqual(changed(yield* add), "none -> 1#1")
      yield* TestClock.adjust("1 second")
      assert.strictEqual(changed(yield* add), "1#1 -> 2#1")
    })
  )
})

describe("a settler", () => {
  it.effect("keeps its claim while a reward takes its time", () =>
    Effect.gen(function* () {
      const boards = yield* makeEmbedded
      const board = fresh({ seasons: { keep: "1 day" } })
      yield* boards.open(board, "s1")
      yield* boards.set(board, "ann", 1)
      yield* boards.close(board, "s1")
      const begun = yield* Deferred.make<void>()
      const slow = yield* Effect.forkChild(
        boards.settle(board, "s1", () => Effect.andThen(Deferred.succeed(begun, undefined), Effect.sleep("1 minute")))
      )
      yield* Deferred.await(begun)
      yield* TestClock.adjust("59 seconds")
      const instant = DateTime.makeUnsafe("2026-11-24T00:00:00Z")
      const { settled } = yield* boards.reset(board, { every: "day" }, instant, () => Effect.die("not by two"))
      assert.deepStrictEqual(settled, [])
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(slow)).state, "settled")
    })
  )
})

describe("a board", () => {
  it("keeps a season for whole milliseconds", () => {
    const board = Leaderboard.board({ key: "arena", seasons: { keep: Duration.nanos(1_000_001n) } })
    assert.strictEqual(board.keepMillis, 2)
  })

  it("is a value: what is not given has its default", () => {
    const { key, keepMillis, order, parts, score, season, ties } = Leaderboard.within(
      Leaderboard.board({ key: "arena", seasons: { keep: "1 day" } }),
      "eu"
    )
    assert.deepStrictEqual(
      { key, keepMillis, order, parts, score, season, ties },
      {
        key: "arena",
        keepMillis: 86_400_000,
        order: "descending",
        parts: ["eu"],
        score: "number",
        season: undefined,
        ties: "first"
      }
    )
  })
})

describe("a season", () => {
  const at = (period: Parameters<typeof seasonAt>[0], instant: string) => seasonAt(period, DateTime.makeUnsafe(instant))
  const newYork = DateTime.zoneMakeNamedUnsafe("America/New_York")

  it("is named by the date on which it begins", () => {
    assert.strictEqual(at({ every: "day" }, "2026-12-31T23:59:59.999Z"), "2026-12-31")
    assert.strictEqual(at({ every: "day" }, "2027-01-01T00:00:00Z"), "2027-01-01")
    assert.strictEqual(at({ every: "week" }, "2027-01-01T00:00:00Z"), "2026-12-28")
    assert.strictEqual(at({ every: "week", startsOn: 0 }, "2026-11-29T00:00:00Z"), "2026-11-29")
    assert.strictEqual(at({ every: "week", startsOn: 3 }, "2026-11-24T23:59:59Z"), "2026-11-18")
  })

  it("begins at midnight of its zone, over changes of the clock too", () => {
    // 2026-03-08 has 23 hours in New York, 2026-11-01 has 25.
    assert.strictEqual(at({ every: "day", zone: newYork }, "2026-03-08T04:59:59Z"), "2026-03-07")
    assert.strictEqual(at({ every: "day", zone: newYork }, "2026-03-08T05:00:00Z"), "2026-03-08")
    assert.strictEqual(at({ every: "day", zone: newYork }, "2026-03-09T03:59:59Z"), "2026-03-08")
    assert.strictEqual(at({ every: "day", zone: newYork }, "2026-03-09T04:00:00Z"), "2026-03-09")
    assert.strictEqual(at({ every: "day", zone: newYork }, "2026-11-02T04:59:59Z"), "2026-11-01")
    assert.strictEqual(at({ every: "week", zone: newYork, startsOn: 0 }, "2026-11-08T04:59:59Z"), "2026-11-01")
    assert.strictEqual(at({ every: "week", zone: newYork, startsOn: 0 }, "2026-11-08T05:00:00Z"), "2026-11-08")
  })

  it("begins at another hour with a zone of that offset", () => {
    const zone = DateTime.zoneMakeOffset(-5 * 3_600_000)
    assert.strictEqual(at({ every: "day", zone }, "2026-11-24T04:59:59Z"), "2026-11-23")
    assert.strictEqual(at({ every: "day", zone }, "2026-11-24T05:00:00Z"), "2026-11-24")
  })
})
