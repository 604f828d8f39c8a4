import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { assertType, describe, expectTypeOf, test } from "vitest"
import { Grpc, type GrpcClient, type GrpcError, GrpcServer } from "xdooria/grpc"
import type { GetPlayerResponse } from "../../src/gen/game.ts"
import { PlayerService } from "./Game.ts"

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
  getPlayer: { errors: [PlayerNotFound], idempotent: true },
  healthCheck: {}
})

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
    expectTypeOf(GameHandlers).toEqualTypeOf<Grpc.Handlers<Refused, Players | Audit>>()
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
    expectTypeOf(scoped).toEqualTypeOf<Grpc.Handlers<never, Scope.Scope>>()
    const building = Grpc.handlers(
      GameApi,
      Effect.gen(function* () {
        yield* Effect.addFinalizer(() => Effect.void)
        return { ...rest, getPlayer: () => Effect.succeed(player) }
      })
    )
    expectTypeOf(building).toEqualTypeOf<Grpc.Handlers<never, never>>()
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

  test("takes no service with streams", () => {
    const { getPlayer } = PlayerService
    // @ts-expect-error the response is a stream
    Grpc.api({ getPlayer: { ...getPlayer, responseStream: true as const } }, {})
    // @ts-expect-error the request is a stream
    Grpc.api({ getPlayer: { ...getPlayer, requestStream: true as const } }, {})
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
