import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { assertType, describe, expectTypeOf, test } from "vitest"
import { type Authenticator, Grpc, type GrpcClient, type GrpcError, GrpcServer, Principal } from "xdooria/grpc"
import type { GetPlayerResponse } from "../../src/gen/game.ts"
import { PlayerService, StreamService } from "./Game.ts"

class PlayerNotFound extends Grpc.TaggedError<PlayerNotFound>()(
  "PlayerNotFound",
  { playerId: Schema.String },
  { status: "NOT_FOUND", message: (error) => `no player ${error.playerId}` }
) {}

class Other extends Grpc.TaggedError<Other>()("Other", {}, { status: "ABORTED" }) {}

class Players extends Context.Service<Players, { readonly level: Effect.Effect<number, PlayerNotFound> }>()(
  "Players"
) {}
class Audit extends Context.Service<Audit, { readonly note: Effect.Effect<void> }>()("Audit") {}
class Refused extends Schema.TaggedError<Refused>()("Refused", {}) {}

const GameApi = Grpc.api(PlayerService, {
  getPlayer: { errors: [PlayerNotFound], idempotent: true, public: true },
  healthCheck: { public: true },
  createPlayer: { public: true },
  gainExp: { public: true }
})

type Names = keyof typeof PlayerService
type StreamNames = keyof typeof StreamService

const rest = {
  healthCheck: () => Effect.succeed({ status: "SERVING" }),
  createPlayer: () => Effect.succeed({ player: undefined }),
  gainExp: () => Effect.succeed({ player: undefined, levelsGained: 0 })
}

const player = { player: undefined }

describe("handlers", () => {
  test("collect what their building and their methods fail with and need", () => {
    const GameHandlers = Grpc.handlers(
      GameApi,
      Effect.gen(function* () {
        const players = yield* Players
        if (Math.random() > 1) return yield* new Refused()
        return {
          ...rest,
          getPlayer: Effect.fnUntraced(function* (request) {
            expectTypeOf(request.playerId).toEqualTypeOf<string>()
            const audit = yield* Audit
            yield* audit.note
            return { player: { id: request.playerId, name: "", level: yield* players.level, exp: 0n } }
          })
        }
      })
    )
    expectTypeOf(GameHandlers).toEqualTypeOf<Grpc.Handlers<Refused, Players | Audit, Names, Names>>()
    expectTypeOf(GrpcServer.serve(GameHandlers, { descriptors: "" })).toEqualTypeOf<
      Layer.Layer<never, GrpcError | Refused, GrpcServer | Players | Audit>
    >()
  })

  test("do not put a call's resources into the server's scope", () => {
    const scoped = Grpc.handlers(
      GameApi,
      Effect.gen(function* () {
        yield* Effect.addFinalizer(() => Effect.void)
        return {
          ...rest,
          getPlayer: () =>
            Effect.as(
              Effect.addFinalizer(() => Effect.void),
              player
            )
        }
      })
    )
    // The Scope of the handler stays, and no layer provides one: `Effect.scoped` is missing in it.
    expectTypeOf(scoped).toEqualTypeOf<Grpc.Handlers<never, Scope.Scope, Names, Names>>()
    const building = Grpc.handlers(
      GameApi,
      Effect.gen(function* () {
        yield* Effect.addFinalizer(() => Effect.void)
        return { ...rest, getPlayer: () => Effect.succeed(player) }
      })
    )
    expectTypeOf(building).toEqualTypeOf<Grpc.Handlers<never, never, Names, Names>>()
  })

  test("may not fail with what their method does not declare", () => {
    // @ts-expect-error Other is not declared
    Grpc.handlers(GameApi, Effect.succeed({ ...rest, getPlayer: () => Effect.fail(new Other()) }))
    Grpc.handlers(
      GameApi,
      // @ts-expect-error healthCheck declares no errors
      Effect.succeed({
        ...rest,
        healthCheck: () => new PlayerNotFound({ playerId: "" }),
        getPlayer: () => Effect.succeed(player)
      })
    )
    Grpc.handlers(GameApi, Effect.succeed({ ...rest, getPlayer: () => new PlayerNotFound({ playerId: "" }) }))
  })

  test("are complete, exact and give the method's response", () => {
    // @ts-expect-error getPlayer is missing
    Grpc.handlers(GameApi, Effect.succeed(rest))
    const misspelled = { ...rest, getPlayer: () => Effect.succeed(player), getPlayers: rest.gainExp }
    // @ts-expect-error there is no method getPlayers
    Grpc.handlers(GameApi, Effect.succeed(misspelled))
    // @ts-expect-error a response of the wrong type
    Grpc.handlers(GameApi, Effect.succeed({ ...rest, getPlayer: () => Effect.succeed({ player: 1 }) }))
  })
})

