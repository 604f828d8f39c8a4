// Peers that do not read, or send what is refused while they are answered: their calls end, and the log says how.
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import * as http2 from "node:http2"
import { Grpc, GrpcServer } from "xdooria/grpc"
import { LoggerTest, LogRecorder } from "xdooria/logger"
import { GetPlayerRequest } from "../../src/gen/game.ts"
import * as Health from "../../src/grpc/internal/health.ts"
import { handlers, live, response, start, streamHandlers } from "./Game.ts"
import * as Raw from "./Raw.ts"

const request = Raw.frame(GetPlayerRequest.encode({ playerId: "p1" }).finish())

const large = response("x".repeat(50_000))

const { NGHTTP2_CANCEL } = http2.constants

/** A connection whose peer grants no byte. */
const frozen = (address: string) =>
  Effect.acquireRelease(
    Effect.callback<http2.ClientHttp2Session>((resume) => {
      const session = http2.connect(`http://${address}`, { settings: { initialWindowSize: 0 } })
      session.on("error", () => {})
      session.once("localSettings", () => resume(Effect.succeed(session)))
    }),
    (session) => Effect.sync(() => session.destroy())
  )

/** Calls, reads nothing, and tells the code of the reset that ends it. */
const unread = (session: http2.ClientHttp2Session, path: string, timeout: string) =>
  Effect.callback<number>((resume) => {
    const stream = session.request({
      ":method": "POST",
      ":path": path,
      te: "trailers",
      "content-type": "application/grpc",
      "grpc-timeout": timeout
    })
    stream.on("error", () => {})
    stream.on("close", () => resume(Effect.succeed(stream.rstCode)))
    stream.end(request)
  })

/** Talks, sends more once there is an answer, and tells the status. */
const answered = (session: http2.ClientHttp2Session, more: Buffer, headers: http2.OutgoingHttpHeaders) =>
  Effect.callback<number>((resume) => {
    const stream = session.request({
      ":method": "POST",
      ":path": "/game.StreamService/Talk",
      te: "trailers",
      "content-type": "application/grpc",
      ...headers
    })
    stream.on("error", () => {})
    stream.once("data", () => stream.write(more))
    stream.on("trailers", (trailers) => resume(Effect.succeed(Number(trailers["grpc-status"]))))
    stream.resume()
    stream.write(request)
  })

/** Serves streams of responses without end. */
const endless = Effect.gen(function* () {
  const interrupted = yield* Deferred.make<void>()
  const ending = Stream.ensuring(Effect.asVoid(Deferred.succeed(interrupted, undefined)))
  const forever = ending(Stream.fromEffectRepeat(Effect.succeed(large)))
  const served = streamHandlers({
    watch: () => forever,
    talk: (requests: Stream.Stream<unknown>) => Stream.merge(forever, Stream.drain(requests))
  })
  const settings = { maxDeadline: Duration.millis(300), maxMessageSize: 100_000 }
  const context = yield* Layer.build(GrpcServer.serve(served).pipe(Layer.provideMerge(live(settings))))
  const address = yield* Context.get(context, GrpcServer).address
  return { address, interrupted: Deferred.await(interrupted) }
})

