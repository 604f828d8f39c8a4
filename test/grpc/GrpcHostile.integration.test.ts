// What no gRPC client sends, to methods of every kind: each call gets a status of gRPC or the end of its stream, and the
// server goes on. GrpcWire.integration.test.ts has what concerns methods of one request and one response alone.
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as zlib from "node:zlib"
import { Grpc, GrpcServer } from "xdooria/grpc"
import { layerServerLive } from "xdooria/grpc/live"
import { LoggerTest } from "xdooria/logger"
import { GetPlayerRequest, GetPlayerResponse } from "../../src/gen/game.ts"
import { handlers, response, StreamService } from "./Game.ts"
import * as Raw from "./Raw.ts"

const StreamApi = Grpc.api(StreamService, { watch: { public: true }, sum: { public: true }, talk: { public: true } })

const streams = Grpc.handlers(
  StreamApi,
  Effect.succeed({
    watch: ({ playerId }) => Stream.make(response(playerId), response(playerId)),
    sum: (requests) => Effect.map(Stream.runCount(requests), (count) => response(String(count))),
    talk: (requests) => Stream.map(requests, ({ playerId }) => response(playerId))
  })
)

const served = Effect.fnUntraced(function* (changes: Partial<Grpc.GrpcSettings> = {}) {
  const layer = layerServerLive({ port: 0, env: "test", drainDelay: Duration.zero, ...changes })
  const context = yield* Layer.build(GrpcServer.serve(handlers({}), streams).pipe(Layer.provideMerge(layer)))
  return yield* Context.get(context, GrpcServer).address
})

const kinds = {
  unary: "/game.GameService/GetPlayer",
  responses: StreamService.watch.path,
  requests: StreamService.sum.path,
  both: StreamService.talk.path
} as const

type Kind = keyof typeof kinds

const encoded = GetPlayerRequest.encode({ playerId: "p1" }).finish()
const request = Raw.frame(encoded)

const isAlive = Effect.fnUntraced(function* (address: string, raw?: Raw.Raw) {
  const others = [yield* Raw.connect(address), ...(raw === undefined || raw.session.destroyed ? [] : [raw])]
  for (const { call } of others) {
    const { body, status } = yield* call(kinds.unary, request)
    assert.strictEqual(status, 0)
    assert.deepStrictEqual(GetPlayerResponse.decode(body.subarray(5)), response("p1"))
  }
})

const [ok, invalid, exhausted, unimplemented] = [0, 13, 8, 12]

interface Case {
  readonly what: string
  readonly body?: Buffer
  readonly headers?: Record<string, string | ReadonlyArray<string>>
  /** The gRPC status, the same for all kinds but for those named. */
  readonly gives: number
  readonly but?: { readonly [K in Kind]?: number }
}

const gzip = { "grpc-encoding": "gzip" }
const bomb = Raw.frame(zlib.gzipSync(Buffer.alloc(256 << 20)), { compressed: 1 })
const after = (bytes: Buffer) => Buffer.concat([request, bytes])

