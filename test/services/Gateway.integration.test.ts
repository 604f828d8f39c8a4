import { assert, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { AuthLive } from "xdooria/auth/live"
import { GrpcClientLive, GrpcServerLive } from "xdooria/grpc/live"
import { Redis } from "xdooria/redis"
import { RegistryEmbedded } from "xdooria/registry"
import { SessionLive } from "xdooria/session/live"
import { PushLive } from "../../src/services/gateway/PushLive.ts"
import { client, cluster, driver, type Options, single } from "../support/RedisBackends.ts"
import * as RealServer from "../support/RealServer.ts"
import { connect, fleet, hello, isPushed, sequencesOf, suite, times } from "./GatewayContract.ts"

const backend = (redis: Layer.Layer<Redis, Effect.Error<ReturnType<typeof client>>>) => ({
  transport: Layer.merge(GrpcServerLive, GrpcClientLive),
  rooms: Layer.merge(Layer.mergeAll(AuthLive, SessionLive, PushLive).pipe(Layer.provide(redis)), RegistryEmbedded),
  clock: "live" as const
})

const own = (options: Options) => backend(Layer.effectContext(client(options)))

RealServer.suite("redis", "the gateway on sockets and a real Redis", (address) => {
  suite("Gateway on live rooms", own(single(address)))

  it.live("tells who is connected, and who comes back, that its messages were lost with the store", () =>
    Effect.gen(function* () {
      const redis = yield* client(single(address))
      const { keyPrefix } = Context.get(redis, Redis)
      const native = yield* driver(single(address))
      const { open, player, send } = yield* fleet(backend(Layer.succeedContext(redis)))
      const gateway = yield* open
      const { playerId, token } = yield* player()
      const lose = Effect.promise(() =>
        native.del(
          ["xd:push", "xd:push-series"].map((words) => `${keyPrefix}${words}:{${keyPrefix}session:${playerId}}`)
        )
      )
      const one = yield* connect(gateway, token)
      yield* one.welcome
      yield* Effect.forEach(times(3), (n) => send(playerId, n))
      yield* one.received.atLeast(3, isPushed)
      yield* lose
      yield* send(playerId, 1)
      yield* one.received.atLeast(4, isPushed)
      assert.deepStrictEqual(sequencesOf(yield* one.received.all), [1, 2, 3, 1])
      const welcomes = (yield* one.received.all).flatMap((message) =>
        message.$case === "welcome" ? [message.welcome] : []
      )
      assert.deepStrictEqual(
        welcomes.map(({ missed }) => missed),
        [false, false, true]
      )
      const { series } = welcomes.at(-1)!
      yield* one.cut
      yield* lose
      yield* Effect.forEach(times(4), (n) => send(playerId, n))
      const two = yield* connect(gateway, token, { first: [hello(1, "", series)] })
      assert.deepInclude(yield* two.welcome, { sequence: 0n, missed: true })
      assert.deepStrictEqual(sequencesOf(yield* two.received.atLeast(4, isPushed)), times(4))
    }).pipe(Effect.scoped)
  )
})

RealServer.suite("redisCluster", "the gateway on sockets and a real cluster", ({ nodes }) =>
  suite("Gateway on live rooms", own(cluster(nodes)))
)
