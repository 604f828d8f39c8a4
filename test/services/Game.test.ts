import { assert, describe, it } from "@effect/vitest"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import { TestClock } from "effect/testing"
import { AuthEmbedded } from "xdooria/auth/embedded"
import type { InvalidConfig } from "xdooria/config"
import { GrpcNetwork, layerEmbedded } from "xdooria/grpc"
import { LeaderboardEmbedded } from "xdooria/leaderboard"
import { LoggerTest, LogRecorder } from "xdooria/logger"
import { PgEmbedded } from "xdooria/pg/embedded"
import { Levels, LevelsLive } from "../../src/services/game/Levels.ts"
import { LevelUps, LevelUpsLive } from "../../src/services/game/LevelUps.ts"
import { currencies, format } from "../../src/services/game/Money.ts"
import type { Gain } from "../../src/services/game/Players.ts"
import { ItemName, Shop, ShopLive } from "../../src/services/game/Shop.ts"
import { Push, PushError, Unavailable } from "../../src/services/gateway/Push.ts"
import { PushEmbedded } from "../../src/services/gateway/PushEmbedded.ts"
import * as RealServer from "../support/RealServer.ts"
import { suite } from "./GameContract.ts"

/** The files of a table, as a layer of a table reads it. */
const withText = <A>(table: Layer.Layer<A, InvalidConfig, FileSystem.FileSystem>, text: string) =>
  Layer.build(table.pipe(Layer.provide(FileSystem.layerNoop({ readFileString: () => Effect.succeed(text) }))))

/** How it refuses a table. */
const refusal = <A>(table: Layer.Layer<A, InvalidConfig, FileSystem.FileSystem>, text: string, file: string) =>
  Effect.gen(function* () {
    const error = yield* Effect.flip(Effect.scoped(withText(table, text)))
    assert.strictEqual(error._tag, "InvalidConfig")
    assert.strictEqual(error.reason._tag, "Rejected")
    assert.include(error.message, file)
  })

const amount = (text: string) => Result.getOrThrow(currencies.gold.parse(text))

RealServer.embedded("the game service", () =>
  suite(
    "Game on embedded rooms",
    layerEmbedded({ network: new GrpcNetwork(), rateLimit: 0, attemptTimeout: Duration.seconds(10) }),
    Layer.mergeAll(PgEmbedded, LeaderboardEmbedded, AuthEmbedded, PushEmbedded)
  )
)

describe("Levels", () => {
  const levels = Levels.fromRows([
    { level: 1, exp: 0, gold: amount("0") },
    { level: 2, exp: 10, gold: amount("1.50") },
    { level: 3, exp: 30, gold: amount("2.25") }
  ])

  it.each([
    [0n, 1],
    [9n, 1],
    [10n, 2],
    [29n, 2],
    [30n, 3],
    [2n ** 62n, 3]
  ])("%s exp are level %i", (exp, level) => {
    assert.strictEqual(levels.of(exp), level)
  })

  it.each([
    [1, 1, "0.00"],
    [1, 2, "1.50"],
    [2, 3, "2.25"],
    [1, 3, "3.75"]
  ])("the levels after %i up to %i bring %s gold", (from, to, gold) => {
    assert.strictEqual(currencies.gold.format(levels.goldOf(from, to)), gold)
  })

  it.effect("reads the table of the game", () =>
    Effect.gen(function* () {
      const levels = yield* Levels
      assert.strictEqual(levels.of(0n), 1)
      assert.strictEqual(levels.of(300n), 3)
    }).pipe(Effect.provide(LevelsLive.pipe(Layer.provide(NodeFileSystem.layer))))
  )

  it.effect.each([
    "",
    "[]",
    "{",
    '[{"level":1,"exp":0}]',
    '[{"level":2,"exp":0,"gold":"0"}]',
    '[{"level":1,"exp":5,"gold":"0"}]',
    '[{"level":1,"exp":0,"gold":"1"}]',
    '[{"level":1,"exp":0,"gold":"0"},{"level":2,"exp":0,"gold":"1"}]',
    '[{"level":1,"exp":0,"gold":"0"},{"level":3,"exp":9,"gold":"1"}]',
    '[{"level":1,"exp":0,"gold":"0"},{"level":2,"exp":1.5,"gold":"1"}]',
    '[{"level":1,"exp":0,"gold":"0"},{"level":2,"exp":1,"gold":"-1"}]',
    '[{"level":1,"exp":0,"gold":"0"},{"level":2,"exp":1,"gold":"0.001"}]',
    '[{"level":1,"exp":0,"gold":"0"},{"level":2,"exp":1,"gold":1}]'
  ])("refuses the table %s", (text) => refusal(LevelsLive, text, "levels.json"))

  it.effect("says so when the table cannot be read", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        Effect.scoped(Layer.build(LevelsLive.pipe(Layer.provide(FileSystem.layerNoop({})))))
      )
      assert.strictEqual(error.reason._tag, "Unreadable")
    })
  )
})

describe("Shop", () => {
  it.effect("reads the table of the game", () =>
    Effect.gen(function* () {
      const shop = yield* Shop
      assert.deepStrictEqual(format(shop.priceOf(ItemName.make("potion"))!), { currency: "gold", amount: "2.50" })
      assert.deepStrictEqual(format(shop.priceOf(ItemName.make("mount"))!), { currency: "gems", amount: "30" })
      assert.isUndefined(shop.priceOf(ItemName.make("moon")))
    }).pipe(Effect.provide(ShopLive.pipe(Layer.provide(NodeFileSystem.layer))))
  )

  const row = (item: string, currency: string, amount: string) => ({ item, price: { currency, amount } })

  it.effect.each([
    { rows: [] },
    { rows: [row("a", "gold", "0")] },
    { rows: [row("a", "gold", "-1")] },
    { rows: [row("a", "gold", "0.001")] },
    { rows: [row("a", "gems", "0.5")] },
    { rows: [row("a", "stones", "1")] },
    { rows: [row("A", "gold", "1")] },
    { rows: [row("", "gold", "1")] },
    { rows: [row("a", "gold", "1"), row("a", "gems", "1")] }
  ])("refuses a table (%#)", ({ rows }) => refusal(ShopLive, JSON.stringify(rows), "shop.json"))
})

describe("LevelUps", () => {
  const gain: Gain = {
    player: { id: "p1", name: "x", level: 2, exp: 10n },
    levelsGained: 1,
    gold: amount("1.5"),
    isRepeated: false
  }

  const announced = (send: Push["Service"]["send"]) =>
    Effect.flatMap(LevelUps, ({ announce }) => announce(gain)).pipe(
      Effect.andThen(Effect.yieldNow),
      Effect.andThen(TestClock.adjust("2 seconds")),
      Effect.andThen(Effect.flatMap(LogRecorder, ({ find }) => find(({ level }) => level === "warn"))),
      Effect.provide(LevelUpsLive.pipe(Layer.provide(Layer.mock(Push, { send })), Layer.provideMerge(LoggerTest)))
    )

  it.effect("are lost with a line in the log when they cannot be pushed", () =>
    Effect.gen(function* () {
      const away = new PushError({ reason: new Unavailable({ detail: "ECONNREFUSED" }) })
      assert.include((yield* announced(() => Effect.fail(away))).msg, "could not be pushed")
    })
  )

  it.effect("are given up after 2 seconds, and nobody waits for them", () =>
    Effect.gen(function* () {
      assert.include((yield* announced(() => Effect.never)).msg, "could not be pushed")
    })
  )
})
