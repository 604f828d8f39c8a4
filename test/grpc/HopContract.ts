// What holds over a chain of services, where A calls B and B calls C: C does the work, the others pass on.
import { assert, describe, it as vitest } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import * as Tracer from "effect/Tracer"
import { Grpc, type GrpcClient, GrpcError, GrpcServer } from "xdooria/grpc"
import { LoggerTest, LogRecorder } from "xdooria/logger"
import * as Recorder from "../support/Recorder.ts"
import { GameApi, handlers, player, PlayerNotFound, response, StreamService } from "./Game.ts"

type Rooms<E> = Layer.Layer<GrpcServer | GrpcClient, E>

/** Something that a service does with each call before it passes it on. */
type Step = Effect.Effect<void, never, Grpc.Call>

const WatchApi = Grpc.api({ watch: StreamService.watch }, { watch: { errors: [PlayerNotFound], public: true } })

/** A service may do as it likes with what is not its own: this one says that it is a bug. */
const pass = <A, E, R>(call: Effect.Effect<A, E | GrpcError, R>) =>
  Effect.catchTag(call as Effect.Effect<A, Exclude<E, GrpcError> | GrpcError, R>, "GrpcError", Effect.die)

const gain = { playerId: "p1", requestId: "r1", amount: 1n }

/** A service that passes every call on to a target. */
const relay = (target: string, step: Step = Effect.void) => [
  Grpc.handlers(
    GameApi,
    Effect.map(Grpc.client(GameApi, { target }), (next) => ({
      healthCheck: () => Effect.andThen(step, Effect.orDie(next.healthCheck({}))),
      createPlayer: (request) => Effect.andThen(step, Effect.orDie(next.createPlayer(request))),
      getPlayer: (request) => Effect.andThen(step, pass(next.getPlayer(request))),
      gainExp: (request) => Effect.andThen(step, pass(next.gainExp(request)))
    }))
  ),
  Grpc.handlers(
    WatchApi,
    Effect.map(Grpc.client(WatchApi, { target }), (next) => ({
      watch: (request) => next.watch(request).pipe(Stream.catchTag("GrpcError", (error) => Stream.die(error)))
    }))
  )
]

/**
 * - `fleet`: gives what makes services that reach each other by their addresses
 * - `clock`: whose time it is
 */
