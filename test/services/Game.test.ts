import { assert, describe, it } from "@effect/vitest"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import { GrpcEmbedded } from "xdooria/grpc"
import { LeaderboardEmbedded } from "xdooria/leaderboard"
import { PgEmbedded } from "xdooria/pg/embedded"
import { Levels, LevelsLive } from "../../src/services/game/Levels.ts"
import * as RealServer from "../support/RealServer.ts"
import { suite } from "./GameContract.ts"

const withText = (text: string) =>
  Layer.build(LevelsLive.pipe(Layer.provide(FileSystem.layerNoop({ readFileString: () => Effect.succeed(text) }))))

RealServer.embedded("the game service", () =>
  suite("Game on embedded rooms", GrpcEmbedded, Layer.merge(PgEmbedded, LeaderboardEmbedded))
)

describe("Levels", () => {
  const levels = Levels.fromRows([
    { level: 1, exp: 0 },
    { level: 2, exp: 10 },
    { level: 3, exp: 30 }
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
    '[{"level":2,"exp":0}]',
    '[{"level":1,"exp":5}]',
    '[{"level":1,"exp":0},{"level":2,"exp":0}]',
    '[{"level":1,"exp":0},{"level":3,"exp":9}]',
    '[{"level":1,"exp":0},{"level":2,"exp":1.5}]'
  ])("refuses the table %s", (text) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Effect.scoped(withText(text)))
      assert.strictEqual(error._tag, "InvalidConfig")
      assert.strictEqual(error.reason._tag, "Rejected")
      assert.include(error.message, "levels.json")
    })
  )

  it.effect("says so when the table cannot be read", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        Effect.scoped(Layer.build(LevelsLive.pipe(Layer.provide(FileSystem.layerNoop({})))))
      )
      assert.strictEqual(error.reason._tag, "Unreadable")
    })
  )
})
