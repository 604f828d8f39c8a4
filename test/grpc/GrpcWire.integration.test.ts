// What no gRPC client sends: each gets a status of gRPC or the end of its stream, and the server goes on.
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as zlib from "node:zlib"
import { Grpc } from "xdooria/grpc"
import { LoggerTest, LogRecorder } from "xdooria/logger"
import { descriptors } from "../../src/gen/descriptors.ts"
import { GameServiceService, GetPlayerRequest, GetPlayerResponse } from "../../src/gen/game.ts"
import { BadRequest, ErrorInfo } from "../../src/gen/google/rpc/error_details.ts"
import { Status } from "../../src/gen/google/rpc/status.ts"
import { handlers, live, player, PlayerNotFound, response, start, streamHandlers } from "./Game.ts"
import * as Raw from "./Raw.ts"

const path = "/game.GameService/GetPlayer"
const request = Raw.frame(GetPlayerRequest.encode({ playerId: "p1" }).finish())

const served = Effect.gen(function* () {
  const { address } = yield* start(live(), handlers({}))
  return { address, raw: yield* Raw.connect(address) }
})

/** What a good call gets, on the same connection and on a new one. */
const assertAlive = Effect.fnUntraced(function* ({
  address,
  raw
}: {
  readonly address: string
  readonly raw: Raw.Raw
}) {
  const others = [yield* Raw.connect(address), ...(raw.session.closed || raw.session.destroyed ? [] : [raw])]
  for (const { call } of others) {
    const { body, status } = yield* call(path, request)
    assert.strictEqual(status, 0)
    assert.deepStrictEqual(GetPlayerResponse.decode(body.subarray(5)), response("p1"))
  }
})

interface Case {
  readonly what: string
  readonly path?: string
  readonly body?: Buffer
  readonly headers?: Record<string, string | ReadonlyArray<string>>
  /** The gRPC status, or what else the reply has. */
  readonly gives: number | Partial<Raw.Reply>
}

const ok = 0
const invalid = 13
const exhausted = 8
const unimplemented = 12

const bomb = zlib.gzipSync(Buffer.alloc(256 << 20))

