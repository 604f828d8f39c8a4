import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { Grpc, GrpcServer } from "xdooria/grpc"
import { layerClientLive, layerServerLive } from "xdooria/grpc/live"
// Written by `npm run gen` from proto/game.proto.
import { GameServiceService } from "../../src/gen/game.ts"

// An error that crosses the wire: the same class on both sides, NOT_FOUND for a caller without it.
class PlayerNotFound extends Grpc.TaggedError<PlayerNotFound>()(
  "PlayerNotFound",
  { playerId: Schema.String },
  { status: "NOT_FOUND", message: ({ playerId }) => `no player ${playerId}` }
) {}

// What a method may fail with, once for server and client. All methods of the service, or some of them.
const { getPlayer, healthCheck } = GameServiceService
const GameApi = Grpc.api(
  { getPlayer, healthCheck },
  {
    healthCheck: { public: true },
    getPlayer: { errors: [PlayerNotFound], idempotent: true, public: true }
  }
)

// The server's side: one function for each method. Another error than PlayerNotFound would not compile.
const GameHandlers = Grpc.handlers(
  GameApi,
  Effect.gen(function* () {
    const names = new Map([["p1", "Ann"]])
    return {
      healthCheck: () => Effect.succeed({ status: "SERVING" }),
      getPlayer: Effect.fnUntraced(function* ({ playerId }) {
        const name = names.get(playerId)
        if (name === undefined) return yield* new PlayerNotFound({ playerId })
        return { player: { id: playerId, name, level: 1, exp: 0n } }
      })
    }
  })
)

// The client's side.
const program = Effect.gen(function* () {
  const { address } = yield* GrpcServer
  const game = yield* Grpc.client(GameApi, { target: yield* address })
  const { player } = yield* game.getPlayer({ playerId: "p1" })
  yield* Console.log(`p1 is ${player?.name}`)
  const absent = yield* game.getPlayer({ playerId: "p2" }, { deadline: "1 second" }).pipe(
    Effect.as("p2 is there"),
    Effect.catchTag("PlayerNotFound", (error) => Effect.succeed(error.message))
  )
  yield* Console.log(absent)
}).pipe(Effect.scoped)

// The root: a server on a free port of loopback, and a client.
const Live = GrpcServer.serve(GameHandlers).pipe(
  Layer.provideMerge(Layer.merge(layerServerLive({ port: 0 }), layerClientLive()))
)

await Effect.runPromise(Effect.provide(program, Live))
