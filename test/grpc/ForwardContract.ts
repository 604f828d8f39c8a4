// What a service does that passes the calls of another on: its callers see the other one, and it sees them.
import { assert, describe, it as vitest } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Authenticator, Grpc, type GrpcClient, GrpcError, GrpcServer, Principal } from "xdooria/grpc"
import { LoggerTest, LogRecorder } from "xdooria/logger"
import * as Recorder from "../support/Recorder.ts"
import {
  answering,
  type Backend,
  GameApi,
  handlers,
  passing,
  player,
  PlayerNotFound,
  PlayerService,
  response,
  StreamApi,
  streamHandlers,
  type Time
} from "./Game.ts"

/** The game for callers that are known. */
const PrivateApi = Grpc.api(PlayerService, {
  healthCheck: { public: true },
  getPlayer: { errors: [PlayerNotFound], idempotent: true }
})

class Away extends Grpc.TaggedError<Away>()("Away", { what: Schema.String }, { status: "UNAVAILABLE" }) {}

const AwayApi = Grpc.api(
  { getPlayer: PlayerService.getPlayer },
  { getPlayer: { errors: [Away], idempotent: true, public: true } }
)

const known = Authenticator.layerStatic({ secret: { playerId: "p1", roles: ["fighter"], tokenId: "t1" } })

const gain = { playerId: "p1", requestId: "r1", amount: 1n }

const bearer = { metadata: { authorization: "Bearer secret" } }

/** What a handler sees of its call. */
const seen = Effect.gen(function* () {
  const { metadata, peer } = yield* Grpc.Call
  return { ...metadata.toJSON(), peer: peer.address }
})

/**
 * - `fleet`: gives what makes services that reach each other by their addresses
 * - `clock`: whose time it is
 */