describe("a peer", () => {
  it.live("that does not read a stream of responses: its deadline interrupts the handler, then it is reset", () =>
    Effect.gen(function* () {
      const log = yield* LogRecorder
      const { address, interrupted } = yield* endless
      const session = yield* frozen(address)
      assert.strictEqual(yield* unread(session, "/game.StreamService/Watch", "100m"), NGHTTP2_CANCEL)
      yield* interrupted
      yield* log.find(({ code }) => code === "DEADLINE_EXCEEDED")
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("that does not read its reply is reset, also when it has sent a deadline", () =>
    Effect.gen(function* () {
      const served = handlers({ getPlayer: () => Effect.succeed(large) })
      const { address } = yield* start(live({ maxDeadline: Duration.millis(300) }), served)
      const session = yield* frozen(address)
      assert.strictEqual(yield* unread(session, "/game.GameService/GetPlayer", "100m"), NGHTTP2_CANCEL)
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("that does not read a stream of responses is reset when its call is hung up", () =>
    Effect.gen(function* () {
      const log = yield* LogRecorder
      const calls = yield* Queue.unbounded<Grpc.Call["Service"]>()
      // The first goes out, the second one is held, the third waits for it.
      const held = Effect.fnUntraced(function* (n: number) {
        if (n === 3) yield* Queue.offer(calls, yield* Grpc.Call)
        return large
      })
      const interrupted = yield* Deferred.make<void>()
      const watch = () =>
        Stream.ensuring(
          Stream.concat(Stream.rechunk(Stream.mapEffect(Stream.range(1, 3), held), 1), Stream.never),
          Deferred.succeed(interrupted, undefined)
        )
      const { address } = yield* start(live({ maxMessageSize: 100_000 }), streamHandlers({ watch }))
      const session = yield* frozen(address)
      const code = yield* Effect.forkChild(unread(session, "/game.StreamService/Watch", "1H"))
      const { hangUp } = yield* Queue.take(calls)
      yield* hangUp
      assert.strictEqual(yield* Fiber.join(code), NGHTTP2_CANCEL)
      yield* Deferred.await(interrupted)
      yield* log.find(({ code }) => code === "CANCELLED")
      // It is over: nothing is left to do.
      yield* hangUp
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("that reads what came before its call is hung up learns its status", () =>
    Effect.gen(function* () {
      const watch = () =>
        Stream.concat(
          Stream.make(response("one")),
          Stream.fromEffectDrain(Effect.flatMap(Grpc.Call, ({ hangUp }) => Effect.andThen(hangUp, Effect.never)))
        )
      const { address } = yield* start(live(), streamHandlers({ watch }))
      const reply = yield* (yield* Raw.connect(address)).call("/game.StreamService/Watch", request)
      assert.deepStrictEqual([reply.status, reply.message], [1, "hung up"])
      assert.isAbove(reply.body.length, 5)
    }).pipe(Effect.provide(LoggerTest))
  )

  const refused = {
    "is too large": [Raw.frame(Buffer.alloc(200_000)), {}, 8, "RESOURCE_EXHAUSTED"],
    "is no gzip": [Raw.frame(Buffer.from("no gzip"), { compressed: 1 }), { "grpc-encoding": "gzip" }, 13, "INTERNAL"],
    "is compressed in an unknown way": [
      Raw.frame(Buffer.from("br"), { compressed: 1 }),
      { "grpc-encoding": "br" },
      12,
      "UNIMPLEMENTED"
    ],
    "does not decode": [Raw.frame(Buffer.from([255, 255, 255])), {}, 13, "INTERNAL"]
  } as const
  for (const [what, [bad, headers, status, code]] of Object.entries(refused)) {
    it.live(`that sends what ${what} while it is answered gets its status behind the answers, as the log says`, () =>
      Effect.gen(function* () {
        const log = yield* LogRecorder
        const { address, interrupted } = yield* endless
        const { session } = yield* Raw.connect(address)
        assert.strictEqual(yield* answered(session, bad, headers), status)
        yield* interrupted
        const line = yield* log.find(({ msg }) => msg.startsWith("grpc call"))
        assert.include(line, { msg: "grpc call failed", code })
      }).pipe(Effect.provide(LoggerTest))
    )
  }

  const told = {
    "a request that ends within a message": [request.subarray(0, -1), {}, 13, "INTERNAL"],
    "a deadline that is none": [request, { "grpc-timeout": "soon" }, 13, "INTERNAL"]
  } as const
  for (const [what, [body, headers, status, code]] of Object.entries(told)) {
    it.live(`that sends ${what} finds the log of one word with its status`, () =>
      Effect.gen(function* () {
        const log = yield* LogRecorder
        const { address } = yield* start(live(), handlers({ getPlayer: () => Effect.never }))
        const raw = yield* Raw.connect(address)
        const reply = yield* raw.call("/game.GameService/GetPlayer", body, { headers })
        assert.strictEqual(reply.status, status)
        assert.include(yield* log.find(({ msg }) => msg.startsWith("grpc call")), { code })
      }).pipe(Effect.provide(LoggerTest))
    )
  }

  it("that watches the health of what nobody serves is told so by one stream that holds no name", () => {
    const { handlers } = Health.make(["game.GameService"]).service
    const watch = handlers["watch"] as unknown as (request: { readonly service: string }) => unknown
    assert.strictEqual(watch({ service: "one" }), watch({ service: "another" }))
    assert.notStrictEqual(watch({ service: "" }), watch({ service: "one" }))
  })
})
