// What every gRPC server of this project promises when the code that it runs is wrong: it costs one call, not the process.
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as Stream from "effect/Stream"
import * as http2 from "node:http2"
import { Authenticator, Grpc, GrpcError, GrpcServer } from "xdooria/grpc"
import { LoggerTest } from "xdooria/logger"
import { type Backend, handlers, player, PlayerService, response, start, StreamService, type Time } from "./Game.ts"

const { getPlayer } = PlayerService
const { sum, watch } = StreamService

type Handlers = Grpc.Handlers<never, never>

const reasonOf = <A, E, R>(call: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(call), (error) => {
    assert.instanceOf(error, GrpcError)
    return error.reason
  })

const request = (playerId: string) => ({ playerId })

/** Names that HTTP knows; those with a colon are no names of metadata in any way. */
const httpNames = Object.entries(http2.constants).flatMap(([key, name]) =>
  key.startsWith("HTTP2_HEADER_") && !String(name).startsWith(":") ? [String(name)] : []
)

/** See {@link Backend}. */
export const hostile = <E>(name: string, layer: Backend<E>, clock: Time): void => {
  const test = clock === "test" ? it.effect : it.live

  /** Serves, and gives what makes clients. */
  const serving = Effect.fnUntraced(function* (served: Handlers, settings: Partial<Grpc.GrpcSettings> = {}) {
    const context = yield* Layer.build(GrpcServer.serve(served).pipe(Layer.provideMerge(layer(settings))))
    const target = yield* Context.get(context, GrpcServer).address
    return <A extends Grpc.AnyApi>(api: A) => Grpc.client(api, { target }).pipe(Effect.provide(context))
  })

  describe(`${name}: code that is wrong costs one call`, () => {
    test("an Authenticator that throws", () =>
      Effect.gen(function* () {
        const Api = Grpc.api({ getPlayer }, {})
        const served = Grpc.handlers(
          Api,
          Effect.succeed({ getPlayer: ({ playerId }) => Effect.succeed(response(playerId)) })
        )
        const throwing = Layer.succeed(Authenticator, {
          authenticate: ({ metadata }) => {
            const { playerId } = JSON.parse(String(metadata.get("authorization")[0])) as { readonly playerId: string }
            return Effect.succeed({ playerId, roles: [], tokenId: "t" })
          }
        })
        const server = GrpcServer.serve(served).pipe(Layer.provide(throwing), Layer.provideMerge(layer()))
        const context = yield* Layer.build(server)
        const target = yield* Context.get(context, GrpcServer).address
        const game = yield* Grpc.client(Api, { target }).pipe(Effect.provide(context))
        const call = (authorization: string) => game.getPlayer(request("p1"), { metadata: { authorization } })
        assert.strictEqual((yield* reasonOf(call("garbage")))._tag, "Internal")
        assert.deepStrictEqual(yield* call(`{"playerId":"ann"}`), response("p1"))
      }).pipe(Effect.provide(LoggerTest)))

    test("a schema of requests that throws, of one and of a stream that is waited for", () =>
      Effect.gen(function* () {
        const Link = Schema.Struct({
          playerId: Schema.String.check(Schema.makeFilter((text) => new URL(text).protocol === "https:"))
        })
        const rules = { public: true, request: Link } as const
        const Api = Grpc.api({ getPlayer, sum }, { getPlayer: rules, sum: rules })
        const taken = yield* Queue.unbounded<string>()
        const served = Grpc.handlers(
          Api,
          Effect.succeed({
            getPlayer: () => Effect.succeed(response("")),
            sum: (requests) =>
              Effect.as(
                Stream.runForEach(requests, ({ playerId }) => Queue.offer(taken, playerId)),
                response("")
              )
          })
        )
        const game = yield* Effect.flatMap(serving(served), (client) => client(Api))
        assert.strictEqual((yield* reasonOf(game.getPlayer(request("no url"))))._tag, "Internal")
        const good = "https://a"
        const afterTheFirst = Stream.fromEffect(Effect.as(Queue.take(taken), request("no url")))
        const requests = Stream.concat(Stream.make(request(good)), afterTheFirst)
        assert.strictEqual((yield* reasonOf(game.sum(requests)))._tag, "Internal")
        assert.deepStrictEqual(yield* game.sum(Stream.make(request(good))), response(""))
      }).pipe(Effect.provide(LoggerTest)))

    const Odd = Schema.String.pipe(
      Schema.decodeTo(Schema.Finite, {
        decode: SchemaGetter.transform(Number),
        // Throws for digits below 0.
        encode: SchemaGetter.transform((n: number) => n.toFixed(n))
      })
    )
    class Unencodable extends Grpc.TaggedError<Unencodable>()("Unencodable", { n: Odd }, { status: "ABORTED" }) {}
    const tagThrows = {
      get _tag() {
        throw new Error("no tag")
      }
    }
    for (const [what, error] of [
      ["whose schema throws", new Unencodable({ n: -5 })],
      ["whose tag throws", tagThrows]
    ] as const) {
      test(`an error ${what}`, () =>
        Effect.gen(function* () {
          const Api = Grpc.api({ getPlayer }, { getPlayer: { errors: [Unencodable], public: true } })
          const failing = { getPlayer: () => Effect.fail(error as Unencodable) }
          const game = yield* Effect.flatMap(serving(Grpc.handlers(Api, Effect.succeed(failing))), (client) =>
            client(Api)
          )
          assert.strictEqual((yield* reasonOf(game.getPlayer(request("p1"))))._tag, "Internal")
        }).pipe(Effect.provide(LoggerTest)))
    }

    const forbidden =
      "connection te content-length content-type transfer-encoding keep-alive upgrade host proxy-connection http2-settings grpc-status :status Upper".split(
        " "
      )
    test("metadata with a name that the protocol keeps for itself, before and after the response", () =>
      Effect.gen(function* () {
        const game = yield* start(
          layer(),
          handlers({
            getPlayer: ({ playerId }: { readonly playerId: string }) =>
              Effect.flatMap(Grpc.Call, ({ setHeader }) => setHeader(playerId, "1")).pipe(Effect.as(response(""))),
            gainExp: ({ playerId }: { readonly playerId: string }) =>
              Effect.flatMap(Grpc.Call, ({ setTrailer }) => setTrailer(playerId, "1")).pipe(
                Effect.as({ player: player(""), levelsGained: 0 })
              )
          })
        )
        for (const name of forbidden) {
          const before = yield* reasonOf(game.getPlayer(request(name)))
          const after = yield* reasonOf(game.gainExp({ playerId: name, requestId: "", amount: 1n }))
          assert.deepStrictEqual([name, before._tag, after._tag], [name, "Internal", "Internal"])
        }
        for (const note of [" a", "a ", " "]) {
          assert.strictEqual((yield* reasonOf(game.healthCheck({}, { metadata: { note } })))._tag, "InvalidArgument")
        }
        for (const name of forbidden) {
          if (name === "Upper") continue
          const sent = yield* reasonOf(game.healthCheck({}, { metadata: { [name]: "1" } }))
          assert.deepStrictEqual([name, sent._tag], [name, "InvalidArgument"])
        }
      }).pipe(Effect.provide(LoggerTest)))

    test("metadata of any name that HTTP knows, also twice", () =>
      Effect.gen(function* () {
        const game = yield* start(
          layer(),
          handlers({
            getPlayer: ({ playerId }: { readonly playerId: string }) =>
              Effect.gen(function* () {
                const { setHeader, setTrailer } = yield* Grpc.Call
                yield* Effect.exit(setHeader(playerId, "1"))
                assert.isTrue((yield* Effect.exit(setHeader(playerId, "2")))._tag === "Failure")
                yield* Effect.exit(setTrailer(playerId, "1"))
                assert.isTrue((yield* Effect.exit(setTrailer(playerId, "2")))._tag === "Failure")
                return response(playerId)
              })
          })
        )
        for (const name of httpNames) assert.deepStrictEqual(yield* game.getPlayer(request(name)), response(name))
      }).pipe(Effect.provide(LoggerTest)))

    test("a middleware that runs a handler with responses twice at once", () =>
      Effect.gen(function* () {
        const Api = Grpc.api({ watch }, { watch: { public: true } })
        const large = response("x".repeat(200_000))
        const served = Grpc.handlers(Api, Effect.succeed({ watch: () => Stream.make(large, large, large, large) }))
        const twice = Grpc.middleware({
          wrap: (next) => Effect.map(Effect.all([next, next], { concurrency: 2 }), ([first]) => first)
        })
        const game = yield* Effect.flatMap(serving(Grpc.use(served, twice)), (client) => client(Api))
        assert.strictEqual((yield* reasonOf(Stream.runDrain(game.watch(request("p1")))))._tag, "Internal")
      }).pipe(Effect.provide(LoggerTest)))

    test("two errors of one tag, of a method and of what goes around it, are refused at the start", () =>
      Effect.gen(function* () {
        class One extends Grpc.TaggedError<One>("test/One")("Same", {}, { status: "NOT_FOUND" }) {}
        class Other extends Grpc.TaggedError<Other>("test/Other")("Same", {}, { status: "ABORTED" }) {}
        const Api = Grpc.api({ getPlayer }, { getPlayer: { errors: [One], public: true } })
        const served = Grpc.handlers(Api, Effect.succeed({ getPlayer: () => Effect.fail(new One()) }))
        const around = (errors: ReadonlyArray<typeof One | typeof Other>) =>
          Grpc.use(served, Grpc.middleware({ errors: errors as ReadonlyArray<typeof One>, wrap: (next) => next }))
        const reason = yield* reasonOf(serving(around([Other])))
        assert.strictEqual(reason._tag, "InvalidService")
        assert.include(reason.message, "Same")
        const game = yield* Effect.flatMap(serving(around([One])), (client) => client(Api))
        assert.instanceOf(yield* Effect.flip(game.getPlayer(request("p1"))), One)
      }).pipe(Effect.provide(LoggerTest)))
  })

  describe(`${name}: callers who do what is allowed cost no more than it`, () => {
    test("one bad request of thousands of fields is told its first, a small one all of them", () =>
      Effect.gen(function* () {
        const Text = Schema.String.check(
          Schema.isMaxLength(2000),
          Schema.isPattern(/^[a-z]*$/, { expected: "letters" })
        )
        const { createPlayer } = PlayerService
        const Api = Grpc.api(
          { createPlayer },
          { createPlayer: { public: true, request: Schema.Struct({ playerId: Text, name: Text }) } }
        )
        const served = Grpc.handlers(Api, Effect.succeed({ createPlayer: () => Effect.succeed(response("")) }))
        const game = yield* Effect.flatMap(serving(served), (client) => client(Api))
        const fieldsOf = (playerId: string) =>
          Effect.map(reasonOf(game.createPlayer({ playerId, name: "N" })), (reason) => {
            assert.strictEqual(reason._tag, "InvalidArgument")
            return reason._tag === "InvalidArgument" ? reason.violations.map(({ field }) => field) : []
          })
        assert.deepStrictEqual(yield* fieldsOf("P"), ["player_id", "name"])
        assert.deepStrictEqual(yield* fieldsOf("P".repeat(1500)), ["player_id"])
      }).pipe(Effect.provide(LoggerTest)))

    test("streams of requests that say nothing keep nobody out", () =>
      Effect.gen(function* () {
        const Api = Grpc.api({ sum }, { sum: { public: true } })
        const started = yield* Queue.unbounded<void>()
        const served = Grpc.handlers(
          Api,
          Effect.succeed({
            sum: (requests) =>
              Queue.offer(started, undefined).pipe(Effect.andThen(Stream.runDrain(requests)), Effect.as(response("")))
          })
        )
        const game = yield* Effect.flatMap(serving(served, { concurrencyLimit: 1 }), (client) => client(Api))
        const gate = yield* Deferred.make<void>()
        const idle = Stream.drain(Stream.fromEffect(Deferred.await(gate)))
        const calls = yield* Effect.forEach([1, 2, 3], () => Effect.forkChild(game.sum(idle)))
        yield* Queue.takeN(started, 3)
        assert.deepStrictEqual(yield* game.sum(Stream.make(request("p1"))), response(""))
        yield* Deferred.succeed(gate, undefined)
        yield* Fiber.joinAll(calls)
      }).pipe(Effect.provide(LoggerTest)))

    test("metadata of one name arrives joined", () =>
      Effect.gen(function* () {
        const game = yield* start(
          layer(),
          handlers({
            healthCheck: () =>
              Effect.gen(function* () {
                const { setTrailer } = yield* Grpc.Call
                for (const value of ["1", "", "3"]) yield* setTrailer("note", value)
                for (const value of ["1", "2"]) yield* setTrailer("note-bin", Buffer.from(value))
                return { status: "" }
              })
          })
        )
        const trailers: Array<unknown> = []
        yield* game.healthCheck(
          {},
          {
            onTrailers: (metadata) => trailers.push(metadata.get("note"), metadata.get("note-bin"))
          }
        )
        assert.deepStrictEqual(trailers, [["1, , 3"], [Buffer.from("1"), Buffer.from("2")]])
      }).pipe(Effect.provide(LoggerTest)))
  })
}