export const suite = <E>(name: string, fleet: () => Backend<E>, { clock }: { readonly clock: Time }): void => {
  const it = clock === "test" ? vitest.effect : vitest.live

  /** Services, each at an address of its own. */
  const world = () => {
    const make = fleet()
    const serve = Effect.fnUntraced(function* (
      served: ReadonlyArray<Grpc.Handlers<GrpcError, GrpcClient | Authenticator>>,
      settings: Partial<Grpc.GrpcSettings> = {}
    ) {
      const context = yield* Layer.build(
        GrpcServer.serve(...served).pipe(Layer.provideMerge(make(settings)), Layer.provide(known))
      )
      return { address: yield* Context.get(context, GrpcServer).address, context }
    })
    const client = <A extends Grpc.AnyApi>(api: A, { address, context }: Effect.Success<ReturnType<typeof serve>>) =>
      Effect.provide(Grpc.client(api, { target: address }), context)
    return { serve, client }
  }

  /** Clients of a service behind one that passes calls on. */
  const behind = Effect.fnUntraced(function* (
    served: ReadonlyArray<Grpc.Handlers<never, never>>,
    settings: Partial<Grpc.GrpcSettings> = {}
  ) {
    const { client, serve } = world()
    const { address: target } = yield* serve(served, settings)
    const front = yield* serve([Grpc.forward(GameApi, { target }), Grpc.forward(StreamApi, { target })])
    return { ...(yield* client(GameApi, front)), ...(yield* client(StreamApi, front)) }
  })

  describe(`${name}: passing calls on`, () => {
    it("gives the answers of all kinds of calls", () =>
      Effect.gen(function* () {
        const game = yield* behind([handlers({}), streamHandlers({})])
        assert.deepStrictEqual(yield* game.getPlayer({ playerId: "p1" }), response("p1"))
        const requests = Stream.make({ playerId: "p1" }, { playerId: "p2" })
        assert.deepStrictEqual(yield* Stream.runCollect(game.watch({ playerId: "p1" })), [response("p1")])
        assert.deepStrictEqual(yield* game.sum(requests), response(""))
        assert.deepStrictEqual(yield* Stream.runCollect(game.talk(requests)), [response("p1"), response("p2")])
      }).pipe(Effect.provide(LoggerTest)))

    it("gives declared errors as they were declared, of calls and of streams", () =>
      Effect.gen(function* () {
        const absent = new PlayerNotFound({ playerId: "p\u{1f3ae}", at: new Date(5), seen: 2n ** 70n })
        const failing = Stream.concat(Stream.make(response("p1")), Stream.fail(absent))
        const game = yield* behind([handlers({ getPlayer: () => absent }), streamHandlers({ talk: () => failing })])
        const error = yield* Effect.flip(game.getPlayer({ playerId: "p1" }))
        assert.deepStrictEqual({ ...error }, { ...absent })
        const arrived: Array<unknown> = []
        const ended = yield* game.talk(Stream.never).pipe(
          Stream.runForEach((one) => Effect.sync(() => arrived.push(one))),
          Effect.flip
        )
        assert.deepStrictEqual(arrived, [response("p1")])
        assert.deepStrictEqual({ ...ended }, { ...absent })
      }).pipe(Effect.provide(LoggerTest)))

    it("does not try again what was answered with a declared error, whatever its status", () =>
      Effect.gen(function* () {
        const { client, serve } = world()
        let calls = 0
        const away = Effect.suspend(() => Effect.fail(new Away({ what: String(++calls) })))
        const { address: target } = yield* serve([Grpc.handlers(AwayApi, Effect.succeed({ getPlayer: () => away }))])
        const front = yield* serve([Grpc.forward(AwayApi, { target })])
        const { getPlayer } = yield* client(AwayApi, front)
        // So many that the retry budget would allow some to be tried again.
        for (let made = 1; made <= 100; made++) {
          assert.include(yield* Effect.flip(getPlayer({ playerId: "p1" })), { _tag: "Away", what: String(made) })
        }
      }).pipe(Effect.provide(LoggerTest)))

    it("tells a bug with the id that the service's own log has", () =>
      Effect.gen(function* () {
        const log = yield* LogRecorder
        const game = yield* behind([handlers({ gainExp: () => Effect.die(new Error("hunter2")) })])
        const error = yield* Effect.flip(game.gainExp(gain))
        assert.instanceOf(error, GrpcError)
        assert.strictEqual(error.reason._tag, "Internal")
        const id = error.reason._tag === "Internal" ? error.reason.errorId : undefined
        yield* log.find((line) => line["error_id"] === id && String(line["error"]).includes("hunter2"))
      }).pipe(Effect.provide(LoggerTest)))

    it("carries the caller's metadata on, and the answer's back", () =>
      Effect.gen(function* () {
        const got = yield* Recorder.make<Record<string, unknown>>()
        const answered = Effect.gen(function* () {
          yield* got.record(yield* seen)
          const call = yield* Grpc.Call
          yield* call.setHeader("x-header", "h")
          yield* call.setTrailer("x-trailer-bin", Buffer.from([0, 255]))
          return response("p1")
        })
        const game = yield* behind([handlers({ getPlayer: () => answered })])
        const told: Record<string, unknown> = {}
        yield* game.getPlayer(
          { playerId: "p1" },
          {
            metadata: { ...bearer.metadata, "x-any": "a", "x-any-bin": Buffer.from([1]), "x-forwarded-for": "9.9.9.9" },
            onHeaders: (metadata) => Object.assign(told, metadata.toJSON()),
            onTrailers: (metadata) => Object.assign(told, metadata.toJSON())
          }
        )
        const [metadata] = yield* got.atLeast(1)
        assert.deepInclude(metadata, {
          authorization: ["Bearer secret"],
          "x-any": ["a"],
          "x-any-bin": [Buffer.from([1])],
          "x-forwarded-for": ["127.0.0.1"],
          peer: "127.0.0.1"
        })
        assert.deepInclude(told, { "x-header": ["h"], "x-trailer-bin": [Buffer.from([0, 255])] })
      }).pipe(Effect.provide(LoggerTest)))

    it("is believed about the caller's address by who trusts it", () =>
      Effect.gen(function* () {
        const addresses: Array<string> = []
        const getPlayer = () =>
          Effect.andThen(
            Effect.map(Grpc.Call, ({ peer }) => addresses.push(peer.address)),
            answering.getPlayer({ playerId: "p1" })
          )
        const { client, serve } = world()
        for (const trustedProxies of [["127.0.0.0/8"], ["10.0.0.1"], []]) {
          const served = yield* serve([handlers({ getPlayer })], { trustedProxies })
          const direct = yield* client(GameApi, served)
          for (const address of ["8.8.8.8", "1.1.1.1, 2001:db8::1", "nobody"]) {
            yield* direct.getPlayer({ playerId: "p1" }, { metadata: { "x-forwarded-for": address } })
          }
        }
        const own = Array.from({ length: 7 }, () => "127.0.0.1")
        assert.deepStrictEqual(addresses, ["8.8.8.8", "2001:db8::1", ...own])
      }).pipe(Effect.provide(LoggerTest)))

    it("knows its callers itself, and passes nobody else on", () =>
      Effect.gen(function* () {
        const { client, serve } = world()
        const callers: Array<string> = []
        const getPlayer = Effect.fnUntraced(function* () {
          callers.push((yield* Principal).playerId)
          return response("p1")
        })
        const own = Grpc.handlers(PrivateApi, Effect.succeed({ ...answering, getPlayer }))
        const { address: target } = yield* serve([own])
        const game = yield* client(PrivateApi, yield* serve([Grpc.forward(PrivateApi, { target })]))
        const error = yield* Effect.flip(game.getPlayer({ playerId: "p1" }))
        assert.strictEqual(error instanceof GrpcError && error.reason._tag, "Unauthenticated")
        yield* game.getPlayer({ playerId: "p1" }, bearer)
        yield* game.healthCheck({})
        assert.deepStrictEqual(callers, ["p1"])
      }).pipe(Effect.provide(LoggerTest)))

    it("lets a service call another for its caller", () =>
      Effect.gen(function* () {
        const { client, serve } = world()
        const getPlayer = Effect.fnUntraced(function* () {
          return response((yield* Principal).playerId)
        })
        const last = yield* serve([Grpc.handlers(PrivateApi, Effect.succeed({ ...answering, getPlayer }))])
        const middle = (options: { readonly identity?: "carry" }) =>
          Grpc.handlers(
            GameApi,
            Effect.gen(function* () {
              const next = yield* Grpc.client(PrivateApi, { target: last.address, ...options })
              const getPlayer = () =>
                Effect.orElseSucceed(next.getPlayer({ playerId: "" }), () => ({ player: undefined }))
              return { ...answering, getPlayer }
            })
          )
        const carrying = yield* client(GameApi, yield* serve([middle({ identity: "carry" })]))
        assert.deepStrictEqual(yield* carrying.getPlayer({ playerId: "" }, bearer), response("p1"))
        assert.deepStrictEqual(yield* carrying.getPlayer({ playerId: "" }), { player: undefined })
        const silent = yield* client(GameApi, yield* serve([middle({})]))
        assert.deepStrictEqual(yield* silent.getPlayer({ playerId: "" }, bearer), { player: undefined })
      }).pipe(Effect.provide(LoggerTest)))

    it("says of a service that is away only that it is", () =>
      passing(clock)(
        Effect.gen(function* () {
          const { client, serve } = world()
          const front = yield* serve([Grpc.forward(GameApi, { target: "127.0.0.1:1" })])
          const game = yield* client(GameApi, front)
          const error = yield* Effect.flip(game.gainExp(gain))
          assert.instanceOf(error, GrpcError)
          // It was answered by the one in front, which may have passed it on.
          assert.deepInclude(error.reason, { _tag: "OutcomeUnknown", details: "the service is not available" })
        })
      ).pipe(Effect.provide(LoggerTest)))

    it("interrupts what its caller does not wait for any more", () =>
      Effect.gen(function* () {
        const events = yield* Recorder.make<string>()
        const stuck = <A>(what: string) =>
          Effect.andThen(events.record(`${what} started`), Effect.never as Effect.Effect<A>).pipe(
            Effect.onInterrupt(() => events.record(`${what} interrupted`))
          )
        const game = yield* behind([
          handlers({ gainExp: () => stuck("call") }),
          streamHandlers({ talk: () => Stream.fromEffect(stuck("stream")) })
        ])
        const caller = yield* Effect.forkChild(
          Effect.all([game.gainExp(gain), Stream.runDrain(game.talk(Stream.never))], { concurrency: 2 })
        )
        yield* events.atLeast(2, (event) => event.endsWith("started"))
        yield* Fiber.interrupt(caller)
        yield* events.atLeast(2, (event) => event.endsWith("interrupted"))
      }).pipe(Effect.provide(LoggerTest)))

    it("passes the deadline on", () =>
      Effect.gen(function* () {
        const deadlines = yield* Deferred.make<number>()
        const gainExp = () =>
          Effect.andThen(
            Effect.flatMap(Grpc.Call, ({ deadline }) => Deferred.succeed(deadlines, deadline)),
            Effect.succeed({ player: player("p1"), levelsGained: 0 })
          )
        const game = yield* behind([handlers({ gainExp })])
        const before = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
        yield* game.gainExp(gain, { deadline: "5 seconds" })
        assert.isAtMost((yield* Deferred.await(deadlines)) - before, 5_100)
      }).pipe(Effect.provide(LoggerTest)))
  })
}
