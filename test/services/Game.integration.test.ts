import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { AuthLive } from "xdooria/auth/live"
import { GrpcClientLive, GrpcServerLive } from "xdooria/grpc/live"
import { LeaderboardLive } from "xdooria/leaderboard/live"
import { layerLive } from "xdooria/pg/live"
import { PushLive } from "../../src/services/gateway/PushLive.ts"
import { client, single } from "../support/RedisBackends.ts"
import * as RealServer from "../support/RealServer.ts"
import * as TemporaryDatabase from "../support/TemporaryDatabase.ts"
import { suite } from "./GameContract.ts"

RealServer.suite("postgres", "the game service on a real PostgreSQL", (postgres) =>
  RealServer.suite("redis", "and a real Redis", (redis) => {
    const database = Effect.map(TemporaryDatabase.make(postgres), (server) =>
      layerLive({ ...server, password: Redacted.make(server.password) })
    )
    suite(
      "Game on live rooms",
      Layer.merge(GrpcServerLive, GrpcClientLive),
      Layer.merge(
        Layer.unwrap(database),
        Layer.mergeAll(LeaderboardLive, AuthLive, PushLive).pipe(
          Layer.provide(Layer.effectContext(client(single(redis))))
        )
      )
    )
  })
)
