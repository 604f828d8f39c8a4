// What every gRPC server and client of this project promises of methods with streams.
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Grpc, GrpcError, GrpcServer } from "xdooria/grpc"
import { LoggerTest, LogRecorder } from "xdooria/logger"
import * as Recorder from "../support/Recorder.ts"
import {
  type Backend,
  passing,
  player,
  PlayerNotFound,
  response,
  StreamApi,
  streamHandlers,
  type Time,
  Undeclared
} from "./Game.ts"

type Served = Parameters<typeof streamHandlers>[0]

interface Request {
  readonly playerId: string
}

const request = (n: number | string): Request => ({ playerId: String(n) })

const ids = (responses: Iterable<{ readonly player?: { readonly id: string } | undefined }>) =>
  [...responses].map(({ player }) => player?.id)

const many = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => String(from + i))

const reasonOf = <A, E, R>(call: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(call), (error) => {
    assert.instanceOf(error, GrpcError)
    return error.reason
  })

/** What runs for ever until it is interrupted, which it tells. */
const stuck = Effect.gen(function* () {
  const started = yield* Deferred.make<void>()
  const interrupted = yield* Deferred.make<void>()
  const forever = Effect.andThen(Deferred.succeed(started, undefined), Effect.never).pipe(
    Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined))
  )
  return { forever, started: Deferred.await(started), interrupted: Deferred.await(interrupted) }
})