const cases: ReadonlyArray<Case> = [
  { what: "an empty message", body: Raw.frame(Buffer.alloc(0)), gives: ok },
  { what: "no message", body: Buffer.alloc(0), gives: unimplemented, but: { requests: ok, both: ok } },
  { what: "three messages", body: after(after(request)), gives: unimplemented, but: { requests: ok, both: ok } },
  { what: "a message of 5 MiB", body: Raw.frame(Buffer.alloc(5 << 20)), gives: exhausted },
  { what: "a good message, then one of 5 MiB", body: after(Raw.frame(Buffer.alloc(5 << 20))), gives: exhausted },
  { what: "a length of 2^31", body: Raw.frame(Buffer.alloc(3), { length: 2 ** 31 }), gives: exhausted },
  { what: "a length of 2^32 - 1", body: Raw.frame(Buffer.alloc(3), { length: 2 ** 32 - 1 }), gives: exhausted },
  { what: "a message that is cut off", body: request.subarray(0, -1), gives: invalid },
  { what: "a length that is cut off", body: request.subarray(0, 3), gives: invalid },
  { what: "a good message, then one that is cut off", body: after(request.subarray(0, 6)), gives: invalid },
  { what: "a field that is cut off", body: Raw.frame(Buffer.from([0x0a, 0xff, 0x01, 0x61])), gives: invalid },
  { what: "a varint without an end", body: Raw.frame(Buffer.alloc(11, 0xff)), gives: invalid },
  { what: "groups 10 000 deep", body: Raw.frame(Buffer.alloc(10_000, 0x0b)), gives: invalid },
  { what: "text that is not UTF-8", body: Raw.frame(Buffer.from([0x0a, 0x02, 0xff, 0xfe])), gives: ok },
  { what: "fields that nobody knows", body: Raw.frame(Buffer.from([0x78, 0x01, 0x0a, 0x02, 0x70, 0x31])), gives: ok },
  {
    what: "a compressed message without an encoding",
    body: Raw.frame(zlib.gzipSync(encoded), { compressed: 1 }),
    gives: invalid
  },
  {
    what: "a compressed message of the encoding identity",
    body: Raw.frame(encoded, { compressed: 1 }),
    headers: { "grpc-encoding": "identity" },
    gives: invalid
  },
  { what: "a flag that nobody knows", body: Raw.frame(encoded, { compressed: 2 }), gives: invalid },
  {
    what: "an encoding that nobody knows",
    body: Raw.frame(encoded, { compressed: 1 }),
    headers: { "grpc-encoding": "zstd" },
    gives: unimplemented
  },
  { what: "a gzip message", body: Raw.frame(zlib.gzipSync(encoded), { compressed: 1 }), headers: gzip, gives: ok },
  { what: "a plain message beside the encoding gzip", body: request, headers: gzip, gives: ok },
  {
    what: "garbage as gzip",
    body: Raw.frame(Buffer.from("garbage"), { compressed: 1 }),
    headers: gzip,
    gives: invalid
  },
  {
    what: "gzip that is cut off",
    body: Raw.frame(zlib.gzipSync(encoded).subarray(0, -9), { compressed: 1 }),
    headers: gzip,
    gives: invalid
  },
  { what: "256 MiB in a small gzip message", body: bomb, headers: gzip, gives: exhausted },
  { what: "a good message, then 256 MiB in a small one", body: after(bomb), headers: gzip, gives: exhausted },
  { what: "9 KB of metadata", headers: { note: "x".repeat(9_000) }, gives: exhausted },
  { what: "70 KB of metadata", headers: { note: "x".repeat(70_000) }, gives: exhausted },
  {
    what: "120 entries of metadata",
    headers: Object.fromEntries(Array.from({ length: 120 }, (_, i) => [`note-${i}`, "x".repeat(45)])),
    gives: exhausted
  },
  { what: "9 KB of binary metadata", headers: { "note-bin": "A".repeat(9_000) }, gives: exhausted },
  { what: "bad base64 in binary metadata", headers: { "note-bin": "%%%" }, gives: ok },
  { what: "two authorizations", headers: { authorization: ["Bearer a", "Bearer b"] }, gives: ok },
  { what: "metadata of odd bytes", headers: { note: "\u0001\u00ff" }, gives: ok },
  { what: "a name of the protocol itself", headers: { "grpc-internal": "x" }, gives: ok },
  { what: "a timeout of words", headers: { "grpc-timeout": "soon" }, gives: invalid },
  { what: "a timeout with a sign", headers: { "grpc-timeout": "-5S" }, gives: ok },
  { what: "a timeout of nothing", headers: { "grpc-timeout": "0n" }, gives: 4 },
  { what: "a timeout of eleven digits", headers: { "grpc-timeout": "99999999999H" }, gives: ok },
  { what: "a timeout of a hundred days", headers: { "grpc-timeout": "2400H" }, gives: ok }
]

describe.each(Object.entries(kinds))("a method of kind %s gets", (kind, path) => {
  for (const { what, gives, but, body = request, headers = {} } of cases) {
    it.live(what, () =>
      Effect.gen(function* () {
        const address = yield* served()
        const raw = yield* Raw.connect(address)
        const reply = yield* raw.call(path, body, { headers: headers as Record<string, string> })
        assert.strictEqual(reply.status, but?.[kind as Kind] ?? gives, JSON.stringify({ ...reply, body: undefined }))
        yield* isAlive(address, raw)
      }).pipe(Effect.provide(LoggerTest))
    )
  }
})
