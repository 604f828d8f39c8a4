// What breaks HTTP/2 itself, or keeps a server busy for nothing: it costs the stream or the connection, and nobody else.
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as http2 from "node:http2"
import { Grpc, GrpcServer } from "xdooria/grpc"
import { layerServerLive } from "xdooria/grpc/live"
import { LoggerTest } from "xdooria/logger"
import { GetPlayerRequest, GetPlayerResponse } from "../../src/gen/game.ts"
import * as Frames from "./Frames.ts"
import { handlers, response, streamHandlers, StreamService } from "./Game.ts"
import * as Raw from "./Raw.ts"

const path = "/game.GameService/GetPlayer"
const request = Raw.frame(GetPlayerRequest.encode({ playerId: "p1" }).finish())

const serve = Effect.fnUntraced(function* (...services: ReadonlyArray<Grpc.Handlers<never, never>>) {
  const layer = layerServerLive({ port: 0, env: "test", drainDelay: Duration.zero })
  const context = yield* Layer.build(GrpcServer.serve(...services).pipe(Layer.provideMerge(layer)))
  return yield* Context.get(context, GrpcServer).address
})

const served = serve(handlers({}), streamHandlers({}))

const assertAnswers = Effect.fnUntraced(function* (raw: Raw.Raw) {
  const { body, status } = yield* raw.call(path, request)
  assert.strictEqual(status, 0)
  assert.deepStrictEqual(GetPlayerResponse.decode(body.subarray(5)), response("p1"))
})

const isAlive = (address: string) => Effect.scoped(Effect.flatMap(Raw.connect(address), assertAnswers))

const { headers, data, types, frame, callFields } = Frames

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

const open = headers(1, callFields(path))
const whole = [open, data(1, request, { end: true })]
const withField = (name: string, value: string) => [
  headers(1, [...callFields(path), [name, value]]),
  data(1, request, { end: true })
]

// Codes of HTTP/2.
const [protocolError, internalError, flowControlError, streamClosed, frameSizeError, compressionError] = [
  1, 2, 3, 5, 6, 9
]
const calm = 11

/** What is dropped, so that a handler never sees it. */
const dropped: Record<string, ReadonlyArray<Buffer>> = {
  "a name with a space": withField("no te", "x"),
  "an empty name": withField("", "x"),
  "a value with a line break": withField("note", "a\r\nb"),
  "a value with a zero byte": withField("note", "a\0b")
}

/** What costs a stream, with the code of its reset. */
const streamErrors: Record<string, readonly [bytes: ReadonlyArray<Buffer>, code: number]> = {
  "a name in capitals": [withField("Note", "x"), protocolError],
  "a header of the connection": [withField("connection", "close"), protocolError],
  "two paths": [withField(":path", path), protocolError],
  "no path": [
    [
      headers(
        1,
        callFields(path).filter(([name]) => name !== ":path"),
        { end: true }
      )
    ],
    protocolError
  ],
  "no method": [
    [
      headers(
        1,
        callFields(path).filter(([name]) => name !== ":method"),
        { end: true }
      )
    ],
    protocolError
  ],
  "an empty path": [[headers(1, callFields(""), { end: true })], protocolError]
}

/** What costs a connection, with the code of its GOAWAY. */
const connectionErrors: Record<string, readonly [bytes: ReadonlyArray<Buffer>, code: number]> = {
  "more bytes than it announced": [
    [headers(1, [...callFields(path), ["content-length", "1"]]), data(1, request, { end: true })],
    internalError
  ],
  "data after its end": [[...whole, data(1, request)], streamClosed],
  "a window that is widened by nothing": [[open, frame(types.windowUpdate, 0, 1, u32(0))], protocolError],
  "a window that is widened beyond bounds": [
    [open, frame(types.windowUpdate, 0, 1, u32(0x7fffffff)), frame(types.windowUpdate, 0, 1, u32(0x7fffffff))],
    flowControlError
  ],
  "a frame larger than agreed": [[open, data(1, Buffer.alloc(16_385))], frameSizeError],
  "headers that do not decode": [[frame(types.headers, 4, 1, Buffer.alloc(8, 0xff))], compressionError],
  "a stream of an even number": [[headers(2, callFields(path))], protocolError],
  "a reset of a stream that is not": [[Frames.reset(7)], protocolError],
  "data on no stream": [[data(0, request)], protocolError],
  "a CONTINUATION of nothing": [[frame(types.continuation, 4, 1)], protocolError],
  "another frame within headers": [[frame(types.headers, 0, 1), Frames.ping], protocolError],
  "a push": [[frame(5, 4, 1, Buffer.concat([u32(2), Frames.field(":path", "/")]))], protocolError],
  "a ping of a wrong length": [[frame(types.ping, 0, 0, Buffer.alloc(7))], frameSizeError],
  "settings of a wrong length": [[frame(types.settings, 0, 0, Buffer.alloc(5))], frameSizeError],
  "a window of settings beyond bounds": [
    [frame(types.settings, 0, 0, Buffer.concat([Buffer.from([0, 4]), u32(0x80000000)]))],
    flowControlError
  ],
  "a window of the connection beyond bounds": [
    [frame(types.windowUpdate, 0, 0, u32(0x7fffffff)), frame(types.windowUpdate, 0, 0, u32(0x7fffffff))],
    flowControlError
  ]
}

