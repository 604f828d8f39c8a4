// What every gRPC server of this project promises of callers, of what they send, and of what goes around a handler.
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Authenticator, Grpc, GrpcError, GrpcServer, NotAuthenticated, Principal } from "xdooria/grpc"
import { LoggerTest, LogRecorder } from "xdooria/logger"
import { type Backend, Banned, PlayerNotFound, PlayerService, response, StreamService, type Time } from "./Game.ts"

const { getPlayer, healthCheck } = PlayerService
const { talk, watch } = StreamService

const reasonOf = <A, E, R>(call: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(call), (error) => {
    assert.instanceOf(error, GrpcError)
    return error.reason
  })

const ann = { playerId: "ann", roles: ["admin"], tokenId: "t1" }
const bob = { playerId: "bob", roles: [], tokenId: "t2" }
const known = Authenticator.layerStatic({ "token-of-ann": ann, "token-of-bob": bob })

const asAnn = { metadata: { authorization: "Bearer token-of-ann" } }
const asBob = { metadata: { authorization: "token-of-bob" } }

/** See {@link Backend}. */
export const callers = <E>(name: string, layer: Backend<E>, clock: Time): void => {
  const test = clock === "test" ? it.effect : it.live
  /** Serves, and gives a client. */
  const serving = Effect.fnUntraced(function* <A extends Grpc.AnyApi, R extends Authenticator>(
    api: A,
    served: Grpc.Handlers<never, R, keyof A["definition"] & string>,
    options: {
      readonly settings?: Partial<Grpc.GrpcSettings>
      readonly authenticator?: Layer.Layer<Authenticator>
    } = {}
  ) {
    const { authenticator = known, settings } = options
    const server = GrpcServer.serve(served).pipe(Layer.provide(authenticator), Layer.provideMerge(layer(settings)))
    const context = yield* Layer.build(server as Layer.Layer<GrpcServer, E | GrpcError>)
    const target = yield* Context.get(context, GrpcServer).address
    return yield* Grpc.client(api, { target }).pipe(Effect.provide(context as Context.Context<never>)) as Effect.Effect<
      Grpc.Client<A>,
      GrpcError
    >
  })

  describe(`${name}: callers`, () => {
    const Api = Grpc.api({ getPlayer, healthCheck, watch, talk }, { healthCheck: { public: true } })
    const own = Effect.map(Principal, ({ playerId }) => response(playerId))
    const served = Grpc.handlers(
      Api,
      Effect.succeed({
        healthCheck: () => Effect.succeed({ status: "public" }),
        getPlayer: () => own,
        watch: () => Stream.fromEffect(own),
        talk: (requests: Stream.Stream<unknown>) => Stream.mapEffect(requests, () => own)
      })
    )

    test("are known to handlers of every kind, and public methods know none", () =>
      Effect.gen(function* () {
        const game = yield* serving(Api, served)
        assert.deepStrictEqual(yield* game.getPlayer({ playerId: "" }, asAnn), response("ann"))
        assert.deepStrictEqual(yield* game.getPlayer({ playerId: "" }, asBob), response("bob"))
        assert.deepStrictEqual(yield* Stream.runCollect(game.watch({ playerId: "" }, asAnn)), [response("ann")])
        const talked = game.talk(Stream.make({ playerId: "" }), asBob)
        assert.deepStrictEqual(yield* Stream.runCollect(talked), [response("bob")])
        assert.deepStrictEqual(yield* game.healthCheck({}), { status: "public" })
      }).pipe(Effect.provide(LoggerTest)))

    test("are known by their token whatever the case of its scheme, and without one", () =>
      Effect.gen(function* () {
        const game = yield* serving(Api, served)
        for (const authorization of ["bearer token-of-ann", "BEARER token-of-ann", "token-of-ann"]) {
          const answer = yield* game.getPlayer({ playerId: "" }, { metadata: { authorization } })
          assert.deepStrictEqual(answer, response("ann"))
        }
      }).pipe(Effect.provide(LoggerTest)))

    const strangers = {
      "no token": {},
      "an empty one": { authorization: "" },
      "an unknown one": { authorization: "Bearer token-of-eve" },
      "another scheme": { authorization: "Basic token-of-ann" },
      "two spaces": { authorization: "Bearer  token-of-ann" }
    }
    for (const [what, metadata] of Object.entries(strangers)) {
      test(`that are not known are UNAUTHENTICATED with one text, and no handler runs: ${what}`, () =>
        Effect.gen(function* () {
          const log = yield* LogRecorder
          const game = yield* serving(
            Api,
            Grpc.handlers(
              Api,
              Effect.succeed({
                healthCheck: () => Effect.die("not to be run"),
                getPlayer: () => Effect.die("not to be run"),
                watch: () => Stream.die("not to be run"),
                talk: () => Stream.die("not to be run")
              })
            )
          )
          const calls = [
            game.getPlayer({ playerId: "" }, { metadata }),
            Stream.runDrain(game.watch({ playerId: "" }, { metadata })),
            Stream.runDrain(game.talk(Stream.never, { metadata }))
          ]
          for (const call of calls) {
            const reason = yield* reasonOf(call as Effect.Effect<unknown, GrpcError>)
            assert.include(reason, { _tag: "Unauthenticated", details: "the caller is not authenticated" })
          }
          const line = yield* log.find(({ code }) => code === "UNAUTHENTICATED")
          assert.include(["no authorization", "an unknown token"], line["error"])
          assert.notInclude(JSON.stringify(yield* log.lines), "token-of")
        }).pipe(Effect.provide(LoggerTest)))
    }

    test("are asked for before their request is decoded", () =>
      Effect.gen(function* () {
        const broken = {
          getPlayer: {
            ...getPlayer,
            requestDeserialize: (): { playerId: string } => {
              throw new Error("not to be decoded")
            }
          }
        }
        const Broken = Grpc.api(broken, {})
        const game = yield* serving(Broken, Grpc.handlers(Broken, Effect.succeed({ getPlayer: () => own })))
        assert.strictEqual((yield* reasonOf(game.getPlayer({ playerId: "" })))._tag, "Unauthenticated")
        assert.strictEqual((yield* reasonOf(game.getPlayer({ playerId: "" }, asAnn)))._tag, "Internal")
      }).pipe(Effect.provide(LoggerTest)))

    test("fail as a bug when the Authenticator fails as one, and a handler's NotAuthenticated is one", () =>
      Effect.gen(function* () {
        const Api = Grpc.api({ getPlayer, healthCheck }, { healthCheck: { public: true } })
        const dying = Layer.succeed(Authenticator, { authenticate: () => Effect.die(new Error("hunter2")) })
        const served = Grpc.handlers(
          Api,
          Effect.succeed({
            getPlayer: () => own,
            healthCheck: (() => Effect.fail(new NotAuthenticated({ problem: "hunter2" }))) as never
          })
        )
        const game = yield* serving(Api, served, { authenticator: dying })
        for (const call of [game.getPlayer({ playerId: "" }, asAnn), game.healthCheck({})]) {
          const reason = yield* reasonOf(call as Effect.Effect<unknown, GrpcError>)
          assert.strictEqual(reason._tag, "Internal")
          assert.notInclude(JSON.stringify(reason), "hunter2")
        }
      }).pipe(Effect.provide(LoggerTest)))

    test("may call as often as the rule says, each for itself or all together", () =>
      Effect.gen(function* () {
        const rate = { limit: 2, window: "1 hour" } as const
        const Api = Grpc.api(
          { getPlayer, healthCheck, createPlayer: PlayerService.createPlayer },
          {
            getPlayer: { rate: { ...rate, by: "principal" } },
            healthCheck: { public: true, rate: { ...rate, by: "peer" } },
            createPlayer: { rate: { ...rate, by: "all" } }
          }
        )
        const game = yield* serving(
          Api,
          Grpc.handlers(
            Api,
            Effect.succeed({
              getPlayer: () => own,
              healthCheck: () => Effect.succeed({ status: "" }),
              createPlayer: () => own
            })
          )
        )
        const outcome = <A>(call: Effect.Effect<A, GrpcError>) =>
          Effect.match(call, { onFailure: ({ reason }) => reason._tag as string, onSuccess: () => "ok" })
        const read = (as: typeof asAnn) => outcome(game.getPlayer({ playerId: "" }, as))
        const create = (as: typeof asAnn) => outcome(game.createPlayer({ playerId: "", name: "" }, as))
        const ping = outcome(game.healthCheck({}))
        const refused = "ResourceExhausted"
        const seen = yield* Effect.all([read(asAnn), read(asAnn), read(asAnn), read(asBob), ping, ping, ping])
        assert.deepStrictEqual(seen, ["ok", "ok", refused, "ok", "ok", "ok", refused])
        const together = yield* Effect.all([create(asAnn), create(asBob), create(asAnn), create(asBob)])
        assert.deepStrictEqual(together, ["ok", "ok", refused, refused])
      }).pipe(Effect.provide(LoggerTest)))

    test("may make so many calls in a second by default, and any to public methods", () =>
      Effect.gen(function* () {
        const game = yield* serving(Api, served, { settings: { rateLimit: 3 } })
        const read = Effect.exit(game.getPlayer({ playerId: "" }, asAnn))
        const exits = yield* Effect.replicateEffect(read, 20)
        assert.isTrue(exits.some(({ _tag }) => _tag === "Failure"))
        assert.strictEqual(exits[0]!._tag, "Success")
        yield* Effect.replicateEffect(game.healthCheck({}), 20, { discard: true })
      }).pipe(Effect.provide(LoggerTest)))

    test("must be known by somebody where a method is not public", () =>
      Effect.gen(function* () {
        const server = GrpcServer.serve(served as unknown as Grpc.Handlers<never, never>)
        const reason = yield* reasonOf(Layer.build(server.pipe(Layer.provide(layer()))))
        assert.strictEqual(reason._tag, "InvalidService")
        assert.include(reason.message, "/game.GameService/GetPlayer")
      }).pipe(Effect.provide(LoggerTest)))
  })

  describe(`${name}: a call`, () => {
    const Api = Grpc.api({ getPlayer, watch }, { getPlayer: { public: true }, watch: { public: true } })

    test("tells its handler what it is, and takes headers and trailers from it", () =>
      Effect.gen(function* () {
        const calls = yield* Queue.unbounded<readonly [Grpc.Call["Service"], number]>()
        const tell = Effect.gen(function* () {
          const call = yield* Grpc.Call
          yield* Queue.offer(calls, [call, yield* Grpc.Deadline])
          yield* call.setHeader("x-first", "1")
          yield* call.setHeader("x-first", "2")
          yield* call.setTrailer("x-last", "3")
          return response("p1")
        })
        const game = yield* serving(
          Api,
          Grpc.handlers(Api, Effect.succeed({ getPlayer: () => tell, watch: () => Stream.fromEffect(tell) })),
          { settings: { maxDeadline: Duration.seconds(20) } }
        )
        const now = yield* Clock.currentTimeMillis
        const seen: Array<ReadonlyArray<string | Buffer>> = []
        const options = {
          metadata: { note: "n1", "note-bin": Buffer.from([0, 255]) },
          onHeaders: (metadata: Grpc.Metadata) => void seen.push(metadata.get("x-first")),
          onTrailers: (metadata: Grpc.Metadata) => void seen.push(metadata.get("x-last"))
        }
        yield* game.getPlayer({ playerId: "" }, { ...options, deadline: "1 hour" })
        yield* Stream.runDrain(game.watch({ playerId: "" }, { ...options, deadline: "1 hour" }))
        assert.deepStrictEqual(
          seen.map((values) => values.join()),
          ["1,2", "3", "1,2", "3"].map((text) => text.replace(",", seen[0]!.length === 1 ? ", " : ","))
        )
        const [one, many] = yield* Queue.takeN(calls, 2)
        assert.include(one![0], { method: "game.GameService/GetPlayer" })
        assert.include(many![0], { method: "game.StreamService/Watch" })
        for (const [call, deadline] of [one!, many!]) {
          assert.strictEqual(call.peer.address, "127.0.0.1")
          assert.deepStrictEqual(call.metadata.get("note"), ["n1"])
          assert.deepStrictEqual(call.metadata.get("note-bin"), [Buffer.from([0, 255])])
          assert.deepStrictEqual(call.metadata.toJSON()["note"], ["n1"])
          assert.strictEqual(call.deadline, deadline)
        }
        // The server's own deadline is for calls with one response.
        assert.isTrue(one![1] >= now + 19_000 && one![1] <= now + 60_000)
        assert.isTrue(many![1] >= now + 3_500_000 && many![1] <= now + 3_700_000)
      }).pipe(Effect.provide(LoggerTest)))

    test("brings its headers and trailers with a failure, too", () =>
      Effect.gen(function* () {
        const Failing = Grpc.api({ getPlayer }, { getPlayer: { public: true, errors: [Banned] } })
        const game = yield* serving(
          Failing,
          Grpc.handlers(
            Failing,
            Effect.succeed({
              getPlayer: Effect.fnUntraced(function* () {
                const { setTrailer } = yield* Grpc.Call
                yield* setTrailer("x-last", "3")
                return yield* new Banned({ until: 1 })
              })
            })
          )
        )
        const seen: Array<string> = []
        const onTrailers = (metadata: Grpc.Metadata) => void seen.push(metadata.get("x-last").join())
        assert.instanceOf(yield* Effect.flip(game.getPlayer({ playerId: "" }, { onTrailers })), Banned)
        assert.deepStrictEqual(seen, ["3"])
      }).pipe(Effect.provide(LoggerTest)))

    const entries = [
      ["Upper", "x"],
      ["grpc-status", "0"],
      ["x-bin", "x"],
      ["x y", "x"],
      ["x", "two\r\nlines"],
      ["x", "x".repeat(9_000)]
    ] as const
    for (const [key, value] of entries) {
      test(`with metadata that cannot be sent is a bug: ${key} ${value.slice(0, 10)}`, () =>
        Effect.gen(function* () {
          const set = Effect.flatMap(Grpc.Call, ({ setTrailer }) => setTrailer(key, value))
          const game = yield* serving(
            Api,
            Grpc.handlers(
              Api,
              Effect.succeed({ getPlayer: () => Effect.as(set, response("p1")), watch: () => Stream.empty })
            )
          )
          assert.strictEqual((yield* reasonOf(game.getPlayer({ playerId: "" })))._tag, "Internal")
        }).pipe(Effect.provide(LoggerTest)))
    }
  })

  describe(`${name}: requests`, () => {
    const PlayerId = Schema.String.check(Schema.isPattern(/^[a-z0-9]{1,8}$/, { expected: "a player id" })).pipe(
      Schema.brand("PlayerId")
    )
    const request = Schema.Struct({ playerId: PlayerId })
    const Api = Grpc.api(
      { getPlayer, watch, talk },
      {
        getPlayer: { public: true, request },
        watch: { public: true, request },
        talk: { public: true, request }
      }
    )
    const served = Grpc.handlers(
      Api,
      Effect.succeed({
        getPlayer: ({ playerId }) => Effect.succeed(response(playerId)),
        watch: ({ playerId }) => Stream.make(response(playerId)),
        talk: (requests) => Stream.map(requests, ({ playerId }) => response(playerId))
      })
    )

    test("that fit their schema reach the handler as it decodes them", () =>
      Effect.gen(function* () {
        const At = Grpc.api(
          { getPlayer },
          { getPlayer: { public: true, request: Schema.Struct({ playerId: Schema.FiniteFromString }) } }
        )
        const game = yield* serving(
          At,
          Grpc.handlers(
            At,
            Effect.succeed({ getPlayer: ({ playerId }) => Effect.succeed(response(`${playerId + 1}`)) })
          )
        )
        assert.deepStrictEqual(yield* game.getPlayer({ playerId: "41" }), response("42"))
      }).pipe(Effect.provide(LoggerTest)))

    test("that do not are INVALID_ARGUMENT and name the field, never the value, and no handler runs", () =>
      Effect.gen(function* () {
        const log = yield* LogRecorder
        const game = yield* serving(Api, served)
        const bad = { playerId: "HUNTER2!" }
        const calls = [game.getPlayer(bad), Stream.runDrain(game.watch(bad))]
        for (const call of calls) {
          const reason = yield* reasonOf(call as Effect.Effect<unknown, GrpcError>)
          assert.include(reason, { _tag: "InvalidArgument", details: "invalid player_id" })
        }
        assert.notInclude(JSON.stringify(yield* log.lines), "HUNTER2")
      }).pipe(Effect.provide(LoggerTest)))

    test("of a stream end it with the first that does not, after the responses to those that did", () =>
      Effect.gen(function* () {
        const game = yield* serving(Api, served)
        const seen: Array<string | undefined> = []
        const said = yield* Queue.unbounded<{ readonly playerId: string }>()
        yield* Queue.offer(said, { playerId: "p1" })
        const reason = yield* reasonOf(
          Stream.runForEach(game.talk(Stream.fromQueue(said)), ({ player }) => {
            seen.push(player?.id)
            return Queue.offer(said, { playerId: "HUNTER2!" })
          })
        )
        assert.include(reason, { _tag: "InvalidArgument", details: "invalid player_id" })
        assert.deepStrictEqual(seen, ["p1"])
      }).pipe(Effect.provide(LoggerTest)))
  })

  describe(`${name}: middleware`, () => {
    const Api = Grpc.api(
      { getPlayer, healthCheck, watch },
      {
        getPlayer: { public: true, errors: [PlayerNotFound] },
        healthCheck: { public: true },
        watch: { public: true }
      }
    )
    class Step extends Context.Service<Step, string>()("test/Step") {}

    /** A middleware that says when it is entered and left. */
    const named = (events: Array<string>, name: string) =>
      Grpc.middleware({
        wrap: (next) =>
          Effect.suspend(() => {
            events.push(`+${name}`)
            return Effect.ensuring(
              next,
              Effect.sync(() => events.push(`-${name}`))
            )
          })
      })

    const plain = Effect.succeed({
      getPlayer: () => Effect.succeed(response("p1")),
      healthCheck: () => Effect.succeed({ status: "" }),
      watch: () => Stream.make(response("1"), response("2"))
    })

    test("goes around handlers of every kind, the last that was put there outermost, where it was put", () =>
      Effect.gen(function* () {
        const events: Array<string> = []
        const inner = Grpc.use(Grpc.handlers(Api, plain), named(events, "inner"))
        const served = Grpc.use(inner, named(events, "outer"), { methods: ["getPlayer", "watch"] })
        const game = yield* serving(Api, served)
        yield* game.getPlayer({ playerId: "" })
        assert.deepStrictEqual(events.splice(0), ["+outer", "+inner", "-inner", "-outer"])
        assert.strictEqual((yield* Stream.runCollect(game.watch({ playerId: "" }))).length, 2)
        assert.deepStrictEqual(events.splice(0), ["+outer", "+inner", "-inner", "-outer"])
        yield* game.healthCheck({})
        assert.deepStrictEqual(events, ["+inner", "-inner"])
      }).pipe(Effect.provide(LoggerTest)))

    test("gives services to the handler, and sees the call", () =>
      Effect.gen(function* () {
        const giving = Grpc.middleware({
          wrap: (next: Effect.Effect<Grpc.Served, Grpc.DomainError, Step>) =>
            Effect.flatMap(Grpc.Call, ({ method }) => Effect.provideService(next, Step, method))
        })
        const served = Grpc.handlers(
          Api,
          Effect.map(plain, (plain) => ({
            ...plain,
            healthCheck: () => Effect.map(Step, (status) => ({ status })),
            watch: () => Stream.map(Stream.fromEffect(Step), response)
          }))
        )
        const game = yield* serving(Api, Grpc.use(served, giving))
        assert.deepStrictEqual(yield* game.healthCheck({}), { status: "game.GameService/HealthCheck" })
        const watched = yield* Stream.runCollect(game.watch({ playerId: "" }))
        assert.deepStrictEqual(watched, [response("game.StreamService/Watch")])
      }).pipe(Effect.provide(LoggerTest)))

    test("may fail with an error of its own instead of the handler", () =>
      Effect.gen(function* () {
        const refusing = Grpc.middleware({
          errors: [PlayerNotFound],
          wrap: () => new PlayerNotFound({ playerId: "p9", at: new Date(0), seen: 0n })
        })
        const game = yield* serving(Api, Grpc.use(Grpc.handlers(Api, plain), refusing))
        assert.instanceOf(yield* Effect.flip(game.getPlayer({ playerId: "" })), PlayerNotFound)
        assert.include(yield* reasonOf(Stream.runDrain(game.watch({ playerId: "" }))), {
          _tag: "UnexpectedStatus",
          code: "NOT_FOUND"
        })
      }).pipe(Effect.provide(LoggerTest)))

    const wrong = {
      "gives something else": () => Effect.succeed("something else"),
      throws: () => {
        throw new Error("hunter2")
      },
      dies: () => Effect.die(new Error("hunter2"))
    }
    for (const [what, wrap] of Object.entries(wrong)) {
      test(`that ${what} is a bug`, () =>
        Effect.gen(function* () {
          const game = yield* serving(
            Api,
            Grpc.use(Grpc.handlers(Api, plain), Grpc.middleware({ wrap: wrap as never }))
          )
          for (const call of [game.getPlayer({ playerId: "" }), Stream.runDrain(game.watch({ playerId: "" }))]) {
            const reason = yield* reasonOf(call as Effect.Effect<unknown, GrpcError>)
            assert.strictEqual(reason._tag, "Internal")
          }
        }).pipe(Effect.provide(LoggerTest)))
    }
  })

  describe(`${name}: overload`, () => {
    test("refuses calls beyond what may run at once, and takes them again after", () =>
      Effect.gen(function* () {
        const Api = Grpc.api({ getPlayer }, { getPlayer: { public: true } })
        const gate = yield* Deferred.make<void>()
        const started = yield* Queue.unbounded<string>()
        const served = Grpc.handlers(
          Api,
          Effect.succeed({
            getPlayer: ({ playerId }) =>
              Queue.offer(started, playerId).pipe(Effect.andThen(Deferred.await(gate)), Effect.as(response(playerId)))
          })
        )
        const game = yield* serving(Api, served, { settings: { concurrencyLimit: 2 } })
        const call = game.getPlayer({ playerId: "p1" })
        const calls = yield* Effect.all([Effect.forkChild(call), Effect.forkChild(call)])
        yield* Queue.takeN(started, 2)
        assert.include(yield* reasonOf(call), { _tag: "ResourceExhausted", details: "overloaded" })
        yield* Deferred.succeed(gate, undefined)
        for (const call of calls) assert.deepStrictEqual(yield* Fiber.join(call), response("p1"))
        assert.deepStrictEqual(yield* call, response("p1"))
      }).pipe(Effect.provide(LoggerTest)))
  })
}
