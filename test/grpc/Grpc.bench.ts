// Our server against bare grpc-js: 64 calls at once on one connection, messages of about 100 bytes.
import * as grpc from "@grpc/grpc-js"
import { loadSync } from "@grpc/proto-loader"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Grpc, GrpcServer } from "xdooria/grpc"
import { layerServerLive } from "xdooria/grpc/live"
import { layerLive } from "xdooria/logger/live"
import * as Bench from "../bench/Bench.ts"
import { PlayerService } from "./Game.ts"

const playerId = "p".repeat(90)

const bare = Effect.map(
  Effect.acquireRelease(
    Effect.callback<readonly [grpc.Server, string]>((resume) => {
      const { game } = grpc.loadPackageDefinition(loadSync("game.proto", { keepCase: true, includeDirs: ["proto"] }))
      const { service } = (game as grpc.GrpcObject)["GameService"] as grpc.ServiceClientConstructor
      const server = new grpc.Server()
      server.addService(service, {
        getPlayer: (
          call: grpc.ServerUnaryCall<{ readonly player_id: string }, unknown>,
          reply: grpc.sendUnaryData<unknown>
        ) => reply(null, { player: { id: call.request.player_id, name: "Ann", level: 7, exp: 300 } })
      })
      server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (_, port) =>
        resume(Effect.succeed([server, `127.0.0.1:${port}`]))
      )
    }),
    ([server]) => Effect.sync(() => server.forceShutdown())
  ),
  ([, address]) => address
)

const GameApi = Grpc.api(PlayerService, {
  getPlayer: { idempotent: true, public: true },
  healthCheck: { public: true },
  createPlayer: { public: true },
  gainExp: { public: true }
})

const GameHandlers = Grpc.handlers(
  GameApi,
  Effect.succeed({
    getPlayer: Effect.fnUntraced(function* ({ playerId }) {
      return yield* Effect.succeed({ player: { id: playerId, name: "Ann", level: 7, exp: 300n } })
    }),
    healthCheck: () => Effect.die("not called"),
    createPlayer: () => Effect.die("not called"),
    gainExp: () => Effect.die("not called")
  })
)

/** Lines are built as in production, and dropped. */
const nullSink = layerLive({
  service: "bench",
  level: "info",
  format: "json",
  outputPath: "",
  sink: { write: () => {} }
})

const ours = Effect.gen(function* () {
  const context = yield* Layer.build(
    GrpcServer.serve(GameHandlers).pipe(Layer.provideMerge(layerServerLive({ port: 0 })), Layer.provide(nullSink))
  )
  return yield* Context.get(context, GrpcServer).address
})

/** The same client for both, so that the ratio is the server's. */
const load = (address: string) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => new grpc.Client(address, grpc.credentials.createInsecure())),
      (client) => Effect.sync(() => client.close())
    ),
    (client) => {
      const { path, requestSerialize, responseDeserialize } = PlayerService.getPlayer
      return Bench.promises(
        64,
        () =>
          new Promise((resolve, reject) =>
            client.makeUnaryRequest(path, requestSerialize, responseDeserialize, { playerId }, (error, value) =>
              error === null ? resolve(value) : reject(error)
            )
          )
      )
    }
  )

export default [
  Bench.servers({
    name: "unary, 64 calls at once, 100 bytes: our server with recovery, limits and access log",
    baseline: "grpc-js",
    candidates: { "grpc-js": bare, xdooria: ours },
    load,
    targets: { xdooria: { throughput: 0.9 } }
  })
]
