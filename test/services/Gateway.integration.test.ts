import * as Layer from "effect/Layer"
import { AuthLive } from "xdooria/auth/live"
import { GrpcClientLive, GrpcServerLive } from "xdooria/grpc/live"
import { RegistryEmbedded } from "xdooria/registry"
import { SessionLive } from "xdooria/session/live"
import { PushLive } from "../../src/services/gateway/PushLive.ts"
import { client, cluster, type Options, single } from "../support/RedisBackends.ts"
import * as RealServer from "../support/RealServer.ts"
import { suite } from "./GatewayContract.ts"

const backend = (options: Options) => ({
  transport: Layer.merge(GrpcServerLive, GrpcClientLive),
  rooms: Layer.merge(
    Layer.mergeAll(AuthLive, SessionLive, PushLive).pipe(Layer.provide(Layer.effectContext(client(options)))),
    RegistryEmbedded
  ),
  clock: "live" as const
})

RealServer.suite("redis", "the gateway on sockets and a real Redis", (address) =>
  suite("Gateway on live rooms", backend(single(address)))
)

RealServer.suite("redisCluster", "the gateway on sockets and a real cluster", ({ nodes }) =>
  suite("Gateway on live rooms", backend(cluster(nodes)))
)
