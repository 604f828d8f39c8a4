// A client that speaks HTTP/2 and not gRPC: it sends what no gRPC client would.
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as http2 from "node:http2"
import * as net from "node:net"

/** What came back. `status` and `message` are those of gRPC, from the trailers or a response of trailers only. */
export interface Reply {
  readonly http: number | undefined
  readonly status: number | undefined
  readonly message: string | undefined
  readonly details: ReadonlyArray<string>
  readonly body: Buffer
  /** The code of the RST_STREAM frame, or of the connection's end. */
  readonly reset: number | undefined
}

/** A message as gRPC frames it. */
export const frame = (message: Uint8Array, { compressed = 0, length = message.length } = {}): Buffer => {
  const head = Buffer.alloc(5)
  head.writeUInt8(compressed, 0)
  head.writeUInt32BE(length, 1)
  return Buffer.concat([head, message])
}

export interface Raw {
  /** Sends headers over the usual ones, and the body as it is. `end: false` leaves the request open. */
  readonly call: (
    path: string,
    body: Buffer,
    options?: { readonly headers?: http2.OutgoingHttpHeaders; readonly end?: boolean }
  ) => Effect.Effect<Reply>
  readonly session: http2.ClientHttp2Session
}

// The types do not know the second one yet.
const rawOptions = { maxSendHeaderBlockLength: 1 << 20, strictSingleValueFields: false } as http2.ClientSessionOptions

const pathOf = (address: string): string => `http://${address}`

/** One connection, closed with the scope. */
export const connect = (address: string): Effect.Effect<Raw, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<http2.ClientHttp2Session>((resume) => {
        const session = http2.connect(pathOf(address), rawOptions)
        session.on("error", () => {})
        session.once("connect", () => resume(Effect.succeed(session)))
      }),
      (session) => Effect.sync(() => session.destroy())
    ),
    (session) => ({
      session,
      call: (path, body, { headers = {}, end = true } = {}) =>
        Effect.callback((resume) => {
          const stream = session.request({
            ":method": "POST",
            ":path": path,
            te: "trailers",
            "content-type": "application/grpc",
            ...headers
          })
          let head: http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader = {}
          let tail: http2.IncomingHttpHeaders = {}
          const chunks: Array<Buffer> = []
          stream.on("response", (headers) => (head = headers))
          stream.on("trailers", (headers) => (tail = headers))
          stream.on("data", (chunk: Buffer) => chunks.push(chunk))
          stream.on("error", () => {})
          // Also a stream whose request is left open: a server gives it up after the status.
          stream.on("close", () => {
            const of = (key: string) => [head[key], tail[key]].flat().filter((value) => value !== undefined)
            const [status] = of("grpc-status")
            const [message] = of("grpc-message")
            resume(
              Effect.succeed({
                http: head[":status"],
                status: status === undefined ? undefined : Number(status),
                message: message === undefined ? undefined : decodeURIComponent(message),
                details: of("grpc-status-details-bin"),
                body: Buffer.concat(chunks),
                reset: stream.rstCode === 0 ? undefined : stream.rstCode
              })
            )
          })
          if (end) stream.end(body)
          else stream.write(body)
          return Effect.sync(() => stream.close(http2.constants.NGHTTP2_CANCEL))
        })
    })
  )

/** Writes bytes to a connection of its own, and waits until the other side closes it. */
export const write = (address: string, bytes: Buffer): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const [host, port] = address.split(":") as [string, string]
    const socket = net.connect(Number(port), host, () => socket.write(bytes))
    socket.resume()
    socket.on("error", () => {})
    socket.on("close", () => resume(Effect.void))
    return Effect.sync(() => socket.destroy())
  })
