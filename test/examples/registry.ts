import * as Console from "effect/Console"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { ConfigTest } from "xdooria/config"
import { Grpc, GrpcServer } from "xdooria/grpc"
import { layerClientLive, layerServerLive } from "xdooria/grpc/live"
import { Registry, RegistryEmbedded } from "xdooria/registry"
// Written by `npm run gen` from proto/game.proto; yours by buf with ts-proto and the options of our buf.gen.yaml.
import { GameServiceService } from "../../src/gen/game.ts"

const { healthCheck } = GameServiceService
const GameApi = Grpc.api({ healthCheck }, { healthCheck: { public: true, idempotent: true } })

// An instance: a server on a free port that is in the registry while it serves. Others find it by the name of the service.
const instance = (status: string) =>
  Registry.layerSelf("game-service").pipe(
    Layer.provideMerge(
      GrpcServer.serve(Grpc.handlers(GameApi, Effect.succeed({ healthCheck: () => Effect.succeed({ status }) })))
    ),
    Layer.provide(layerServerLive({ port: 0, env: "dev", drainDelay: Duration.zero }))
  )

const program = Effect.gen(function* () {
  const registry = yield* Registry
  // Calls the live instances of game-service, wherever they are.
  const game = yield* Registry.client(GameApi)

  // What anybody sees who watches.
  yield* registry.watch("game-service").pipe(
    Stream.runForEach(({ endpoints }) => Console.log(`${endpoints.length} instances`)),
    Effect.forkScoped
  )

  yield* Effect.scoped(
    Effect.gen(function* () {
      yield* Layer.build(Layer.mergeAll(instance("blue"), instance("green")))
      // Until both have answered. A call that comes before the first instance waits for it.
      const seen = new Set<string>()
      const answer = game.healthCheck({}, { waitForReady: true })
      const call = Effect.map(answer, ({ status }) => seen.add(status).size === 2)
      yield* Effect.repeat(call, { until: (isDone) => isDone, schedule: Schedule.spaced("10 millis") })
      yield* Console.log(`answered: ${[...seen].toSorted().join(" and ")}`)
    })
  )
  yield* Console.log(`${(yield* registry.discover("game-service")).endpoints.length} instances are left`)
})

// A service has RegistryLive here, and finds the instances of all processes.
const Infra = Layer.mergeAll(RegistryEmbedded, layerClientLive()).pipe(Layer.provideMerge(ConfigTest({})))
await Effect.runPromise(Effect.provide(Effect.scoped(program), Infra))
