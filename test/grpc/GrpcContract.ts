// What every gRPC server and client of this project promises together. One test for each promise of the README.
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import { Grpc, GrpcError, GrpcServer } from "xdooria/grpc"
import { LoggerTest, LogRecorder } from "xdooria/logger"
import { callers } from "./CallerContract.ts"
import {
  type Backend,
  Banned,
  GameApi,
  handlers,
  type Methods,
  passing,
  player,
  PlayerNotFound,
  response,
  start,
  type Time,
  Undeclared
} from "./Game.ts"
import { hostile } from "./HostileContract.ts"
import { streams } from "./StreamContract.ts"

const reasonOf = <A, E, R>(call: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(call), (error) => {
    assert.instanceOf(error, GrpcError)
    return error.reason
  })

class Clue extends Context.Service<Clue, string>()("test/Clue") {}

/**
 * - `layer`: a server that listens where nothing else does, and a client that reaches it at the server's address
 * - `clock`: `test` where their time is TestClock's
 */
export const suite = <E>(name: string, layer: Backend<E>, clock: Time): void => {
  const test = clock === "test" ? it.effect : it.live
  const passes = passing(clock)
  streams(name, layer, clock)
  callers(name, layer, clock)
  hostile(name, layer, clock)

  const serving = (methods: { readonly [K in keyof Methods]?: (request: never) => unknown }) =>
    start(layer(), handlers(methods))

  describe(`${name}: calls`, () => {
    test("take a request to its handler and bring its response back, byte by byte", () =>
      Effect.gen(function* () {
        const id = "zażółć 玩家 \u{1f3ae} \0 end"
        const seen = yield* Queue.unbounded<unknown>()
        const game = yield* serving({
          getPlayer: ({ playerId }: { readonly playerId: string }) =>
            Effect.as(Queue.offer(seen, playerId), { player: { ...player(playerId), exp: 2n ** 63n - 1n } })
        })
        const { player: answer } = yield* game.getPlayer({ playerId: id })
        assert.strictEqual(yield* Queue.take(seen), id)
        assert.deepStrictEqual(answer, { ...player(id), exp: 2n ** 63n - 1n })
      }).pipe(Effect.provide(LoggerTest)))

    test("run their handlers on what the server's layer was given", () =>
      Effect.gen(function* () {
        const served = Grpc.handlers(
          GameApi,
          Effect.map(Effect.context<never>(), () => ({
            healthCheck: () => Effect.map(Clue, (status) => ({ status })),
            createPlayer: () => Effect.succeed({ player: undefined }),
            getPlayer: () => Effect.succeed({ player: undefined }),
            gainExp: () => Effect.succeed({ player: undefined, levelsGained: 0 })
          }))
        )
        const context = yield* Layer.build(
          GrpcServer.serve(served).pipe(Layer.provide(Layer.succeed(Clue, "from below")), Layer.provideMerge(layer()))
        )
        const target = yield* Context.get(context, GrpcServer).address
        const game = yield* Grpc.client(GameApi, { target }).pipe(Effect.provide(context))
        assert.deepStrictEqual(yield* game.healthCheck({}), { status: "from below" })
      }).pipe(Effect.provide(LoggerTest)))

    test("go on side by side", () =>
      Effect.gen(function* () {
        const gate = yield* Deferred.make<void>()
        const game = yield* serving({
          getPlayer: ({ playerId }: { readonly playerId: string }) =>
            playerId === "last"
              ? Effect.as(Deferred.succeed(gate, undefined), response(playerId))
              : Effect.as(Deferred.await(gate), response(playerId))
        })
        const ids = [...Array.from({ length: 200 }, (_, i) => `p${i}`), "last"]
        const answers = yield* Effect.forEach(ids, (playerId) => game.getPlayer({ playerId }), {
          concurrency: "unbounded"
        })
        assert.deepStrictEqual(
          answers.map(({ player }) => player?.id),
          ids
        )
      }).pipe(Effect.provide(LoggerTest)))

    test("carry the caller's trace to the handler", () =>
      Effect.gen(function* () {
        const spanOf = yield* Queue.unbounded<Option.Option<Tracer.AnySpan>>()
        const game = yield* serving({
          healthCheck: () =>
            Effect.serviceOption(Tracer.ParentSpan).pipe(
              Effect.flatMap((span) => Queue.offer(spanOf, span)),
              Effect.as({ status: "" })
            )
        })
        const parent = Tracer.externalSpan({
          traceId: "0af7651916cd43dd8448eb211c80319c",
          spanId: "b7ad6b7169203331",
          sampled: false
        })
        yield* game.healthCheck({})
        assert.isTrue(Option.isNone(yield* Queue.take(spanOf)))
        yield* game.healthCheck({}).pipe(Effect.provideService(Tracer.ParentSpan, parent))
        assert.deepStrictEqual(yield* Queue.take(spanOf), Option.some(parent))
      }).pipe(Effect.provide(LoggerTest)))

    test("leave one line each in the log, with method, code and duration", () =>
      Effect.gen(function* () {
        const log = yield* LogRecorder
        const game = yield* serving({
          getPlayer: () => Effect.andThen(Effect.logInfo("inside"), new Banned({ until: 5 }))
        })
        yield* game.healthCheck({})
        yield* Effect.flip(game.getPlayer({ playerId: "p1" }))
        const success = yield* log.find(({ msg }) => msg === "grpc call success")
        const failure = yield* log.find(({ msg }) => msg === "grpc call failed")
        assert.include(success, { level: "info", method: "/game.GameService/HealthCheck", code: "OK" })
        assert.include(failure, { level: "info", method: "/game.GameService/GetPlayer", code: "PERMISSION_DENIED" })
        assert.strictEqual(failure["error"], "Banned")
        assert.isTrue(
          [success, failure].every(({ duration }) => typeof duration === "number" && (clock === "test" || duration > 0))
        )
        const lines = yield* log.lines
        assert.strictEqual(lines.filter(({ msg }) => msg.startsWith("grpc call")).length, 2)
        assert.strictEqual(lines.find(({ msg }) => msg === "inside")?.["method"], "/game.GameService/GetPlayer")
      }).pipe(Effect.provide(LoggerTest)))
  })

  describe(`${name}: errors`, () => {
    test("that are declared arrive as they left: class, fields and message", () =>
      Effect.gen(function* () {
        const left = new PlayerNotFound({ playerId: "p\u{1f3ae}", at: new Date(5), seen: 2n ** 70n })
        const game = yield* serving({ getPlayer: () => left })
        const arrived = yield* Effect.flip(game.getPlayer({ playerId: "p1" }))
        assert.instanceOf(arrived, PlayerNotFound)
        assert.deepStrictEqual({ ...arrived }, { ...left })
        assert.strictEqual(arrived.message, "no player p\u{1f3ae}")
        const caught = yield* game
          .getPlayer({ playerId: "p1" })
          .pipe(Effect.catchTag("PlayerNotFound", ({ seen }) => Effect.succeed(seen)))
        assert.strictEqual(caught, 2n ** 70n)
      }).pipe(Effect.provide(LoggerTest)))

    test("that are too large for metadata still arrive as their status", () =>
      Effect.gen(function* () {
        const game = yield* serving({
          getPlayer: () => new PlayerNotFound({ playerId: "x".repeat(50_000), at: new Date(5), seen: 0n })
        })
        const reason = yield* reasonOf(game.getPlayer({ playerId: "p1" }))
        assert.include(reason, { _tag: "UnexpectedStatus", code: "NOT_FOUND" })
      }).pipe(Effect.provide(LoggerTest)))

    test("that a client does not know are told with their tag", () =>
      Effect.gen(function* () {
        const game = yield* serving({ getPlayer: () => new Banned({ until: 5 }) })
        const Older = Grpc.api(GameApi.definition, {})
        const older = yield* Grpc.client(Older, { target: game.address }).pipe(Effect.provide(game.context))
        const reason = yield* reasonOf(older.getPlayer({ playerId: "p1" }))
        assert.strictEqual(reason._tag, "PermissionDenied")
        const served = yield* start(
          layer(),
          handlers({ getPlayer: () => new PlayerNotFound({ playerId: "p1", at: new Date(5), seen: 0n }) })
        )
        const other = yield* Grpc.client(Older, { target: served.address }).pipe(Effect.provide(served.context))
        assert.include(yield* reasonOf(other.getPlayer({ playerId: "p1" })), {
          _tag: "UnexpectedStatus",
          code: "NOT_FOUND",
          tag: "PlayerNotFound"
        })
      }).pipe(Effect.provide(LoggerTest)))

    const secret = "hunter2"
    const defects: Record<string, () => unknown> = {
      "an undeclared error": () => new Undeclared(),
      "a declared error of another method": () => Effect.fail({ _tag: "PlayerNotFound", secret }),
      "a failure with no tag": () => Effect.fail(secret),
      "a failure with nothing": () => Effect.fail(undefined),
      "a defect": () => Effect.die(new Error(secret)),
      "a throw": () => {
        throw new Error(secret)
      },
      "an interruption of its own": () => Effect.interrupt,
      "a rejected promise": () => Promise.reject(new Error(secret)),
      "a promise of a value": () => Promise.resolve(response("p1")),
      nothing: () => undefined,
      "a response that does not encode": () => Effect.succeed({ player: { ...player("p1"), exp: 2n ** 80n } }),
      "no response": () => Effect.void
    }
    for (const [what, handler] of Object.entries(defects)) {
      test(`are INTERNAL without a text, and an id that finds the log line: ${what}`, () =>
        Effect.gen(function* () {
          const log = yield* LogRecorder
          const game = yield* serving({ gainExp: handler })
          const reason = yield* reasonOf(game.gainExp({ playerId: "p1", requestId: "r1", amount: 1n }))
          assert.strictEqual(reason._tag, "Internal")
          const errorId = reason._tag === "Internal" ? reason.errorId : undefined
          assert.match(errorId ?? "", /^[\da-f]{16}$/)
          const line = yield* log.find((line) => line["error_id"] === errorId)
          assert.include(line, { level: "error", msg: "grpc call failed", code: "INTERNAL" })
          assert.isString(line["error"])
          assert.notInclude(JSON.stringify(reason), secret)
          assert.strictEqual((yield* game.healthCheck({})).status, "SERVING")
        }).pipe(Effect.provide(LoggerTest)))
    }

    test("of a message that throws do not leave the call without an answer", () =>
      Effect.gen(function* () {
        class Throwing extends Grpc.TaggedError<Throwing>()(
          "Throwing",
          {},
          {
            status: "ABORTED",
            message: () => {
              throw new Error("no message")
            }
          }
        ) {}
        const { healthCheck } = GameApi.definition
        const Api = Grpc.api({ healthCheck }, { healthCheck: { errors: [Throwing], public: true } })
        const built = handlers({ healthCheck: () => new Throwing() })
        const game = yield* start(layer(), { ...built, api: Api })
        assert.strictEqual((yield* reasonOf(game.healthCheck({})))._tag, "Internal")
      }).pipe(Effect.provide(LoggerTest)))
  })

  describe(`${name}: ends`, () => {
    const stuck = Effect.gen(function* () {
      const started = yield* Deferred.make<void>()
      const interrupted = yield* Deferred.make<void>()
      const handler = () =>
        Effect.andThen(Deferred.succeed(started, undefined), Effect.never).pipe(
          Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined))
        )
      return { handler, started: Deferred.await(started), interrupted: Deferred.await(interrupted) }
    })

    test("at the caller's deadline, which interrupts the handler", () =>
      Effect.gen(function* () {
        const { handler, interrupted } = yield* stuck
        const game = yield* serving({ getPlayer: handler, gainExp: handler })
        const reason = yield* passes(reasonOf(game.getPlayer({ playerId: "p1" }, { deadline: "100 millis" })))
        assert.strictEqual(reason._tag, "DeadlineExceeded")
        yield* interrupted
      }).pipe(Effect.provide(LoggerTest)))

    test("at the caller's deadline with an unknown outcome, when the method may not be repeated", () =>
      Effect.gen(function* () {
        const { handler, interrupted } = yield* stuck
        const game = yield* serving({ gainExp: handler })
        const call = game.gainExp({ playerId: "p1", requestId: "r1", amount: 1n }, { deadline: "100 millis" })
        const reason = yield* passes(reasonOf(call))
        assert.include(reason, { _tag: "OutcomeUnknown", code: "DEADLINE_EXCEEDED", isSafeToRetry: false })
        yield* interrupted
      }).pipe(Effect.provide(LoggerTest)))

    test("at the server's deadline, when the caller has none or a longer one", () =>
      Effect.gen(function* () {
        const { handler, interrupted } = yield* stuck
        const log = yield* LogRecorder
        const game = yield* start(layer({ maxDeadline: Duration.millis(100) }), handlers({ getPlayer: handler }))
        const reason = yield* passes(reasonOf(game.getPlayer({ playerId: "p1" }, { deadline: Duration.infinity })))
        assert.strictEqual(reason._tag, "DeadlineExceeded")
        yield* interrupted
        yield* log.find(({ code }) => code === "DEADLINE_EXCEEDED")
      }).pipe(Effect.provide(LoggerTest)))

    test("at the server's deadline, even when the handler cannot be interrupted", () =>
      Effect.gen(function* () {
        const gate = yield* Deferred.make<void>()
        const game = yield* start(
          layer({ maxDeadline: Duration.millis(50) }),
          handlers({ getPlayer: () => Effect.uninterruptible(Effect.as(Deferred.await(gate), response("p1"))) })
        )
        const first = yield* passes(reasonOf(game.getPlayer({ playerId: "p1" })))
        const second = yield* passes(reasonOf(game.getPlayer({ playerId: "p1" })))
        assert.deepStrictEqual([first._tag, second._tag], ["DeadlineExceeded", "DeadlineExceeded"])
        yield* Deferred.succeed(gate, undefined)
      }).pipe(Effect.provide(LoggerTest)))

    test("at the client's deadline, when the call names none", () =>
      Effect.gen(function* () {
        const { handler, interrupted } = yield* stuck
        const game = yield* start(layer({ deadline: Duration.millis(100) }), handlers({ getPlayer: handler }))
        assert.strictEqual((yield* passes(reasonOf(game.getPlayer({ playerId: "p1" }))))._tag, "DeadlineExceeded")
        yield* interrupted
      }).pipe(Effect.provide(LoggerTest)))

    test("with an answer, when the deadline is far away", () =>
      Effect.gen(function* () {
        const game = yield* serving({})
        for (const deadline of ["24 days", 0x7fffffff - 50, "30 days", "20000000 weeks", Duration.infinity] as const) {
          assert.deepStrictEqual(yield* game.getPlayer({ playerId: "p1" }, { deadline }), response("p1"))
        }
      }).pipe(Effect.provide(LoggerTest)))

    test("before their handler runs, when the deadline has passed already", () =>
      Effect.gen(function* () {
        const game = yield* serving({ getPlayer: () => Effect.die("not to be run") })
        const reason = yield* reasonOf(game.getPlayer({ playerId: "p1" }, { deadline: 0 }))
        assert.strictEqual(reason._tag, "DeadlineExceeded")
      }).pipe(Effect.provide(LoggerTest)))

    test("when the caller is interrupted, which interrupts the handler", () =>
      Effect.gen(function* () {
        const { handler, interrupted, started } = yield* stuck
        const log = yield* LogRecorder
        const game = yield* serving({ getPlayer: handler })
        const call = yield* Effect.forkChild(game.getPlayer({ playerId: "p1" }))
        yield* started
        yield* Fiber.interrupt(call)
        yield* interrupted
        yield* log.find(({ code }) => code === "CANCELLED")
      }).pipe(Effect.provide(LoggerTest)))

    test("with a log line for a bug that shows when the handler is interrupted", () =>
      Effect.gen(function* () {
        const log = yield* LogRecorder
        const started = yield* Deferred.make<void>()
        const game = yield* serving({
          getPlayer: () =>
            Effect.andThen(Deferred.succeed(started, undefined), Effect.never).pipe(
              Effect.onInterrupt(() => Effect.die(new Error("in a finalizer")))
            )
        })
        const call = yield* Effect.forkChild(game.getPlayer({ playerId: "p1" }))
        yield* Deferred.await(started)
        yield* Fiber.interrupt(call)
        const line = yield* log.find(({ msg }) => msg === "grpc handler failed after its call had ended")
        assert.include(line, { level: "error", error: "Error: in a finalizer" })
      }).pipe(Effect.provide(LoggerTest)))
  })

  describe(`${name}: limits`, () => {
    test("refuse messages that are too large, both ways, and the server goes on", () =>
      Effect.gen(function* () {
        const large = "x".repeat(1000)
        const game = yield* start(
          layer({ maxMessageSize: 1000 }),
          handlers({
            getPlayer: () => Effect.succeed(response(large)),
            gainExp: () => Effect.succeed({ player: player(large), levelsGained: 0 })
          })
        )
        const request = yield* reasonOf(game.createPlayer({ playerId: large, name: "" }))
        const read = yield* reasonOf(game.getPlayer({ playerId: "p1" }))
        const write = yield* reasonOf(game.gainExp({ playerId: "p1", requestId: "r1", amount: 1n }))
        const seen = [request, read, write].map(({ _tag, isSafeToRetry }) => [_tag, isSafeToRetry])
        const log = yield* LogRecorder
        const codes = (yield* log.lines).flatMap(({ code }) => (code === undefined ? [] : [code]))
        assert.deepStrictEqual(codes, ["RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED"])
        // The first was never sent; the last was applied, and only its reply did not fit.
        assert.deepStrictEqual(seen, [
          ["ResourceExhausted", true],
          ["ResourceExhausted", true],
          ["ResourceExhausted", false]
        ])
        assert.strictEqual((yield* game.healthCheck({})).status, "SERVING")
      }).pipe(Effect.provide(LoggerTest)))

    test("refuse metadata over 8 KB, and take what is below", () =>
      Effect.gen(function* () {
        const game = yield* serving({})
        yield* game.healthCheck({}, { metadata: { note: "x".repeat(7_900) } })
        const one = yield* reasonOf(game.healthCheck({}, { metadata: { note: "x".repeat(8_200) } }))
        const many = Object.fromEntries(Array.from({ length: 110 }, (_, i) => [`note-${i}`, "x".repeat(45)]))
        const all = yield* reasonOf(game.healthCheck({}, { metadata: many }))
        assert.deepStrictEqual([one._tag, all._tag], ["ResourceExhausted", "ResourceExhausted"])
      }).pipe(Effect.provide(LoggerTest)))

    test("refuse a request that cannot be encoded, before it is sent", () =>
      Effect.gen(function* () {
        const game = yield* serving({ gainExp: () => Effect.die("not to be run") })
        const body = yield* reasonOf(game.gainExp({ playerId: "p1", requestId: "", amount: 2n ** 64n }))
        const metadata = yield* reasonOf(game.healthCheck({}, { metadata: { "not a name": "" } }))
        assert.deepStrictEqual([body._tag, metadata._tag], ["InvalidArgument", "InvalidArgument"])
      }).pipe(Effect.provide(LoggerTest)))

    test("refuse a method that is not served", () =>
      Effect.gen(function* () {
        const { address, context } = yield* serving({})
        const { healthCheck } = GameApi.definition
        const Other = Grpc.api({ nothing: { ...healthCheck, path: "/game.GameService/Nothing" } }, {})
        const other = yield* Grpc.client(Other, { target: address }).pipe(Effect.provide(context))
        assert.strictEqual((yield* reasonOf(other.nothing({})))._tag, "Unimplemented")
      }).pipe(Effect.provide(LoggerTest)))
  })

  describe(`${name}: server`, () => {
    test("stops in order: accepted calls end, then what the handlers acquired is released", () =>
      Effect.gen(function* () {
        const log = yield* LogRecorder
        const events = yield* Queue.unbounded<string>()
        const started = yield* Deferred.make<void>()
        const gate = yield* Deferred.make<void>()
        const served = Grpc.handlers(
          GameApi,
          Effect.gen(function* () {
            yield* Effect.addFinalizer(() => Queue.offer(events, "handlers closed"))
            return {
              healthCheck: () => Effect.succeed({ status: "" }),
              createPlayer: () => Effect.succeed({ player: undefined }),
              gainExp: () => Effect.succeed({ player: undefined, levelsGained: 0 }),
              getPlayer: () =>
                Deferred.succeed(started, undefined).pipe(
                  Effect.andThen(Deferred.await(gate)),
                  Effect.andThen(Queue.offer(events, "call ended")),
                  Effect.as(response("p1"))
                )
            }
          })
        )
        const scope = yield* Scope.make()
        const game = yield* start(layer(), served).pipe(Scope.provide(scope))
        const call = yield* Effect.forkChild(game.getPlayer({ playerId: "p1" }))
        yield* Deferred.await(started)
        // The client belongs to this scope as well, so the call ends with it: it is waited for first.
        const stopping = yield* Effect.forkChild(Scope.close(scope, Exit.void))
        yield* log.find(({ msg }) => msg === "grpc server stopping")
        yield* Deferred.succeed(gate, undefined)
        assert.deepStrictEqual(yield* Fiber.join(call), response("p1"))
        yield* Fiber.join(stopping)
        assert.deepStrictEqual(yield* Queue.takeAll(events), ["call ended", "handlers closed"])
      }).pipe(Effect.provide(LoggerTest)))

    test("knows its address as long as it serves", () =>
      Effect.gen(function* () {
        const context = yield* Layer.build(layer())
        const server = Context.get(context, GrpcServer)
        assert.strictEqual((yield* reasonOf(server.address))._tag, "NotServing")
        yield* Effect.scoped(
          Effect.gen(function* () {
            yield* Layer.build(GrpcServer.serve(handlers({})).pipe(Layer.provide(Layer.succeedContext(context))))
            assert.isNotEmpty(yield* server.address)
          })
        )
        assert.strictEqual((yield* reasonOf(server.address))._tag, "NotServing")
      }).pipe(Effect.provide(LoggerTest)))

    test("serves once, and no method twice", () =>
      Effect.gen(function* () {
        const twice = yield* reasonOf(
          Layer.build(GrpcServer.serve(handlers({}), handlers({})).pipe(Layer.provide(layer())))
        )
        assert.strictEqual(twice._tag, "InvalidService")
        const context = yield* Layer.build(layer())
        const serve = GrpcServer.serve(handlers({})).pipe(Layer.provide(Layer.succeedContext(context)))
        yield* Layer.build(serve)
        assert.strictEqual((yield* reasonOf(Layer.build(Layer.fresh(serve))))._tag, "InvalidService")
      }).pipe(Effect.provide(LoggerTest)))

    test("serves several services", () =>
      Effect.gen(function* () {
        const { healthCheck } = GameApi.definition
        const Other = Grpc.api(
          { healthCheck: { ...healthCheck, path: "/other.Other/HealthCheck" } },
          { healthCheck: { public: true } }
        )
        const other = Grpc.handlers(Other, Effect.succeed({ healthCheck: () => Effect.succeed({ status: "other" }) }))
        const context = yield* Layer.build(GrpcServer.serve(handlers({}), other).pipe(Layer.provideMerge(layer())))
        const target = yield* Context.get(context, GrpcServer).address
        const [game, client] = yield* Effect.all([
          Grpc.client(GameApi, { target }),
          Grpc.client(Other, { target })
        ]).pipe(Effect.provide(context))
        assert.strictEqual((yield* game.healthCheck({})).status, "SERVING")
        assert.strictEqual((yield* client.healthCheck({})).status, "other")
      }).pipe(Effect.provide(LoggerTest)))
  })
}