const answerOn = (it: Frames.Connection, on: number) =>
  Effect.gen(function* () {
    const answer = yield* it.find(({ stream, type }) => stream === on && type === types.data)
    assert.deepStrictEqual(GetPlayerResponse.decode(answer!.payload.subarray(5)), response("p1"))
  })

describe("a handler does not see", () => {
  for (const [what, bytes] of Object.entries(dropped)) {
    it.live(what, () =>
      Effect.gen(function* () {
        const seen = yield* Deferred.make<unknown>()
        const getPlayer = () =>
          Effect.map(Grpc.Call, ({ metadata }) => {
            Deferred.doneUnsafe(seen, Effect.succeed(metadata.toJSON()))
            return response("p1")
          })
        const it = yield* Frames.connect(yield* serve(handlers({ getPlayer })))
        yield* it.send(...bytes)
        yield* answerOn(it, 1)
        assert.deepStrictEqual(yield* Deferred.await(seen), {})
      }).pipe(Effect.provide(LoggerTest))
    )
  }
})

describe("a stream is reset, and its connection goes on, after", () => {
  for (const [what, [bytes, code]] of Object.entries(streamErrors)) {
    it.live(what, () =>
      Effect.gen(function* () {
        const address = yield* served
        const it = yield* Frames.connect(address)
        yield* it.send(...bytes)
        const reset = yield* it.find(({ type }) => type === types.reset || type === types.goaway)
        assert.deepStrictEqual([reset?.type, reset?.payload.readUInt32BE(0)], [types.reset, code])
        yield* it.send(headers(9, callFields(path)), data(9, request, { end: true }))
        yield* answerOn(it, 9)
      }).pipe(Effect.provide(LoggerTest))
    )
  }
})

describe("a connection is closed, and the others go on, after", () => {
  for (const [what, [bytes, code]] of Object.entries(connectionErrors)) {
    it.live(what, () =>
      Effect.gen(function* () {
        const address = yield* served
        const it = yield* Frames.connect(address)
        yield* it.send(...bytes)
        assert.strictEqual(Frames.goawayOf(yield* it.closed)?.[0], code)
        yield* isAlive(address)
      }).pipe(Effect.provide(LoggerTest))
    )
  }
})

/** Waits until a connection has been told to calm down, and is closed. */
const calmed = (it: Frames.Connection) =>
  Effect.map(it.closed, (frames) => assert.deepStrictEqual(Frames.goawayOf(frames), [calm, "too_many_pings"]))

const repeat = (bytes: Buffer, times: number): Buffer => Buffer.concat(Array.from({ length: times }, () => bytes))

