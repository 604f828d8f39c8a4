// What no gRPC server answers: each call of our client ends with a reason, and the client goes on.
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as http2 from "node:http2"
import type * as net from "node:net"
import * as zlib from "node:zlib"
import { GrpcError } from "xdooria/grpc"
import { LoggerTest } from "xdooria/logger"
import { GetPlayerResponse } from "../../src/gen/game.ts"
import { dial, response } from "./Game.ts"
import * as Raw from "./Raw.ts"

interface Answer {
  readonly headers?: http2.OutgoingHttpHeaders
  readonly body?: Buffer
  /** Without any the stream ends without trailers. */
  readonly trailers?: http2.OutgoingHttpHeaders
  readonly reset?: number
  /** Ends the connection with that code, in place of an answer. */
  readonly goaway?: number
  /** Resets the stream with that code, in place of an answer. */
  readonly refusal?: number
}

const encoded = Buffer.from(GetPlayerResponse.encode(response("p1")).finish())
const good = Raw.frame(encoded)
const fine = { "grpc-status": "0" }

const reply = (stream: http2.ServerHttp2Stream, { body, goaway, headers, refusal, reset, trailers }: Answer): void => {
  stream.on("error", () => {})
  if (goaway !== undefined) return stream.session!.goaway(goaway, stream.id)
  if (refusal !== undefined) return stream.close(refusal)
  stream.respond(
    { ":status": 200, "content-type": "application/grpc", ...headers },
    { waitForTrailers: trailers !== undefined }
  )
  stream.on("wantTrailers", () => stream.sendTrailers(trailers!))
  if (body !== undefined) stream.write(body)
  if (reset === undefined) stream.end()
  else setImmediate(() => stream.close(reset))
}

/** A server of HTTP/2 that answers as told, and well when it is asked for GainExp. */
const hostile = (answer: Answer) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<readonly [http2.Http2Server, Set<http2.Http2Session>]>((resume) => {
        const sessions = new Set<http2.Http2Session>()
        // The types do not know the second one. Its memory holds what the client does not read any more, in megabytes.
        const limits = { maxSessionMemory: 100, maxSendHeaderBlockLength: 4 << 20 } as http2.ServerOptions
        const server = http2.createServer(limits)
        server.on("session", (session) => {
          sessions.add(session)
          session.on("error", () => {})
        })
        server.on("stream", (stream, { ":path": path }) =>
          reply(stream, path === "/game.GameService/GainExp" ? { body: good, trailers: fine } : answer)
        )
        server.listen(0, "127.0.0.1", () => resume(Effect.succeed([server, sessions])))
      }),
      ([server, sessions]) =>
        Effect.sync(() => {
          for (const session of sessions) session.destroy()
          server.close()
        })
    ),
    ([server]) => `127.0.0.1:${(server.address() as net.AddressInfo).port}`
  )

const gzip = { "grpc-encoding": "gzip" }
const bomb = Raw.frame(zlib.gzipSync(Buffer.alloc(256 << 20)), { compressed: 1 })