describe("api", () => {
  test("takes rules for its own methods only, with declared error classes only", () => {
    // @ts-expect-error there is no method getPlayers
    Grpc.api(PlayerService, { getPlayers: {} })
    // @ts-expect-error an error without a gRPC status
    Grpc.api(PlayerService, { getPlayer: { errors: [Refused] } })
  })
})

describe("client", () => {
  test("has the method's types and declared errors", () => {
    const program = Effect.gen(function* () {
      const game = yield* Grpc.client(GameApi)
      expectTypeOf(game.getPlayer({ playerId: "a" })).toEqualTypeOf<
        Effect.Effect<GetPlayerResponse, PlayerNotFound | GrpcError>
      >()
      expectTypeOf(game.healthCheck({})).toEqualTypeOf<Effect.Effect<{ status: string }, GrpcError>>()
      // @ts-expect-error a request of the wrong type
      game.getPlayer({ playerId: 1 })
      return yield* game.getPlayer({ playerId: "a" }, { deadline: "1 second" })
    })
    assertType<Effect.Effect<GetPlayerResponse, PlayerNotFound | GrpcError, GrpcClient | Scope.Scope>>(program)
  })
})

describe("declared errors", () => {
  test("know their tag, their fields and their message", () => {
    const error = new PlayerNotFound({ playerId: "a" })
    expectTypeOf(error._tag).toEqualTypeOf<"PlayerNotFound">()
    expectTypeOf(error.playerId).toEqualTypeOf<string>()
    // @ts-expect-error a field of the wrong type
    void new PlayerNotFound({ playerId: 1 })
    // @ts-expect-error OK is not an error
    Grpc.TaggedError<Other>()("Other", {}, { status: "OK" })
  })
})

describe("streams", () => {
  const StreamApi = Grpc.api(StreamService, {
    watch: { errors: [PlayerNotFound], public: true },
    sum: { errors: [PlayerNotFound], public: true },
    talk: { errors: [PlayerNotFound], public: true }
  })

  test("are Streams in a handler, with what they need and fail with", () => {
    const served = Grpc.handlers(
      StreamApi,
      Effect.succeed({
        watch: ({ playerId }) => Stream.fromEffect(Effect.as(Audit, { player: undefined, playerId })),
        sum: (requests) => {
          expectTypeOf(requests).toEqualTypeOf<Stream.Stream<{ playerId: string }>>()
          return Effect.as(Stream.runDrain(requests), { player: undefined })
        },
        talk: (requests) =>
          Stream.mapEffect(requests, ({ playerId }) => Effect.andThen(Players, new PlayerNotFound({ playerId })))
      })
    )
    expectTypeOf(served).toEqualTypeOf<Grpc.Handlers<never, Audit | Players, StreamNames, StreamNames>>()
    const { sum, talk } = {
      sum: () => Effect.succeed({ player: undefined }),
      talk: () => Stream.empty
    }
    // @ts-expect-error watch gives a Stream
    Grpc.handlers(StreamApi, Effect.succeed({ sum, talk, watch: () => Effect.succeed({ player: undefined }) }))
    // @ts-expect-error Other is not declared
    Grpc.handlers(StreamApi, Effect.succeed({ sum, talk, watch: () => Stream.fail(new Other()) }))
  })

  test("are Streams of a client, that fail as their requests do, too", () => {
    void Effect.gen(function* () {
      const client = yield* Grpc.client(StreamApi)
      expectTypeOf(client.watch({ playerId: "a" })).toEqualTypeOf<
        Stream.Stream<GetPlayerResponse, PlayerNotFound | GrpcError>
      >()
      const requests = Stream.fromEffect(Effect.andThen(Audit, new Refused()))
      expectTypeOf(client.sum(Stream.drain(requests))).toEqualTypeOf<
        Effect.Effect<GetPlayerResponse, PlayerNotFound | GrpcError | Refused, Audit>
      >()
      expectTypeOf(client.talk(Stream.succeed({ playerId: "a" }))).toEqualTypeOf<
        Stream.Stream<GetPlayerResponse, PlayerNotFound | GrpcError>
      >()
      // @ts-expect-error a request of the wrong type
      client.talk(Stream.succeed({ playerId: 1 }))
    })
  })
})