describe("a connection that keeps the server busy", () => {
  const floods = { pings: Frames.ping, settings: Frames.settings }
  for (const [what, bytes] of Object.entries(floods)) {
    it.live(`with ${what} is told to calm down and closed`, () =>
      Effect.gen(function* () {
        const address = yield* served
        const other = yield* Raw.connect(address)
        const it = yield* Frames.connect(address)
        yield* it.send(repeat(bytes, 70))
        yield* calmed(it)
        yield* assertAnswers(other)
      }).pipe(Effect.provide(LoggerTest))
    )
  }

  /** So many pings, one after the other's answer and a time; gives how many were answered. */
  const pings = Effect.fnUntraced(function* (
    session: http2.ClientHttp2Session,
    count: number,
    pause: Effect.Effect<void>
  ) {
    for (let answered = 0; answered < count; answered++) {
      const isAnswered = yield* Effect.callback<boolean>((resume) => {
        if (session.destroyed) return resume(Effect.succeed(false))
        session.ping((error) => resume(Effect.succeed(error === null)))
      })
      if (!isAnswered) return answered
      yield* pause
    }
    return count
  })

  it.effect("with two pings a second is closed in the end, and one with a ping in a second is not", () =>
    Effect.gen(function* () {
      const address = yield* served
      const raw = yield* Raw.connect(address)
      const slow = yield* Raw.connect(address)
      const seen = yield* Deferred.make<readonly [number, string]>()
      raw.session.on("goaway", (code: number, _: number, data: Buffer) =>
        Deferred.doneUnsafe(seen, Effect.succeed([code, data.toString()]))
      )
      const answered = yield* pings(raw.session, 300, TestClock.adjust("500 millis"))
      assert.isAbove(answered, 100)
      assert.isBelow(answered, 130)
      assert.deepStrictEqual(yield* Deferred.await(seen), [calm, "too_many_pings"])
      assert.strictEqual(yield* pings(slow.session, 300, TestClock.adjust("1 second")), 300)
      yield* assertAnswers(slow)
    }).pipe(Effect.provide(LoggerTest))
  )

  it.effect("with pings while it reads a stream, to measure the way, is not closed", () =>
    Effect.gen(function* () {
      const watch = () => Stream.fromEffectRepeat(Effect.as(Effect.yieldNow, response("x".repeat(100))))
      const raw = yield* Raw.connect(yield* serve(streamHandlers({ watch: () => Stream.take(watch(), 100_000) })))
      const stream = raw.session.request({
        ":method": "POST",
        ":path": StreamService.watch.path,
        te: "trailers",
        "content-type": "application/grpc"
      })
      stream.on("error", () => {})
      stream.end(request)
      const more = Effect.callback<void>((resume) => void stream.once("data", () => resume(Effect.void)))
      assert.strictEqual(yield* pings(raw.session, 300, more), 300)
      stream.close(http2.constants.NGHTTP2_CANCEL)
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("with calls that it gives up has none of their handlers left", () =>
    Effect.gen(function* () {
      let [running, ran] = [0, 0]
      const over = yield* Deferred.make<void>()
      const getPlayer = () =>
        Effect.ensuring(
          Effect.suspend(() => {
            running++
            if (++ran === 500) it.socket.destroy()
            return Effect.never
          }),
          Effect.sync(() => {
            if (--running === 0) Deferred.doneUnsafe(over, Effect.void)
          })
        )
      const it = yield* Frames.connect(yield* serve(handlers({ getPlayer })))
      const calls = Array.from({ length: 1000 }, (_, i) => [
        headers(1 + 2 * i, callFields(path)),
        data(1 + 2 * i, request, { end: true })
      ])
      yield* it.send(Buffer.concat(calls.flat()))
      yield* Deferred.await(over)
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("with calls by the thousands that it gives up at once is closed", () =>
    Effect.gen(function* () {
      const address = yield* served
      const it = yield* Frames.connect(address)
      const call = callFields("/game.GameService/Nope")
      for (let i = 0; i < 100 && !it.socket.destroyed; i++) {
        const abuse = Array.from({ length: 500 }, (_, j) => {
          const on = 1 + 2 * (i * 500 + j)
          return Buffer.concat([headers(on, call), Frames.reset(on)])
        })
        yield* it.send(Buffer.concat(abuse), Frames.ping)
        yield* Effect.yieldNow
      }
      assert.isDefined(Frames.goawayOf(yield* it.closed))
      yield* isAlive(address)
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("with 3 000 calls that it gives up, as one whose calls are late does, goes on", () =>
    Effect.gen(function* () {
      const raw = yield* Raw.connect(yield* served)
      yield* Effect.forEach(
        Array.from({ length: 3000 }),
        () =>
          Effect.gen(function* () {
            const call = yield* Effect.forkChild(raw.call(path, request, { end: false }), { startImmediately: true })
            yield* Effect.yieldNow
            yield* Fiber.interrupt(call)
          }),
        { concurrency: 50, discard: true }
      )
      yield* assertAnswers(raw)
    }).pipe(Effect.provide(LoggerTest))
  )

  const more: Record<string, ReadonlyArray<Buffer>> = {
    "headers without an end": [
      frame(types.headers, 0, 1, Frames.field("note", "x")),
      repeat(frame(types.continuation, 0, 1, Frames.field("note", "x".repeat(10_000))), 200)
    ],
    "headers of nothing without an end": [frame(types.headers, 0, 1), repeat(frame(types.continuation, 0, 1), 20_000)],
    "data of nothing": [open, repeat(data(1, Buffer.alloc(0)), 100_000)],
    priorities: [open, repeat(frame(types.priority, 0, 1, Buffer.alloc(5)), 100_000)],
    "windows that are widened by a byte": [open, repeat(frame(types.windowUpdate, 0, 0, u32(1)), 100_000)],
    "frames that nobody knows": [repeat(frame(0xee, 0, 0, Buffer.alloc(100)), 100_000)],
    // One long field put into the table of HPACK, then named 16 000 times by a byte each.
    "64 MB of headers in 20 KB": [
      frame(
        types.headers,
        0,
        1,
        Buffer.concat([
          ...callFields(path).map(([name, value]) => Frames.field(name, value)),
          Buffer.from([0x40, 4]),
          Buffer.from("note"),
          Frames.field("", "x".repeat(4000)).subarray(2)
        ])
      ),
      frame(types.continuation, 4, 1, Buffer.alloc(16_000, 0xbe))
    ]
  }
  for (const [what, bytes] of Object.entries(more)) {
    it.live(`with ${what} keeps it from no other`, () =>
      Effect.gen(function* () {
        const address = yield* served
        const it = yield* Frames.connect(address)
        yield* it.send(...bytes)
        // A ping behind it all: answered, or the connection is closed.
        yield* it.send(Frames.ping)
        yield* it.find(({ type }) => type === types.ping)
        yield* isAlive(address)
      }).pipe(Effect.provide(LoggerTest))
    )
  }
})
