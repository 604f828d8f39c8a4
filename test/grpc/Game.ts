// A service to test with: the game's, with handlers of the test's choice.
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import { Grpc, type GrpcClient, GrpcServer, type ServeOptions } from "xdooria/grpc"
import { layerClientLive, layerServerLive } from "xdooria/grpc/live"
import { GameServiceService, type GetPlayerResponse, type Player } from "../../src/gen/game.ts"

const { createPlayer, gainExp, getPlayer, healthCheck } = GameServiceService

/** Some methods of the game: the others are of no interest here. */
export const PlayerService = { createPlayer, gainExp, getPlayer, healthCheck }

/** A service of the other three kinds, with messages of the game. */
export const StreamService = {
  watch: { ...getPlayer, path: "/game.StreamService/Watch", requestStream: false, responseStream: true },
  sum: { ...getPlayer, path: "/game.StreamService/Sum", requestStream: true, responseStream: false },
  talk: { ...getPlayer, path: "/game.StreamService/Talk", requestStream: true, responseStream: true }
} as const

export class PlayerNotFound extends Grpc.TaggedError<PlayerNotFound>()(
  "PlayerNotFound",
  { playerId: Schema.String, at: Schema.Date, seen: Schema.BigInt },
  { status: "NOT_FOUND", message: ({ playerId }) => `no player ${playerId}` }
) {}

export class Banned extends Grpc.TaggedError<Banned>()(
  "Banned",
  { until: Schema.Int },
  { status: "PERMISSION_DENIED" }
) {}

/** A server and a client that reaches it at its address, with settings of the test's choice. */
export type Backend<E> = (settings?: Partial<Grpc.GrpcSettings>) => Layer.Layer<GrpcServer | GrpcClient, E>

/** Whose time a suite runs on. */
export type Time = "test" | "live"

/** Lets time pass for as long as an effect runs: live time does by itself. */
export const passing =
  (clock: Time) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    clock === "live"
      ? effect
      : Effect.raceFirst(effect, Effect.forever(Effect.andThen(Effect.yieldNow, TestClock.adjust("10 millis"))))

/** An error that no method declares. */
export class Undeclared extends Grpc.TaggedError<Undeclared>()("Undeclared", {}, { status: "ABORTED" }) {}

/** `getPlayer` may be repeated, the others may not. */
export const GameApi = Grpc.api(PlayerService, {
  healthCheck: { public: true },
  createPlayer: { public: true },
  getPlayer: { errors: [PlayerNotFound, Banned], idempotent: true, public: true },
  gainExp: { errors: [PlayerNotFound], public: true }
})

export type Methods = Grpc.HandlersOf<typeof GameApi>

export const player = (id: string): Player => ({ id, name: "Ann", level: 7, exp: 300n })

export const response = (id: string): GetPlayerResponse => ({ player: player(id) })

/** Functions that answer, for any api of these methods. */
export const answering = {
  healthCheck: () => Effect.succeed({ status: "SERVING" }),
  createPlayer: ({ playerId }) => Effect.succeed(response(playerId)),
  getPlayer: ({ playerId }) => Effect.succeed(response(playerId)),
  gainExp: ({ playerId }) => Effect.succeed({ player: player(playerId), levelsGained: 0 })
} satisfies Methods

/** Methods of the test's choice, defects included; the others answer. */
export const handlers = (methods: { readonly [K in keyof Methods]?: (request: never) => unknown }): Grpc.Handlers<
  never,
  never
> => Grpc.handlers(GameApi, Effect.succeed({ ...answering, ...(methods as Partial<typeof answering>) }))

/** The other three kinds of method; `watch` may be repeated. */
export const StreamApi = Grpc.api(StreamService, {
  watch: { errors: [PlayerNotFound], idempotent: true, public: true },
  sum: { errors: [PlayerNotFound], public: true },
  talk: { errors: [PlayerNotFound], public: true }
})

const streamDefaults = {
  watch: ({ playerId }) => Stream.make(response(playerId)),
  sum: (requests) => Effect.as(Stream.runDrain(requests), response("")),
  talk: (requests) => Stream.map(requests, ({ playerId }) => response(playerId))
} satisfies Grpc.HandlersOf<typeof StreamApi>

/** Methods with streams of the test's choice, defects included; the others answer. */
export const streamHandlers = (methods: {
  readonly [K in keyof typeof streamDefaults]?: (request: never) => unknown
}): Grpc.Handlers<never, never> =>
  Grpc.handlers(StreamApi, Effect.succeed({ ...streamDefaults, ...(methods as Partial<typeof streamDefaults>) }))

/** A server on a free port of loopback that stops without delay, and a client. */
export const live = (changes: Partial<Grpc.GrpcSettings> = {}) =>
  Layer.merge(
    layerServerLive({ port: 0, env: "test", drainDelay: Duration.zero, ...changes }),
    layerClientLive(changes)
  )

/** Serves, and gives a client of it. */
export const start = Effect.fnUntraced(function* <E>(
  layer: Layer.Layer<GrpcServer | GrpcClient, E>,
  served: Grpc.Handlers<never, never>,
  options: ServeOptions = {}
) {
  const context = yield* Layer.build(GrpcServer.serve(served, options).pipe(Layer.provideMerge(layer)))
  const address = yield* Context.get(context, GrpcServer).address
  const client = yield* Grpc.client(GameApi, { target: address }).pipe(Effect.provide(context))
  return { ...client, address, context }
})

/** A client of a server at an address, open as long as the scope. */
export const dial = Effect.fnUntraced(function* (target: string, changes: Partial<Grpc.GrpcSettings> = {}) {
  const context = yield* Layer.build(layerClientLive(changes))
  return yield* Grpc.client(GameApi, { target }).pipe(Effect.provide(context))
})