describe("the caller", () => {
  const Api = Grpc.api(PlayerService, { healthCheck: { public: true } })
  const methods = { ...rest, getPlayer: () => Effect.succeed(player) }

  test("is known in a method that is not public, which needs an Authenticator for it", () => {
    const served = Grpc.handlers(Api, Effect.succeed({ ...methods, getPlayer: () => Effect.as(Principal, player) }))
    expectTypeOf(served).toEqualTypeOf<Grpc.Handlers<never, Authenticator, Names, "healthCheck">>()
  })

  test("is unknown in a public one", () => {
    Grpc.handlers(
      // @ts-expect-error healthCheck is public: the compiler names it, and says so
      Api,
      Effect.succeed({ ...methods, healthCheck: () => Effect.as(Principal, { status: "" }) })
    )
  })
})

describe("a schema of requests", () => {
  const Id = Schema.String.pipe(Schema.brand("Id"))

  test("gives its type to the handler, not to the client", () => {
    const Api = Grpc.api(
      { getPlayer: PlayerService.getPlayer },
      { getPlayer: { request: Schema.Struct({ playerId: Id }), public: true } }
    )
    Grpc.handlers(
      Api,
      Effect.succeed({
        getPlayer: (request) => {
          expectTypeOf(request.playerId).toEqualTypeOf<typeof Id.Type>()
          return Effect.succeed(player)
        }
      })
    )
    expectTypeOf<Parameters<Grpc.Client<typeof Api>["getPlayer"]>[0]>().toEqualTypeOf<{ playerId: string }>()
  })

  test("fits the request", () => {
    // @ts-expect-error there is no field id
    Grpc.api(PlayerService, { getPlayer: { request: Schema.Struct({ id: Id }) } })
  })
})

describe("a middleware", () => {
  const clock = Grpc.middleware({
    wrap: (next: Effect.Effect<Grpc.Served, Grpc.DomainError, Audit>) =>
      Effect.flatMap(Players, () => Effect.provideService(next, Audit, { note: Effect.void }))
  })
  const served = Grpc.handlers(
    GameApi,
    Effect.succeed({ ...rest, getPlayer: () => Effect.andThen(Audit, Effect.succeed(player)) })
  )

  test("gives to the handlers, and needs by itself", () => {
    expectTypeOf(Grpc.use(served, clock)).toEqualTypeOf<Grpc.Handlers<never, Players, Names, Names>>()
  })

  test("goes around methods that there are", () => {
    Grpc.use(served, clock, { methods: ["getPlayer"] })
    // @ts-expect-error there is no method getPlayers
    Grpc.use(served, clock, { methods: ["getPlayers"] })
  })

  test("knows no caller around public methods", () => {
    const known = Grpc.middleware({ wrap: (next) => Effect.andThen(Principal, next) })
    const Api = Grpc.api(PlayerService, { healthCheck: { public: true } })
    const mixed = Grpc.handlers(Api, Effect.succeed({ ...rest, getPlayer: () => Effect.succeed(player) }))
    // @ts-expect-error healthCheck is public
    Grpc.use(mixed, known)
    // @ts-expect-error healthCheck is public
    Grpc.use(mixed, known, { methods: ["getPlayer", "healthCheck"] })
    const around = Grpc.use(mixed, known, { methods: ["getPlayer", "gainExp"] })
    expectTypeOf(around).toEqualTypeOf<Grpc.Handlers<never, Authenticator, Names, "healthCheck">>()
    // @ts-expect-error it is so behind another middleware, too
    Grpc.use(around, known)
    // It may ask whether there is one.
    Grpc.use(mixed, Grpc.middleware({ wrap: (next) => Effect.andThen(Effect.serviceOption(Principal), next) }))
    const { getPlayer } = PlayerService
    const own = Grpc.handlers(Grpc.api({ getPlayer }, {}), Effect.succeed({ getPlayer: () => Effect.succeed(player) }))
    Grpc.use(own, known)
  })

  test("fails with what it says only", () => {
    Grpc.middleware({ errors: [PlayerNotFound], wrap: () => new PlayerNotFound({ playerId: "" }) })
  })
})

describe("forward", () => {
  test("needs an Authenticator unless all is public", () => {
    const mixed = Grpc.api(PlayerService, { healthCheck: { public: true } })
    expectTypeOf(Grpc.forward(mixed, {})).toEqualTypeOf<
      Grpc.Handlers<GrpcError, GrpcClient | Authenticator, Names, "healthCheck">
    >()
    const { healthCheck } = PlayerService
    const open = Grpc.api({ healthCheck }, { healthCheck: { public: true } })
    expectTypeOf(Grpc.forward(open, {})).toEqualTypeOf<
      Grpc.Handlers<GrpcError, GrpcClient, "healthCheck", "healthCheck">
    >()
  })
})
