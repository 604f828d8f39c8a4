import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { ConfigTest } from "xdooria/config"
import { Authenticator, Grpc, GrpcNetwork, GrpcServer, layerEmbedded, Principal } from "xdooria/grpc"
import { Registry, RegistryEmbedded } from "xdooria/registry"
// Generated from proto/auth.proto and proto/game.proto.
import { AuthServiceService } from "../../src/gen/auth.ts"
import { GameServiceService } from "../../src/gen/game.ts"

// In a test of a service, its own app.ts and the api.ts of the one that it asks are in place of these.
const AuthApi = Grpc.api({ whoami: AuthServiceService.whoami }, { whoami: {} })
const GameApi = Grpc.api({ getProfile: GameServiceService.getProfile }, { getProfile: {} })
const GameApp = Registry.layerSelf(GameApi.service).pipe(
  Layer.provideMerge(
    GrpcServer.serve(
      Grpc.handlers(
        GameApi,
        Effect.map(Registry.client(AuthApi, { identity: "carry" }), (auth) => ({
          getProfile: () =>
            Effect.map(Effect.orDie(auth.whoami({})), ({ account }) => ({
              player: undefined,
              accountName: account?.name ?? "",
              accountCreatedAt: 0n
            }))
        }))
      )
    )
  )
)

// The service that is asked answers as the test wants, on a server of its own (`Layer.fresh`) in the same network.
const transport = layerEmbedded({ network: new GrpcNetwork() })
const asked = Registry.layerSelf(AuthApi.service).pipe(
  Layer.provideMerge(
    GrpcServer.serve(
      Grpc.handlers(
        AuthApi,
        Effect.succeed({
          whoami: () =>
            Effect.map(Principal, ({ playerId }) => ({
              account: { playerId, name: `name of ${playerId}`, roles: [], createdAt: 0n }
            }))
        })
      )
    )
  ),
  Layer.provide(Layer.fresh(transport))
)
const GameTest = GameApp.pipe(
  Layer.provideMerge(transport),
  Layer.provideMerge(asked),
  Layer.provideMerge(RegistryEmbedded),
  Layer.provideMerge(Authenticator.layerStatic({ "token-of-ann": { playerId: "ann", roles: [], tokenId: "t1" } })),
  Layer.provideMerge(ConfigTest({}))
)

const program = Effect.gen(function* () {
  const game = yield* Registry.client(GameApi)
  const profile = yield* game.getProfile({}, { metadata: { authorization: "Bearer token-of-ann" } })
  yield* Console.log(profile.accountName)
})

await Effect.runPromise(Effect.provide(Effect.scoped(program), GameTest))