const cases: ReadonlyArray<Case> = [
  { what: "an empty message", body: Raw.frame(Buffer.alloc(0)), gives: ok },
  { what: "no message", body: Buffer.alloc(0), gives: unimplemented },
  { what: "two messages", body: Buffer.concat([request, request]), gives: unimplemented },
  { what: "a message of 5 MiB", body: Raw.frame(Buffer.alloc(5 << 20)), gives: exhausted },
  { what: "a length of 2^31", body: Raw.frame(Buffer.alloc(3), { length: 2 ** 31 }), gives: exhausted },
  { what: "a truncated message", body: request.subarray(0, -1), gives: invalid },
  { what: "a truncated length", body: request.subarray(0, 3), gives: invalid },
  { what: "a field that is cut off", body: Raw.frame(Buffer.from([0x0a, 0xff, 0x01, 0x61])), gives: invalid },
  { what: "a varint without an end", body: Raw.frame(Buffer.alloc(11, 0xff)), gives: invalid },
  { what: "groups 10 000 deep", body: Raw.frame(Buffer.alloc(10_000, 0x0b)), gives: invalid },
  { what: "text that is not UTF-8", body: Raw.frame(Buffer.from([0x0a, 0x02, 0xff, 0xfe])), gives: ok },
  { what: "fields that nobody knows", body: Raw.frame(Buffer.from([0x78, 0x01, 0x0a, 0x02, 0x70, 0x31])), gives: ok },
  {
    what: "a compressed message without an encoding",
    body: Raw.frame(request, { compressed: 1 }),
    gives: invalid
  },
  {
    what: "an encoding that nobody knows",
    body: Raw.frame(request, { compressed: 1 }),
    headers: { "grpc-encoding": "zstd" },
    gives: unimplemented
  },
  {
    what: "a gzip message",
    body: Raw.frame(zlib.gzipSync(GetPlayerRequest.encode({ playerId: "p1" }).finish()), { compressed: 1 }),
    headers: { "grpc-encoding": "gzip" },
    gives: ok
  },
  {
    what: "garbage as gzip",
    body: Raw.frame(Buffer.from("garbage"), { compressed: 1 }),
    headers: { "grpc-encoding": "gzip" },
    gives: invalid
  },
  {
    what: "256 MiB in a small gzip message",
    body: Raw.frame(bomb, { compressed: 1 }),
    headers: { "grpc-encoding": "gzip" },
    gives: exhausted
  },
  { what: "another content type", headers: { "content-type": "application/json" }, gives: { http: 415 } },
  { what: "another method", path: "/game.GameService/Nope", gives: unimplemented },
  { what: "another service", path: "/game.Nope/GetPlayer", gives: unimplemented },
  { what: "a path without a slash", path: "GetPlayer", gives: { reset: 1 } },
  { what: "a path of slashes", path: "//", gives: unimplemented },
  { what: "a path of 8 KB", path: `/${"x".repeat(8192)}`, gives: unimplemented },
  { what: "a path with odd bytes", path: "/\u00ff%0d%0a\u0080", gives: unimplemented },
  { what: "9 KB of metadata", headers: { note: "x".repeat(9_000) }, gives: exhausted },
  { what: "9 KB of binary metadata", headers: { "note-bin": "A".repeat(9_000) }, gives: exhausted },
  { what: "70 KB of metadata", headers: { note: "x".repeat(70_000) }, gives: exhausted },
  { what: "bad base64 in binary metadata", headers: { "note-bin": "%%%" }, gives: ok },
  { what: "two authorizations", headers: { authorization: ["Bearer a", "Bearer b"] }, gives: ok },
  { what: "a traceparent that is none", headers: { traceparent: "00-zz-1" }, gives: ok },
  { what: "a timeout without a unit", headers: { "grpc-timeout": "5" }, gives: invalid },
  { what: "a timeout of words", headers: { "grpc-timeout": "soon" }, gives: invalid },
  { what: "a timeout of nothing", headers: { "grpc-timeout": "0n" }, gives: 4 },
  { what: "a timeout of eleven digits", headers: { "grpc-timeout": "99999999999H" }, gives: ok }
]

/** google.protobuf.Any as the third field of google.rpc.Status, by hand. */
const any = (url: string, value: Buffer) => {
  const body = Buffer.concat([
    Buffer.from([0x0a, url.length]),
    Buffer.from(url),
    Buffer.from([0x12, value.length]),
    value
  ])
  // A length over 127 takes two bytes.
  const length = body.length < 128 ? [body.length] : [(body.length & 0x7f) | 0x80, body.length >> 7]
  return Buffer.concat([Buffer.from([0x1a, ...length]), body])
}

