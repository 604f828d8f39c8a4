import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Leaderboard } from "xdooria/leaderboard"
import { makeLive } from "xdooria/leaderboard/live"
import { client, suites } from "../support/RedisBackends.ts"
import { suite } from "./LeaderboardContract.ts"

suites("LeaderboardLive", (options) =>
  suite(
    "on real servers",
    Layer.effect(
      Leaderboard,
      Effect.flatMap(client(options), (redis) => Effect.provide(makeLive, redis))
    ),
    { clock: "live" }
  )
)
