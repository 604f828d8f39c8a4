import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Authenticator, Grpc, GrpcEmbedded, GrpcServer, Principal } from "xdooria/grpc"
import { ConfigTest } from "xdooria/config"
// Written by `npm run gen` from proto/game.proto.
import { GameServiceService } from "../../src/gen/game.ts"

// A service with all four kinds of methods. A .proto file gives this as well (`rpc Train(stream GainExpRequest) ...`);
// here the messages of the game service do.
const { gainExp, getPlayer } = GameServiceService
const CampService = {
  getPlayer: { ...getPlayer, path: "/camp.Camp/GetPlayer" },
  watch: { ...getPlayer, path: "/camp.Camp/Watch", responseStream: true },
  train: { ...gainExp, path: "/camp.Camp/Train", requestStream: true },
  spar: { ...gainExp, path: "/camp.Camp/Spar", requestStream: true, responseStream: true }
} as const

class Exhausted extends Grpc.TaggedError<Exhausted>()("Exhausted", { after: Schema.Int }, { status: "ABORTED" }) {}

// No method is public, so each has a caller and the server needs an Authenticator.
const CampApi = Grpc.api(CampService, { spar: { errors: [Exhausted] } })

const player = (id: string, exp: bigint) => ({ id, name: id, level: 1, exp })

// A request is a value or a Stream of them, and so is what the function gives.
const Handlers = Grpc.handlers(
  CampApi,
  Effect.succeed({
    getPlayer: () => Effect.map(Principal, ({ playerId }) => ({ player: player(playerId, 0n) })),

    watch: ({ playerId }) => Stream.map(Stream.range(1, 3), (day) => ({ player: player(playerId, BigInt(day) * 10n) })),

    // The client sends as fast as this reads: what waits in between is bounded.
    train: (gains) =>
      Stream.runFold(
        gains,
        () => 0n,
        (sum, { amount }) => sum + amount
      ).pipe(Effect.map((sum) => ({ player: player("ann", sum), levelsGained: 0 }))),

    // Each request is answered as it comes, and the fourth is one too many.
    spar: (gains) =>
      gains.pipe(
        Stream.zipWithIndex,
        Stream.mapEffect(([{ amount }, i]) =>
          i < 3
            ? Effect.succeed({ player: player("ann", amount), levelsGained: 0 })
            : Effect.fail(new Exhausted({ after: i }))
        )
      )
  })
)

// Goes around every handler, behind the standard chain: it knows the call and who makes it.
const announce = Grpc.middleware({
  wrap: (next) =>
    Effect.gen(function* () {
      const { method } = yield* Grpc.Call
      const { playerId } = yield* Principal
      yield* Console.log(`${playerId} calls ${method}`)
      return yield* next
    })
})

const CampHandlers = Grpc.use(Handlers, announce)

const gains = (...amounts: ReadonlyArray<bigint>) =>
  Stream.fromIterable(amounts.map((amount, i) => ({ playerId: "ann", requestId: `r${i}`, amount })))

const program = Effect.gen(function* () {
  const { address } = yield* GrpcServer
  const camp = yield* Grpc.client(CampApi, { target: yield* address })
  const asAnn = { metadata: { authorization: "Bearer ann's token" } }

  const { player } = yield* camp.getPlayer({ playerId: "" }, asAnn)
  yield* Console.log(`the caller is ${player?.name}`)

  const days = yield* Stream.runCollect(camp.watch({ playerId: "ann" }, asAnn))
  yield* Console.log(`watched: ${days.map(({ player }) => player?.exp).join(", ")}`)

  const trained = yield* camp.train(gains(5n, 6n, 7n), asAnn)
  yield* Console.log(`trained: ${trained.player?.exp}`)

  // An error of a stream arrives behind what was sent before it.
  yield* camp.spar(gains(1n, 2n, 3n, 4n, 5n), asAnn).pipe(
    Stream.runForEach(({ player }) => Console.log(`sparred: ${player?.exp}`)),
    Effect.catchTag("Exhausted", ({ after }) => Console.log(`exhausted after ${after}`))
  )

  const refused = yield* Effect.flip(camp.getPlayer({ playerId: "" }))
  yield* Console.log(`without a token: ${refused.reason._tag}`)
}).pipe(Effect.scoped)

// The root: server and client in this process, without a socket. With GrpcServerLive and GrpcClientLive in the place of
// GrpcEmbedded it is the same on a port.
const Root = GrpcServer.serve(CampHandlers).pipe(
  Layer.provideMerge(GrpcEmbedded),
  Layer.provide(Authenticator.layerStatic({ "ann's token": { playerId: "ann", roles: [], tokenId: "t1" } })),
  Layer.provide(ConfigTest({}))
)

await Effect.runPromise(Effect.provide(program, Root))