/** With the reason of a method that may be repeated, and of one that may not when it is another. */
const answers: Record<string, readonly [answer: Answer, repeatable: string, other?: string]> = {
  "a page of HTML": [
    { headers: { "content-type": "text/html" }, body: Buffer.from("<h1>no</h1>") },
    "ResourceExhausted",
    "OutcomeUnknown"
  ],
  "502 of a proxy": [{ headers: { ":status": 502, "content-type": "text/html" } }, "Unavailable", "OutcomeUnknown"],
  "401 of a proxy": [{ headers: { ":status": 401, "content-type": "text/html" } }, "Unavailable", "OutcomeUnknown"],
  "500 of a proxy": [{ headers: { ":status": 500, "content-type": "text/html" } }, "Unavailable", "OutcomeUnknown"],
  "a status of HTTP 408": [{ headers: { ":status": 408 } }, "Unavailable", "OutcomeUnknown"],
  "trailers without a status": [{ body: good, trailers: { note: "x" } }, "Unavailable", "OutcomeUnknown"],
  nothing: [{}, "Unavailable", "OutcomeUnknown"],
  "a message without a status": [{ body: good }, "Unavailable", "OutcomeUnknown"],
  "a status that is no number": [{ body: good, trailers: { "grpc-status": "fine" } }, "UnexpectedStatus"],
  "OK without a message": [{ trailers: fine }, "Internal", "OutcomeUnknown"],
  "OK with two messages": [{ body: Buffer.concat([good, good]), trailers: fine }, "Internal", "OutcomeUnknown"],
  "a message that is cut off": [{ body: good.subarray(0, -1), trailers: fine }, "Internal", "OutcomeUnknown"],
  "a length of 2^31": [
    { body: Raw.frame(Buffer.alloc(3), { length: 2 ** 31 }), trailers: fine },
    "ResourceExhausted",
    "OutcomeUnknown"
  ],
  "a message of 5 MiB": [
    { body: Raw.frame(Buffer.alloc(5 << 20)), trailers: fine },
    "ResourceExhausted",
    "OutcomeUnknown"
  ],
  "256 MiB in a small gzip message": [
    { headers: gzip, body: bomb, trailers: fine },
    "ResourceExhausted",
    "OutcomeUnknown"
  ],
  "garbage as gzip": [
    { headers: gzip, body: Raw.frame(Buffer.from("x"), { compressed: 1 }), trailers: fine },
    "Internal",
    "OutcomeUnknown"
  ],
  "garbage as details": [{ trailers: { "grpc-status": "5", "grpc-status-details-bin": "%%%" } }, "UnexpectedStatus"],
  "a text of odd bytes": [{ trailers: { "grpc-status": "5", "grpc-message": "%zz%ff" } }, "UnexpectedStatus"],
  "1 MB of trailers": [
    { body: good, trailers: { ...fine, note: "x".repeat(1 << 20) } },
    "Unavailable",
    "OutcomeUnknown"
  ],
  "1 MB of headers": [
    { headers: { note: "x".repeat(1 << 20) }, body: good, trailers: fine },
    "Unavailable",
    "OutcomeUnknown"
  ],
  "a reset in the middle": [{ body: good.subarray(0, 3), reset: 2 }, "Unavailable", "OutcomeUnknown"],
  "a refusal of a stream that it has begun": [{ reset: 7 }, "Unavailable", "OutcomeUnknown"],
  "a refusal of the stream": [{ refusal: 7 }, "Unavailable"],
  "the end of its connection, as a refusal": [{ goaway: 7 }, "Unavailable", "OutcomeUnknown"],
  "the end of its connection, for calm": [{ goaway: 11 }, "Unavailable", "OutcomeUnknown"],
  "a reset that wants calm": [{ reset: 11 }, "Unavailable", "OutcomeUnknown"],
  "a reset that wants security": [{ reset: 12 }, "Unavailable", "OutcomeUnknown"],
  "a compressed message without an encoding": [
    { body: Raw.frame(encoded, { compressed: 1 }), trailers: fine },
    "Internal",
    "OutcomeUnknown"
  ],
  "an encoding that nobody knows": [
    { headers: { "grpc-encoding": "zstd" }, body: Raw.frame(encoded, { compressed: 1 }), trailers: fine },
    "Internal",
    "OutcomeUnknown"
  ]
}

const reasonOf = <A, E>(call: Effect.Effect<A, E>) =>
  Effect.match(call, {
    onSuccess: () => "answer",
    onFailure: (error) => (error instanceof GrpcError ? error.reason._tag : String(error))
  })

describe("a client of a server that answers with", () => {
  for (const [what, [answer, repeatable, other = repeatable]] of Object.entries(answers)) {
    it.live(what, () =>
      Effect.gen(function* () {
        const address = yield* hostile(answer)
        const game = yield* dial(address, { breakerFailures: 0, deadline: Duration.millis(500) })
        const read = yield* reasonOf(game.getPlayer({ playerId: "p1" }))
        const write = yield* reasonOf(game.createPlayer({ playerId: "p1", name: "" }))
        assert.deepStrictEqual([read, write], [repeatable, other])
        // Another connection may have to take the place of this one.
        const next = yield* Effect.retry(
          game.gainExp({ playerId: "p1", requestId: "r1", amount: 1n }, { deadline: "10 seconds" }),
          { times: 5 }
        )
        assert.deepStrictEqual(next.player, response("p1").player)
      }).pipe(Effect.provide(LoggerTest))
    )
  }
})
