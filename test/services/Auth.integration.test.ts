import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { GrpcClientLive, GrpcServerLive } from "xdooria/grpc/live"
import { layerLive } from "xdooria/pg/live"
import { SessionLive } from "xdooria/session/live"
import { AuthLive } from "../../src/auth/AuthLive.ts"
import { client, single } from "../support/RedisBackends.ts"
import * as RealServer from "../support/RealServer.ts"
import * as TemporaryDatabase from "../support/TemporaryDatabase.ts"
import { suite } from "./AuthContract.ts"

RealServer.suite("postgres", "the auth service on a real PostgreSQL", (postgres) =>
  RealServer.suite("redis", "and a real Redis", (redis) => {
    const database = Effect.map(TemporaryDatabase.make(postgres), (server) =>
      layerLive({ ...server, password: Redacted.make(server.password) })
    )
    suite(
      "Auth on live rooms",
      Layer.merge(GrpcServerLive, GrpcClientLive),
      Layer.merge(
        Layer.unwrap(database),
        Layer.provide(Layer.merge(AuthLive, SessionLive), Layer.effectContext(client(single(redis))))
      )
    )
  })
)