describe("the wire", () => {
  for (const { what, gives, path: to = path, body = request, headers = {} } of cases) {
    it.live(`${what}`, () =>
      Effect.gen(function* () {
        const it = yield* served
        const reply = yield* it.raw.call(to, body, { headers: headers as Record<string, string> })
        if (typeof gives === "number") assert.strictEqual(reply.status, gives, JSON.stringify(reply))
        else assert.include(reply, gives)
        yield* assertAlive(it)
      }).pipe(Effect.provide(LoggerTest))
    )
  }

  it.live("a request that never ends is ended by the server's deadline", () =>
    Effect.gen(function* () {
      const { address } = yield* start(live({ maxDeadline: Duration.millis(100) }), handlers({}))
      const raw = yield* Raw.connect(address)
      const replies = yield* Effect.all(
        [raw.call(path, Buffer.alloc(0), { end: false }), raw.call(path, request.subarray(0, 4), { end: false })],
        { concurrency: 2 }
      )
      assert.deepStrictEqual(
        replies.map(({ status }) => status),
        [4, 4]
      )
    }).pipe(Effect.provide(LoggerTest))
  )

  const early = [
    ["two messages", path, Buffer.concat([request, request]), {}, unimplemented],
    ["a message of 5 MiB", path, Raw.frame(Buffer.alloc(5 << 20)), {}, exhausted],
    ["9 KB of metadata", path, Buffer.alloc(0), { note: "x".repeat(9_000) }, exhausted],
    [
      "9 KB of metadata for health",
      "/grpc.health.v1.Health/Check",
      Buffer.alloc(0),
      { note: "x".repeat(9_000) },
      exhausted
    ],
    ["a timeout of words", path, Buffer.alloc(0), { "grpc-timeout": "soon" }, invalid]
  ] as const
  for (const [what, to, body, headers, status] of early) {
    it.live(`a request that stays open after ${what} is given up without an error`, () =>
      Effect.gen(function* () {
        const it = yield* served
        const reply = yield* it.raw.call(to, body, { headers, end: false })
        assert.include(reply, { status, reset: undefined })
        yield* assertAlive(it)
      }).pipe(Effect.provide(LoggerTest))
    )
  }

  /** Sends a request and does not read what comes; gives the code that its stream is reset with. */
  const unread = (raw: Raw.Raw, to: string, body: Buffer) =>
    Effect.callback<number>((resume) => {
      const headers = { ":method": "POST", ":path": to, te: "trailers", "content-type": "application/grpc" }
      const stream = raw.session.request(headers)
      stream.on("error", () => {})
      stream.on("close", () => resume(Effect.succeed(stream.rstCode)))
      stream.end(body)
    })

  const cancelled = 8
  // More than HTTP/2 sends to somebody who does not read.
  const large = () => Effect.succeed({ player: { ...player("p1"), name: "x".repeat(1 << 20) } })

  it.live("a reply that is not read is taken back at the server's deadline", () =>
    Effect.gen(function* () {
      const log = yield* LogRecorder
      const { address } = yield* start(live({ maxDeadline: Duration.millis(100) }), handlers({ getPlayer: large }))
      const raw = yield* Raw.connect(address)
      assert.strictEqual(yield* unread(raw, path, request), cancelled)
      const line = yield* log.find(({ method, code }) => method === path && code !== undefined)
      assert.include(line, { code: "DEADLINE_EXCEEDED" })
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("a reply that is not read holds a stop no longer than the grace", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const answered = yield* Deferred.make<void>()
      const { address } = yield* start(
        live({ grace: Duration.millis(50) }),
        handlers({ getPlayer: () => Effect.tap(large(), () => Deferred.succeed(answered, undefined)) })
      ).pipe(Scope.provide(scope))
      const raw = yield* Raw.connect(address)
      const code = yield* Effect.forkChild(unread(raw, path, request))
      yield* Deferred.await(answered)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(yield* Fiber.join(code), cancelled)
    }).pipe(Effect.provide(LoggerTest))
  )

  const unended = [
    ["/grpc.health.v1.Health/Check", Buffer.alloc(0)],
    ["/grpc.health.v1.Health/Watch", Buffer.alloc(0)],
    ["/grpc.health.v1.Health/Watch", Raw.frame(Buffer.alloc(0))],
    ["/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Buffer.alloc(0)],
    ["/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Raw.frame(Buffer.from("3a012a", "hex"))]
  ] as const
  for (const [to, body] of unended) {
    it.live(`a request of ${body.length} bytes to ${to} that never ends is ended by the server's deadline`, () =>
      Effect.gen(function* () {
        const { address } = yield* start(live({ maxDeadline: Duration.millis(100) }), handlers({}), { descriptors })
        const raw = yield* Raw.connect(address)
        assert.include(yield* raw.call(to, body, { end: false }), { status: 4, reset: undefined })
      }).pipe(Effect.provide(LoggerTest))
    )
  }

  it.live("a Watch lasts longer than the server's deadline", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { address } = yield* start(live({ maxDeadline: Duration.millis(50) }), handlers({})).pipe(
        Scope.provide(scope)
      )
      const raw = yield* Raw.connect(address)
      const watch = yield* Effect.forkChild(raw.call("/grpc.health.v1.Health/Watch", Raw.frame(Buffer.alloc(0))), {
        startImmediately: true
      })
      // Both begin after the Watch, and end by the deadline.
      for (const _ of [1, 2]) yield* raw.call(path, Buffer.alloc(0), { end: false })
      yield* Scope.close(scope, Exit.void)
      const { body, status } = yield* Fiber.join(watch)
      // SERVING, and NOT_SERVING at the stop.
      assert.deepStrictEqual([body.toString("hex"), status], ["0000000002080100000000020802", 14])
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("a caller that vanishes interrupts its handlers", () =>
    Effect.gen(function* () {
      const started = yield* Deferred.make<void>()
      const interrupted = yield* Deferred.make<void>()
      const { address } = yield* start(
        live(),
        handlers({
          getPlayer: () =>
            Effect.andThen(Deferred.succeed(started, undefined), Effect.never).pipe(
              Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined))
            )
        })
      )
      const raw = yield* Raw.connect(address)
      yield* Effect.forkScoped(raw.call(path, request))
      yield* Deferred.await(started)
      raw.session.destroy()
      yield* Deferred.await(interrupted)
    }).pipe(Effect.provide(LoggerTest))
  )

  const garbage: Record<string, Buffer> = {
    "an HTTP/1 request": Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
    "random bytes": Buffer.from("\x00\x01\x02".repeat(100)),
    "a preface, then a frame of 16 MiB": Buffer.concat([
      Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
      Buffer.from([0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01])
    ]),
    "a preface, then DATA on no stream": Buffer.concat([
      Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
      Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]),
      Buffer.from([0, 0, 1, 0, 0, 0, 0, 0, 7, 0x61])
    ]),
    "a preface, then headers that do not decode": Buffer.concat([
      Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
      Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]),
      Buffer.from([0, 0, 4, 1, 5, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff])
    ])
  }
  for (const [what, bytes] of Object.entries(garbage)) {
    it.live(`${what} costs its connection only`, () =>
      Effect.gen(function* () {
        const it = yield* served
        yield* Raw.write(it.address, bytes)
        yield* assertAlive(it)
      }).pipe(Effect.provide(LoggerTest))
    )
  }

  it.live("a declared error leaves with its details exactly once, as a Go client reads them", () =>
    Effect.gen(function* () {
      const { address } = yield* start(
        live(),
        handlers({ getPlayer: () => new PlayerNotFound({ playerId: "p1", at: new Date(0), seen: 7n }) })
      )
      const raw = yield* Raw.connect(address)
      const reply = yield* raw.call(path, request)
      assert.include(reply, { http: 200, status: 5, message: "no player p1" })
      assert.strictEqual(reply.details.length, 1)
      const info = [
        ["0a10", "PLAYER_NOT_FOUND"],
        ["1210", "game.GameService"],
        ["1a0e0a08", "playerId"],
        ["1202", "p1"],
        ["1a1e0a02", "at"],
        ["1218", "1970-01-01T00:00:00.000Z"],
        ["1a090a04", "seen"],
        ["1201", "7"]
      ] as const
      const infoBytes = Buffer.concat(info.flatMap(([head, text]) => [Buffer.from(head, "hex"), Buffer.from(text)]))
      const json = `{"_tag":"PlayerNotFound","playerId":"p1","at":"1970-01-01T00:00:00.000Z","seen":"7"}`
      const domain = Buffer.concat([
        Buffer.from("0a0e", "hex"),
        Buffer.from("PlayerNotFound"),
        Buffer.from([0x12, json.length]),
        Buffer.from(json)
      ])
      const expected = Buffer.concat([
        Buffer.from("0805120c", "hex"),
        Buffer.from("no player p1"),
        any("type.googleapis.com/google.rpc.ErrorInfo", infoBytes),
        any("type.googleapis.com/xdooria.errors.v1.DomainError", domain)
      ])
      assert.strictEqual(Buffer.from(reply.details[0]!, "base64").toString("hex"), expected.toString("hex"))
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("a message of any characters arrives whole", () =>
    Effect.gen(function* () {
      const { address } = yield* start(
        live(),
        handlers({ getPlayer: () => new PlayerNotFound({ playerId: "ł %0A\r\n\ud800", at: new Date(0), seen: 0n }) })
      )
      const raw = yield* Raw.connect(address)
      const { status, message } = yield* raw.call(path, request)
      assert.deepStrictEqual([status, message], [5, "no player ł %0A\r\n\ufffd"])
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("what does not decode is logged without its content", () =>
    Effect.gen(function* () {
      const log = yield* LogRecorder
      const { raw } = yield* served
      yield* raw.call(path, Raw.frame(Buffer.from([0x0a, 0x7f, 0x61])))
      const line = yield* log.find(({ code }) => code === "INTERNAL")
      assert.include(line, { level: "warn", method: path, error: "the request does not decode" })
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("calls beyond the limit of a connection wait, and end", () =>
    Effect.gen(function* () {
      const { address } = yield* start(
        live({ maxConcurrentStreams: 2 }),
        handlers({ getPlayer: () => Effect.as(Effect.sleep(1), { player: player("p1") }) })
      )
      const raw = yield* Raw.connect(address)
      yield* raw.call(path, request)
      assert.strictEqual(raw.session.remoteSettings.maxConcurrentStreams, 2)
      const replies = yield* Effect.all(
        Array.from({ length: 20 }, () => raw.call(path, request)),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(
        replies.map(({ status }) => status),
        Array.from({ length: 20 }, () => 0)
      )
    }).pipe(Effect.provide(LoggerTest))
  )

  const streamPath = (name: string) => `/game.StreamService/${name}`

  const serveStreams = Effect.fnUntraced(function* (
    served: Parameters<typeof streamHandlers>[0],
    settings: Parameters<typeof live>[0] = {}
  ) {
    const { address } = yield* start(live(settings), streamHandlers(served))
    return { address, raw: yield* Raw.connect(address) }
  })

  it.live("a stream ends with one status, behind its messages, whatever its handler does at its end", () =>
    Effect.gen(function* () {
      const dying = Stream.ensuring(Stream.make(response("1")), Effect.die(new Error("in a finalizer")))
      const log = yield* LogRecorder
      const { raw } = yield* serveStreams({
        watch: () => dying,
        talk: (requests: Stream.Stream<unknown>) => Stream.concat(Stream.drain(requests), dying)
      })
      for (const name of ["Watch", "Talk"]) {
        const { body, details, status } = yield* raw.call(streamPath(name), request)
        assert.deepStrictEqual(GetPlayerResponse.decode(body.subarray(5)), response("1"))
        assert.deepStrictEqual([status, details.length], [13, 1])
      }
      const lines = (yield* log.lines).filter(({ msg }) => msg.startsWith("grpc call"))
      assert.deepStrictEqual(
        lines.map(({ code }) => code),
        ["INTERNAL", "INTERNAL"]
      )
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("a stream that is answered early gives up the rest of its request without an error", () =>
    Effect.gen(function* () {
      const { raw } = yield* serveStreams({
        sum: () => Effect.succeed(response("early")),
        talk: () => Stream.fail(new PlayerNotFound({ playerId: "p1", at: new Date(0), seen: 0n }))
      })
      const sum = yield* raw.call(streamPath("Sum"), request, { end: false })
      assert.include(sum, { status: 0, reset: undefined })
      const talk = yield* raw.call(streamPath("Talk"), request, { end: false })
      assert.include(talk, { status: 5, reset: undefined })
      assert.strictEqual((yield* raw.call(streamPath("Watch"), request)).status, 0)
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("a request of one message for a stream of responses must come by the server's deadline", () =>
    Effect.gen(function* () {
      const { raw } = yield* serveStreams({}, { maxDeadline: Duration.millis(50) })
      assert.strictEqual((yield* raw.call(streamPath("Watch"), Buffer.alloc(0), { end: false })).status, 4)
      assert.strictEqual((yield* raw.call(streamPath("Sum"), request, { end: false })).status, 4)
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("of a stream the first message that does not decode ends it", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const { raw } = yield* serveStreams({
        sum: (requests: Stream.Stream<{ readonly playerId: string }>) =>
          Effect.as(
            Stream.runForEach(requests, ({ playerId }) => Effect.sync(() => void seen.push(playerId))),
            response("")
          )
      })
      const garbage = Raw.frame(Buffer.from([0x0a, 0x7f, 0x61]))
      const reply = yield* raw.call(streamPath("Sum"), Buffer.concat([request, garbage, request]))
      assert.deepStrictEqual([reply.status, seen], [13, ["p1"]])
    }).pipe(Effect.provide(LoggerTest))
  )

  const mb = 1 << 20

  it.live("a stream that is not read holds 1 MB at most, and its handler, until the server stops", () =>
    Effect.gen(function* () {
      let sent = 0
      const full = yield* Deferred.make<void>()
      const interrupted = yield* Deferred.make<void>()
      const scope = yield* Scope.make()
      const one = Effect.sync(() => {
        sent += 1000
        return { player: { ...player("p1"), name: "x".repeat(1000) } }
      })
      const { address } = yield* start(
        live({ grace: Duration.millis(50) }),
        streamHandlers({
          watch: () =>
            Stream.fromEffectRepeat(one).pipe(
              Stream.take(10_000),
              Stream.ensuring(Deferred.succeed(interrupted, undefined))
            )
        })
      ).pipe(Scope.provide(scope))
      const raw = yield* Raw.connect(address)
      const code = yield* Effect.forkChild(unread(raw, streamPath("Watch"), request), { startImmediately: true })
      const settle: Effect.Effect<void> = Effect.suspend(() => {
        const before = sent
        return Effect.flatMap(Effect.sleep(50), () =>
          sent > 0 && sent === before ? Deferred.succeed(full, undefined) : settle
        )
      })
      yield* settle
      assert.isBelow(sent, mb)
      yield* Scope.close(scope, Exit.void)
      yield* Deferred.await(interrupted)
      assert.notStrictEqual(yield* Fiber.join(code), 0)
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("a stream that has ended and is not read is taken back by the server's deadline", () =>
    Effect.gen(function* () {
      const log = yield* LogRecorder
      const { raw } = yield* serveStreams(
        { watch: () => Stream.fromEffect(large()) },
        { maxDeadline: Duration.millis(100) }
      )
      assert.strictEqual(yield* unread(raw, streamPath("Watch"), request), cancelled)
      const line = yield* log.find(({ code, method }) => method === streamPath("Watch") && code !== undefined)
      assert.include(line, { code: "OK" })
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("a request that does not fit its schema is told by its fields, as a Go client reads them", () =>
    Effect.gen(function* () {
      const Id = Schema.String.check(Schema.isPattern(/^[a-z]+$/, { expected: "a name" }))
      const Api = Grpc.api(
        { getPlayer: GameServiceService.getPlayer },
        { getPlayer: { public: true, request: Schema.Struct({ playerId: Id }) } }
      )
      const served = Grpc.handlers(Api, Effect.succeed({ getPlayer: () => Effect.succeed(response("")) }))
      const { address } = yield* start(live(), served as unknown as Grpc.Handlers<never, never>)
      const raw = yield* Raw.connect(address)
      const bad = Raw.frame(GetPlayerRequest.encode({ playerId: "HUNTER2" }).finish())
      const { details, message, status } = yield* raw.call(path, bad)
      assert.deepStrictEqual([status, message, details.length], [3, "invalid player_id", 1])
      const bytes = Buffer.from(details[0]!, "base64")
      assert.notInclude(bytes.toString("latin1"), "HUNTER2")
      const decoded = Status.decode(bytes)
      assert.include(decoded, { code: 3, message: "invalid player_id" })
      const [info, badRequest] = decoded.details
      assert.strictEqual(info!.typeUrl, "type.googleapis.com/google.rpc.ErrorInfo")
      assert.deepStrictEqual(ErrorInfo.decode(info!.value), {
        reason: "INVALID_REQUEST",
        domain: "game.GameService",
        metadata: {}
      })
      assert.strictEqual(badRequest!.typeUrl, "type.googleapis.com/google.rpc.BadRequest")
      assert.deepStrictEqual(BadRequest.decode(badRequest!.value).fieldViolations, [
        { field: "player_id", description: "Expected a name" }
      ])
    }).pipe(Effect.provide(LoggerTest))
  )
})
