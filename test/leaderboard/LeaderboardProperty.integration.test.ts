// LeaderboardLive against LeaderboardEmbedded: the same operations, the same answers.
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import { makeEmbedded } from "xdooria/leaderboard"
import { makeLive } from "xdooria/leaderboard/live"
import { suites, withClient } from "../support/RedisBackends.ts"
import { boardOf, kinds, look, operation, perform } from "./Operations.ts"

suites("LeaderboardLive", (options) => {
  for (const [seed, kind] of kinds.entries()) {
    it.live(`answers as LeaderboardEmbedded does: ${kind.ties}, ${kind.order}, ${kind.score}`, () =>
      withClient(options)(
        Effect.gen(function* () {
          const [live, embedded] = [yield* makeLive, yield* makeEmbedded]
          const board = boardOf(kind)
          for (let i = 0; i < 120; i++) {
            const one = yield* operation(kind)
            const expected = yield* perform(embedded, board, one)
            assert.deepStrictEqual(yield* perform(live, board, one), expected, `${i}: ${one.do} ${one.member}`)
            if (i % 15 !== 0) continue
            assert.deepStrictEqual(yield* look(live, board), yield* look(embedded, board))
          }
        })
      ).pipe(Random.withSeed(seed + 100))
    )
  }
})
