// Load on a gRPC server by a client that costs less than the server: HTTP/2 of Node, and no gRPC library. It sends what
// a call of a fleet has, a deadline, a token and a trace, and looks at nothing but the status.
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as http2 from "node:http2"
import type * as Bench from "../../bench/Bench.ts"
import { frame } from "../Raw.ts"
import { Methods, playerId, response, token, traceparent } from "./Work.ts"

const responseSize = frame(Methods.getPlayer.responseSerialize(response(playerId))).length

const request = frame(Methods.getPlayer.requestSerialize({ playerId }))

const session = (address: string): Effect.Effect<http2.ClientHttp2Session, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<http2.ClientHttp2Session>((resume) => {
      const session = http2.connect(`http://${address}`, {
        peerMaxConcurrentStreams: 1000,
        settings: { enablePush: false, initialWindowSize: 1 << 20 }
      })
      session.once("connect", () => {
        session.setLocalWindowSize(1 << 24)
        resume(Effect.succeed(session))
      })
    }),
    (session) => Effect.sync(() => session.destroy())
  )

const open = (session: http2.ClientHttp2Session, path: string): http2.ClientHttp2Stream => {
  const stream = session.request({
    ":method": "POST",
    ":path": path,
    "content-type": "application/grpc",
    te: "trailers",
    "grpc-timeout": "60S",
    authorization: `Bearer ${token}`,
    traceparent
  })
  stream.end(request)
  return stream
}

/** Makes a call, and gives the bytes that came back when it has ended with OK. */
const call = (session: http2.ClientHttp2Session, path: string): Promise<number> =>
  new Promise((resolve, reject) => {
    const stream = open(session, path)
    let bytes = 0
    let status: unknown
    stream.on("data", (chunk: Buffer) => (bytes += chunk.length))
    stream.on("response", (headers) => (status = headers["grpc-status"]))
    stream.on("trailers", (headers) => (status = headers["grpc-status"]))
    stream.on("error", reject)
    stream.on("close", () => (status === "0" ? resolve(bytes) : reject(new Error(`status ${String(status)}`))))
  })

/** Loops of calls on one connection, until the time is over. */
const loops =
  (
    session: http2.ClientHttp2Session,
    concurrency: number,
    path: string,
    worth: (bytes: number) => number
  ): Bench.Load =>
  (millis) =>
    Effect.promise(async () => {
      const end = performance.now() + millis
      let calls = 0
      const one = async () => {
        while (performance.now() < end) {
          const bytes = await call(session, path)
          calls += worth(bytes)
        }
      }
      await Promise.all(Array.from({ length: concurrency }, one))
      return calls
    })

/** Unary calls, so many at once. */
export const unary =
  (concurrency: number) =>
  (address: string): Effect.Effect<Bench.Load, never, Scope.Scope> =>
    Effect.map(session(address), (session) => loops(session, concurrency, Methods.getPlayer.path, () => 1))

/** Calls with a stream of responses, so many at once; what is counted are the messages. */
export const streams =
  (concurrency: number) =>
  (address: string): Effect.Effect<Bench.Load, never, Scope.Scope> =>
    Effect.map(session(address), (session) =>
      loops(session, concurrency, Methods.watch.path, (bytes) => bytes / responseSize)
    )

/** Opens streams that stay: each has got a first message when this ends, and nothing follows. */
export const idle =
  (count: number, perConnection: number) =>
  (address: string): Effect.Effect<void, never, Scope.Scope> =>
    Effect.gen(function* () {
      for (let opened = 0; opened < count; opened += perConnection) {
        const connection = yield* session(address)
        yield* Effect.promise(() =>
          Promise.all(
            Array.from(
              { length: Math.min(perConnection, count - opened) },
              () =>
                new Promise<void>((resolve, reject) => {
                  const stream = open(connection, Methods.watch.path)
                  // Those that are still open when the connection ends are wanted so.
                  stream.on("error", reject)
                  stream.once("data", () => resolve())
                })
            )
          )
        )
      }
    })