/** See {@link Backend}. */
export const streams = <E>(name: string, layer: Backend<E>, clock: Time): void => {
  const test = clock === "test" ? it.effect : it.live
  const passes = passing(clock)

  const serving = Effect.fnUntraced(function* (served: Served, settings: Partial<Grpc.GrpcSettings> = {}) {
    const server = GrpcServer.serve(streamHandlers(served))
    const context = yield* Layer.build(server.pipe(Layer.provideMerge(layer(settings))))
    const target = yield* Context.get(context, GrpcServer).address
    const client = yield* Grpc.client(StreamApi, { target }).pipe(Effect.provide(context))
    return { ...client, target }
  })

  describe(`${name}: streams`, () => {
    test("of responses bring all of them in their order, and end", () =>
      Effect.gen(function* () {
        const { watch } = yield* serving({
          watch: ({ playerId }: Request) => Stream.map(Stream.range(1, Number(playerId)), (n) => response(String(n)))
        })
        assert.deepStrictEqual(ids(yield* Stream.runCollect(watch(request(5000)))), many(1, 5000))
        assert.deepStrictEqual(ids(yield* Stream.runCollect(watch(request(1)))), ["1"])
      }).pipe(Effect.provide(LoggerTest)))

    test("may be empty, both ways", () =>
      Effect.gen(function* () {
        const { sum, talk, watch } = yield* serving({
          watch: () => Stream.empty,
          sum: (requests: Stream.Stream<Request>) => Effect.map(Stream.runCount(requests), (n) => response(String(n))),
          talk: (requests: Stream.Stream<Request>) => Stream.map(requests, () => response("none"))
        })
        assert.deepStrictEqual(yield* Stream.runCollect(watch(request(1))), [])
        assert.deepStrictEqual(yield* sum(Stream.empty), response("0"))
        assert.deepStrictEqual(yield* Stream.runCollect(talk(Stream.empty)), [])
      }).pipe(Effect.provide(LoggerTest)))

    test("of requests bring all of them in their order to the handler, then its response back", () =>
      Effect.gen(function* () {
        const { sum } = yield* serving({
          sum: (requests: Stream.Stream<Request>) =>
            Effect.map(Stream.runCollect(requests), (all) => response(all.map(({ playerId }) => playerId).join()))
        })
        const { player } = yield* sum(Stream.map(Stream.range(1, 3000), request))
        assert.strictEqual(player?.id, many(1, 3000).join())
      }).pipe(Effect.provide(LoggerTest)))

    test("of both go on side by side: each may answer the other", () =>
      Effect.gen(function* () {
        const { talk } = yield* serving({
          talk: (requests: Stream.Stream<Request>) => Stream.map(requests, ({ playerId }) => response(playerId))
        })
        const said = yield* Queue.unbounded<Request>()
        yield* Queue.offer(said, request(1))
        const answers = yield* talk(Stream.fromQueue(said)).pipe(
          Stream.tap(({ player }) => Queue.offer(said, request(Number(player!.id) + 1))),
          Stream.take(50),
          Stream.runCollect
        )
        assert.deepStrictEqual(ids(answers), many(1, 50))
      }).pipe(Effect.provide(LoggerTest)))

    test("go on after the client has sent all", () =>
      Effect.gen(function* () {
        const { talk } = yield* serving({
          talk: (requests: Stream.Stream<Request>) =>
            Stream.concat(
              Stream.drain(requests),
              Stream.map(Stream.range(1, 40), (n) => response(String(n)))
            )
        })
        const answers = yield* Stream.runCollect(talk(Stream.make(request(1), request(2))))
        assert.deepStrictEqual(ids(answers), many(1, 40))
      }).pipe(Effect.provide(LoggerTest)))

    test("may be answered before the client has sent all, who then sends no more", () =>
      Effect.gen(function* () {
        const { sum, talk } = yield* serving({
          sum: (requests: Stream.Stream<Request>) => Effect.map(Stream.runHead(requests), () => response("enough")),
          talk: (requests: Stream.Stream<Request>) =>
            Stream.map(Stream.take(requests, 1), ({ playerId }) => response(playerId))
        })
        const first = yield* stuck
        const endless = Stream.concat(Stream.make(request(1)), Stream.drain(Stream.fromEffect(first.forever)))
        assert.deepStrictEqual(yield* sum(endless), response("enough"))
        yield* first.interrupted
        const second = yield* stuck
        const alike = Stream.concat(Stream.make(request(1)), Stream.drain(Stream.fromEffect(second.forever)))
        assert.deepStrictEqual(ids(yield* Stream.runCollect(talk(alike))), ["1"])
        yield* second.interrupted
      }).pipe(Effect.provide(LoggerTest)))

    test("may fail after their first responses, which arrive, and the declared error after them", () =>
      Effect.gen(function* () {
        const left = new PlayerNotFound({ playerId: "p1", at: new Date(5), seen: 1n })
        const { talk, watch } = yield* serving({
          watch: () =>
            Stream.concat(
              Stream.map(Stream.range(1, 100), (n) => response(String(n))),
              Stream.fail(left)
            ),
          talk: (requests: Stream.Stream<Request>) =>
            Stream.mapEffect(requests, ({ playerId }) =>
              playerId === "3" ? Effect.fail(left) : Effect.succeed(response(playerId))
            )
        })
        const seen = yield* Recorder.make<string | undefined>()
        const failed = watch(request(1)).pipe(
          Stream.runForEach(({ player }) => seen.record(player?.id)),
          Effect.flip
        )
        const arrived = yield* failed
        assert.instanceOf(arrived, PlayerNotFound)
        assert.deepStrictEqual({ ...arrived }, { ...left })
        assert.deepStrictEqual(yield* seen.atLeast(100), many(1, 100))
        const answered = yield* Stream.runCollect(
          Stream.catchTag(talk(Stream.map(Stream.range(1, 5), request)), "PlayerNotFound", () =>
            Stream.make(response("failed"))
          )
        )
        assert.deepStrictEqual(ids(answered), ["1", "2", "failed"])
      }).pipe(Effect.provide(LoggerTest)))

    const secret = "hunter2"
    const defects: Record<string, (requests: Stream.Stream<Request>) => unknown> = {
      "an undeclared error": () => Stream.fail(new Undeclared()),
      "a defect after data": () => Stream.concat(Stream.make(response("1")), Stream.die(new Error(secret))),
      "a throw": () => {
        throw new Error(secret)
      },
      "a throw for a message": (requests) =>
        Stream.map(requests, () => {
          throw new Error(secret)
        }),
      "a response that does not encode": () => Stream.make({ player: { ...player("1"), exp: 2n ** 80n } }),
      "an Effect": () => Effect.succeed(response("1")),
      "a rejected promise": () => Promise.reject(new Error(secret)),
      "an interruption of its own": () => Stream.fromEffect(Effect.interrupt),
      "requests that are read twice at once": (requests) =>
        Stream.merge(
          Stream.map(requests, () => response("1")),
          Stream.map(requests, () => response("2"))
        )
    }
    for (const [what, talk] of Object.entries(defects)) {
      test(`are INTERNAL without a text, and an id that finds the log line: ${what}`, () =>
        Effect.gen(function* () {
          const log = yield* LogRecorder
          const game = yield* serving({ talk, watch: () => Stream.make(response("1")) })
          const endless = Stream.concat(Stream.make(request(1)), Stream.never)
          const reason = yield* reasonOf(Stream.runDrain(game.talk(endless)))
          assert.strictEqual(reason._tag, "Internal")
          const errorId = reason._tag === "Internal" ? reason.errorId : undefined
          assert.match(errorId ?? "", /^[\da-f]{16}$/)
          const line = yield* log.find((line) => line["error_id"] === errorId)
          assert.include(line, { level: "error", msg: "grpc call failed", code: "INTERNAL" })
          assert.notInclude(JSON.stringify(reason), secret)
          assert.deepStrictEqual(ids(yield* Stream.runCollect(game.watch(request(1)))), ["1"])
        }).pipe(Effect.provide(LoggerTest)))
    }

    test("leave one line each in the log", () =>
      Effect.gen(function* () {
        const log = yield* LogRecorder
        const { watch } = yield* serving({ watch: () => Stream.make(response("1"), response("2")) })
        yield* Stream.runDrain(watch(request(1)))
        const line = yield* log.find(({ msg }) => msg.startsWith("grpc call"))
        assert.include(line, { msg: "grpc call success", method: "/game.StreamService/Watch", code: "OK" })
        const lines = yield* log.lines
        assert.strictEqual(lines.filter(({ msg }) => msg.startsWith("grpc call")).length, 1)
      }).pipe(Effect.provide(LoggerTest)))
  })

  describe(`${name}: streams end`, () => {
    test("when the client has enough, which interrupts the handler", () =>
      Effect.gen(function* () {
        const { forever, interrupted } = yield* stuck
        const { watch } = yield* serving({
          watch: () => Stream.concat(Stream.make(response("1"), response("2")), Stream.fromEffect(forever))
        })
        assert.deepStrictEqual(ids(yield* Stream.runCollect(Stream.take(watch(request(1)), 2))), ["1", "2"])
        yield* interrupted
      }).pipe(Effect.provide(LoggerTest)))

    test("when the client is interrupted, which interrupts the handler, whatever it waits for", () =>
      Effect.gen(function* () {
        const [watching, summing, talking] = yield* Effect.all([stuck, stuck, stuck])
        const { sum, talk, watch } = yield* serving({
          watch: () => Stream.fromEffect(watching.forever),
          sum: () => summing.forever,
          talk: (requests: Stream.Stream<Request>) =>
            Stream.concat(Stream.drain(requests), Stream.fromEffect(talking.forever))
        })
        const calls = [
          [Stream.runDrain(watch(request(1))), watching],
          [sum(Stream.never), summing],
          [Stream.runDrain(talk(Stream.make(request(1)))), talking]
        ] as const
        for (const [call, { interrupted, started }] of calls) {
          const fiber = yield* Effect.forkChild(call as Effect.Effect<unknown, unknown>)
          yield* started
          yield* Fiber.interrupt(fiber)
          yield* interrupted
        }
      }).pipe(Effect.provide(LoggerTest)))

    test("when the stream of requests fails at the client, as it failed", () =>
      Effect.gen(function* () {
        const { forever, interrupted, started } = yield* stuck
        const { talk } = yield* serving({ talk: () => Stream.fromEffect(forever) })
        const failing = Stream.fromEffect(Effect.andThen(started, Effect.fail("no more" as const)))
        const requests = Stream.concat(Stream.make(request(1)), failing)
        assert.strictEqual(yield* Effect.flip(Stream.runDrain(talk(requests))), "no more")
        yield* interrupted
      }).pipe(Effect.provide(LoggerTest)))

    test("at the caller's deadline, which interrupts the handler", () =>
      Effect.gen(function* () {
        const { forever, interrupted } = yield* stuck
        const { watch } = yield* serving({
          watch: () => Stream.concat(Stream.make(response("1")), Stream.fromEffect(forever))
        })
        const reason = yield* passes(reasonOf(Stream.runDrain(watch(request(1), { deadline: "500 millis" }))))
        assert.strictEqual(reason._tag, "DeadlineExceeded")
        yield* interrupted
      }).pipe(Effect.provide(LoggerTest)))

    test("at the server's deadline when the requests are a stream and the response is one, else never", () =>
      Effect.gen(function* () {
        const { forever, interrupted } = yield* stuck
        const gate = yield* Deferred.make<void>()
        const { sum, watch } = yield* serving(
          {
            sum: () => forever,
            watch: () => Stream.fromEffect(Effect.as(Deferred.await(gate), response("late")))
          },
          { maxDeadline: Duration.millis(50) }
        )
        const watching = yield* Effect.forkChild(Stream.runCollect(watch(request(1))), { startImmediately: true })
        const reason = yield* passes(reasonOf(sum(Stream.never, { deadline: Duration.infinity })))
        assert.include(reason, { _tag: "OutcomeUnknown", code: "DEADLINE_EXCEEDED" })
        yield* interrupted
        // A second of that kind, so that twice that time has passed.
        yield* passes(reasonOf(sum(Stream.never, { deadline: Duration.infinity })))
        yield* Deferred.succeed(gate, undefined)
        assert.deepStrictEqual(ids(yield* Fiber.join(watching)), ["late"])
      }).pipe(Effect.provide(LoggerTest)))

    test("with a status when the server stops, after what was sent; what has one response is waited for", () =>
      Effect.gen(function* () {
        const { forever, interrupted, started } = yield* stuck
        const gate = yield* Deferred.make<void>()
        const summing = yield* Deferred.make<void>()
        const scope = yield* Scope.make()
        const served = streamHandlers({
          watch: () => Stream.concat(Stream.make(response("1")), Stream.fromEffect(forever)),
          sum: () =>
            Deferred.succeed(summing, undefined).pipe(
              Effect.andThen(Deferred.await(gate)),
              Effect.as(response("waited for"))
            )
        })
        const context = yield* Layer.build(layer())
        yield* Layer.build(GrpcServer.serve(served).pipe(Layer.provide(Layer.succeedContext(context)))).pipe(
          Scope.provide(scope)
        )
        const target = yield* Context.get(context, GrpcServer).address
        const { sum, watch } = yield* Grpc.client(StreamApi, { target }).pipe(Effect.provide(context))
        const seen = yield* Recorder.make<string | undefined>()
        const watching = yield* Effect.forkChild(
          reasonOf(Stream.runForEach(watch(request(1)), ({ player }) => seen.record(player?.id)))
        )
        const sums = yield* Effect.forkChild(sum(Stream.never))
        yield* started
        yield* Deferred.await(summing)
        const stopping = yield* Effect.forkChild(Scope.close(scope, Exit.void))
        const reason = yield* Fiber.join(watching)
        assert.strictEqual(reason._tag, "Unavailable")
        assert.deepStrictEqual(yield* seen.atLeast(1), ["1"])
        yield* interrupted
        yield* Deferred.succeed(gate, undefined)
        assert.deepStrictEqual(yield* Fiber.join(sums), response("waited for"))
        yield* Fiber.join(stopping)
      }).pipe(Effect.provide(LoggerTest)))
  })

  describe(`${name}: streams hold back`, () => {
    const size = 10_000
    const large = "x".repeat(size)
    const most = (1 << 20) / size

    test("a handler whose client does not read, before 1 MB waits", () =>
      Effect.gen(function* () {
        let made = 0
        const full = yield* Deferred.make<void>()
        const { watch } = yield* serving({
          watch: () =>
            Stream.range(1, 1000).pipe(
              Stream.rechunk(1),
              Stream.map(() => {
                made++
                return { player: { ...player("p1"), name: large } }
              })
            )
        })
        const first = yield* Deferred.make<void>()
        const reading = yield* Effect.forkChild(
          watch(request(1)).pipe(
            Stream.runForEach(() => Effect.andThen(Deferred.succeed(first, undefined), Deferred.await(full)))
          )
        )
        yield* Deferred.await(first)
        // As long as something moves there is room.
        let before = -1
        while (before !== made) {
          before = made
          yield* passes(Effect.sleep(100))
        }
        // Both sides hold something: half of it is each one's.
        assert.isBelow(made, 2 * most)
        yield* Deferred.succeed(full, undefined)
        yield* Fiber.join(reading)
        assert.strictEqual(made, 1000)
      }).pipe(Effect.provide(LoggerTest)))

    test("a client whose handler does not read, before 1 MB waits", () =>
      Effect.gen(function* () {
        let made = 0
        const gate = yield* Deferred.make<void>()
        const started = yield* Deferred.make<void>()
        const { sum } = yield* serving({
          sum: (requests: Stream.Stream<Request>) =>
            Deferred.succeed(started, undefined).pipe(
              Effect.andThen(Deferred.await(gate)),
              Effect.andThen(Stream.runCount(requests)),
              Effect.map((n) => response(String(n)))
            )
        })
        const requests = Stream.range(1, 1000).pipe(
          Stream.rechunk(1),
          Stream.map(() => {
            made++
            return request(large)
          })
        )
        const summing = yield* Effect.forkChild(sum(requests))
        yield* Deferred.await(started)
        let before = -1
        while (before !== made) {
          before = made
          yield* passes(Effect.sleep(100))
        }
        assert.isBelow(made, 2 * most)
        yield* Deferred.succeed(gate, undefined)
        assert.deepStrictEqual(yield* Fiber.join(summing), response("1000"))
      }).pipe(Effect.provide(LoggerTest)))

    test("messages that are too large, both ways, after those that were not", () =>
      Effect.gen(function* () {
        const { talk, watch } = yield* serving(
          {
            watch: () => Stream.concat(Stream.make(response("1"), response("x".repeat(2000))), Stream.never),
            talk: (requests: Stream.Stream<Request>) => Stream.map(requests, ({ playerId }) => response(playerId))
          },
          { maxMessageSize: 1000 }
        )
        const seen: Array<string | undefined> = []
        const drain = (responses: ReturnType<typeof watch>) =>
          reasonOf(Stream.runForEach(responses, ({ player }) => Effect.sync(() => void seen.push(player?.id))))
        assert.strictEqual((yield* drain(watch(request(1))))._tag, "ResourceExhausted")
        assert.deepStrictEqual(seen, ["1"])
        const large = talk(Stream.make(request(2), request("x".repeat(2000))))
        assert.strictEqual((yield* drain(large))._tag, "ResourceExhausted")
      }).pipe(Effect.provide(LoggerTest)))
  })
}