export const suite = <E>(
  name: string,
  fleet: () => () => Rooms<E>,
  { clock }: { readonly clock: "test" | "live" }
): void => {
  const it = clock === "test" ? vitest.effect : vitest.live

  const advance = (time: Duration.Input): Effect.Effect<void> =>
    clock === "test" ? TestClock.adjust(time) : Effect.sleep(time)

  /** A client of A; `steps` are what A and B do before they pass a call on. */
  const chain = Effect.fnUntraced(function* (
    last: ReadonlyArray<Grpc.Handlers<never, never>>,
    steps: { readonly a?: Step; readonly b?: Step } = {}
  ) {
    const make = fleet()
    const serve = Effect.fnUntraced(function* (served: ReadonlyArray<Grpc.Handlers<GrpcError, GrpcClient>>) {
      const context = yield* Layer.build(GrpcServer.serve(...served).pipe(Layer.provideMerge(make())))
      return { address: yield* Context.get(context, GrpcServer).address, context }
    })
    const c = yield* serve(last)
    const b = yield* serve(relay(c.address, steps.b))
    const a = yield* serve(relay(b.address, steps.a))
    const [game, { watch }] = yield* Effect.all([
      Grpc.client(GameApi, { target: a.address }),
      Grpc.client(WatchApi, { target: a.address })
    ]).pipe(Effect.provide(a.context))
    return { ...game, watch }
  })

  const watching = (watch: () => Stream.Stream<ReturnType<typeof response>, PlayerNotFound>) =>
    Grpc.handlers(WatchApi, Effect.succeed({ watch }))

  const absent = new PlayerNotFound({ playerId: "p\u{1f3ae}", at: new Date(5), seen: 2n ** 70n })

  const reasonOf = <A, R>(call: Effect.Effect<A, GrpcError | { readonly _tag: string }, R>) =>
    Effect.map(Effect.flip(call), (error) => {
      assert.instanceOf(error, GrpcError)
      return error.reason
    })

  describe(`${name}: a chain of services`, () => {
    it("brings C's declared error to A's caller as it was declared", () =>
      Effect.gen(function* () {
        const game = yield* chain([handlers({ getPlayer: () => absent })])
        const arrived = yield* Effect.flip(game.getPlayer({ playerId: "p1" }))
        assert.instanceOf(arrived, PlayerNotFound)
        assert.deepStrictEqual({ ...arrived }, { ...absent })
      }).pipe(Effect.provide(LoggerTest)))

    it("brings C's stream to A's caller, and the declared error behind it", () =>
      Effect.gen(function* () {
        const answers = [response("p1"), response("p2")]
        const game = yield* chain([watching(() => Stream.concat(Stream.fromIterable(answers), Stream.fail(absent)))])
        const arrived: Array<unknown> = []
        const error = yield* game.watch({ playerId: "p1" }).pipe(
          Stream.runForEach((answer) => Effect.sync(() => arrived.push(answer))),
          Effect.flip
        )
        assert.deepStrictEqual(arrived, answers)
        assert.deepStrictEqual({ ...error }, { ...absent })
      }).pipe(Effect.provide(LoggerTest)))

    it("tells an undeclared error of C as INTERNAL, with ids that lead from A's log line to C's", () =>
      Effect.gen(function* () {
        const log = yield* LogRecorder
        const game = yield* chain([handlers({ gainExp: () => Effect.die(new Error("hunter2")) })])
        const reason = yield* reasonOf(game.gainExp(gain))
        assert.strictEqual(reason._tag, "Internal")
        assert.notInclude(JSON.stringify(reason), "hunter2")
        let id = reason._tag === "Internal" ? reason.errorId : undefined
        const texts: Array<string> = []
        while (id !== undefined) {
          const line = yield* log.find((line) => line["error_id"] === id)
          assert.include(line, { level: "error", code: "INTERNAL", method: "/game.GameService/GainExp" })
          texts.push(String(line["error"]))
          id = /\b[\da-f]{16}\b/.exec(texts.at(-1)!)?.[0]
        }
        assert.strictEqual(texts.length, 3)
        assert.include(texts[2], "hunter2")
      }).pipe(Effect.provide(LoggerTest)))

    it("has one deadline, of which less is left from hop to hop", () =>
      Effect.gen(function* () {
        const left: Array<number> = []
        const step = Effect.gen(function* () {
          const { deadline } = yield* Grpc.Call
          left.push(deadline - (yield* Clock.currentTimeMillis))
          yield* advance("50 millis")
        })
        const last = () => Effect.as(step, { player: player("p1"), levelsGained: 0 })
        // Not one that is idempotent: of such a call every try has a deadline of its own.
        const game = yield* chain([handlers({ gainExp: last })], { a: step, b: step })
        yield* game.gainExp(gain, { deadline: "5 seconds" })
        const [a = 0, b = 0, c = 0] = left
        assert.strictEqual(left.length, 3)
        assert.isTrue(a <= 5000 && b <= a - 40 && c <= b - 40 && c > 0, String(left))
        if (clock === "test") assert.deepStrictEqual(left, [5000, 4950, 4900])
      }).pipe(Effect.provide(LoggerTest)))

    it("refuses a call before it is sent, when the deadline of the one that is served is spent", () =>
      Effect.gen(function* () {
        const failed = yield* Deferred.make<GrpcError>()
        const arrived: Array<string> = []
        const make = fleet()
        const served = handlers({
          gainExp: () =>
            Effect.as(
              Effect.sync(() => arrived.push("call")),
              { player: player("p1"), levelsGained: 0 }
            )
        })
        const c = yield* Layer.build(GrpcServer.serve(served).pipe(Layer.provideMerge(make())))
        const target = yield* Context.get(c, GrpcServer).address
        // One that does not hear that its time is up.
        const stubborn = Grpc.handlers(
          Grpc.api({ getPlayer: GameApi.definition.getPlayer }, { getPlayer: { public: true, idempotent: true } }),
          Effect.map(Grpc.client(GameApi, { target }), (next) => ({
            getPlayer: () =>
              Effect.andThen(advance("200 millis"), Effect.flip(next.gainExp(gain))).pipe(
                Effect.tap((error) => (error instanceof GrpcError ? Deferred.succeed(failed, error) : Effect.void)),
                Effect.uninterruptible,
                Effect.andThen(Effect.never),
                Effect.orDie
              )
          }))
        )
        const a = yield* Layer.build(GrpcServer.serve(stubborn).pipe(Layer.provideMerge(make())))
        const game = yield* Grpc.client(GameApi, { target: yield* Context.get(a, GrpcServer).address }).pipe(
          Effect.provide(a)
        )
        const reason = yield* reasonOf(game.getPlayer({ playerId: "p1" }, { deadline: "100 millis" }))
        assert.strictEqual(reason._tag, "DeadlineExceeded")
        // Safe to repeat though the method is not idempotent: it was not sent.
        assert.include((yield* Deferred.await(failed)).reason, { _tag: "DeadlineExceeded", isSafeToRetry: true })
        assert.deepStrictEqual(arrived, [])
      }).pipe(Effect.provide(LoggerTest)))

    it("interrupts C when A's caller goes away", () =>
      Effect.gen(function* () {
        const events = yield* Recorder.make<string>()
        const stuck = <A>(what: string) =>
          Effect.andThen(events.record(`${what} started`), Effect.never as Effect.Effect<A>).pipe(
            Effect.onInterrupt(() => events.record(`${what} interrupted`))
          )
        const game = yield* chain([
          handlers({ gainExp: () => stuck("call") }),
          watching(() => Stream.fromEffect(stuck("stream")))
        ])
        const caller = yield* Effect.forkChild(
          Effect.all([game.gainExp(gain), Stream.runDrain(game.watch({ playerId: "p1" }))], { concurrency: 2 })
        )
        yield* events.atLeast(2, (event) => event.endsWith("started"))
        yield* Fiber.interrupt(caller)
        yield* events.atLeast(2, (event) => event.endsWith("interrupted"))
      }).pipe(Effect.provide(LoggerTest)))

    it("takes the trace of A's caller to C", () =>
      Effect.gen(function* () {
        const span = yield* Deferred.make<Tracer.AnySpan>()
        const game = yield* chain([
          handlers({
            healthCheck: () =>
              Effect.service(Tracer.ParentSpan).pipe(
                Effect.flatMap((parent) => Deferred.succeed(span, parent)),
                Effect.as({ status: "" })
              )
          })
        ])
        const traceId = "0af7651916cd43dd8448eb211c80319c"
        const parent = Tracer.externalSpan({ traceId, spanId: "b7ad6b7169203331", sampled: false })
        yield* game.healthCheck({}).pipe(Effect.provideService(Tracer.ParentSpan, parent))
        assert.include(yield* Deferred.await(span), { traceId, sampled: false })
      }).pipe(Effect.provide(LoggerTest)))
  })
}
