// The transport of grpc-js, as the server core knows it.
import * as grpc from "@grpc/grpc-js"
import * as http2 from "node:http2"
import type { Metadata, Peer } from "../Call.ts"
import { type Code, codes } from "../GrpcError.ts"
import { type Calls, leave, type OpenCall } from "./calls.ts"
import { monotonicMillis } from "./clock.ts"
import type { Failure } from "./failure.ts"
import { peerOf } from "./listener.ts"
import { metadataRefusal } from "./metadata.ts"
import * as Strict from "./strict.ts"
import type { Accept, Entries, ServerCall, ServerListener, Status } from "./transport.ts"

type Transport = grpc.ServerInterceptingCallInterface
type Listener = Parameters<Transport["start"]>[0]

/** What may wait for a peer that reads slowly, in bytes, beside the message that is being sent. */
const maxWaiting = 65_536

/** What grpc-js keeps to itself of a call. */
interface Internals {
  /**
   * It has no way to reset it, and waits as long as a peer likes that does not read, or does not end its request.
   */
  readonly stream: http2.ServerHttp2Stream
  metadataSent: boolean
  wantTrailers: boolean
  notifyOnCancel(): void
  /** What `start` was given; null when the call was over by then. */
  readonly listener: Listener | null
  /** How it ends a call by itself: one whose deadline passes, or whose request it does not take. */
  sendStatus: (this: Internals, status: Pick<grpc.StatusObject, "code" | "details">) => void
}

const internalsOf = (transport: Transport): Internals => transport as unknown as Internals

/** Takes back what the peer does not read. */
const reset = (transport: Transport): void => internalsOf(transport).stream.close(http2.constants.NGHTTP2_CANCEL)

/** Gives up the rest of a request whose call has ended, as RFC 9113, 8.1 wants it: once its status is on its way. */
const giveUp = (transport: Transport): void => {
  const stream = internalsOf(transport).stream
  // What is written leaves when this turn of the event loop has ended; a reset in this turn would overtake it.
  setImmediate(() => {
    if (!stream.destroyed) stream.close(http2.constants.NGHTTP2_NO_ERROR)
  })
}

const metadataOf = (entries: Entries): grpc.Metadata => {
  const metadata = new grpc.Metadata()
  for (const [name, value] of entries) metadata.add(name, value)
  return metadata
}

const ignore = (): void => {}

/** A byte that says whether a message is compressed, and its length. */
const frameSize = 5

const frame = (message: Buffer): Buffer => {
  const frame = Buffer.allocUnsafe(frameSize + message.length)
  frame[0] = 0
  frame.writeUInt32BE(message.length, 1)
  message.copy(frame, frameSize)
  return frame
}

// What almost every call sends beside its message, as grpc-js would, but not put together anew each time.
const responseHeaders = {
  ":status": 200,
  "content-type": "application/grpc+proto",
  "grpc-accept-encoding": "identity,deflate,gzip",
  "grpc-encoding": "identity"
}
const waitForTrailers = { waitForTrailers: true }
const endStream = { endStream: true }
const okTrailers = { "grpc-status": 0, "grpc-message": "OK" }

const trailersOf = ({ code, details, trailers }: Status): http2.OutgoingHttpHeaders => ({
  "grpc-status": code,
  "grpc-message": encodeURI(details),
  ...metadataOf(trailers).toHttp2Headers()
})

/** Gives a call up that cannot be answered: what the driver throws would leave a callback, and end the process. */
const attempt = (stream: http2.ServerHttp2Stream, send: () => void): void => {
  try {
    send()
  } catch {
    stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR)
  }
}

/** In place of grpc-js's own: it would tell nobody, and wait for ever for a peer that does not read. */
const tellRefused: Internals["sendStatus"] = function ({ code, details }) {
  ;(this.listener as NativeCall | null)?.onRefused(codes[code]!, details)
}

const isGone = ({ closed, destroyed }: http2.Http2Stream): boolean => closed || destroyed

/** A call of grpc-js. It is its listener, too: grpc-js would build a stream for every call. */
class NativeCall implements ServerCall, Listener {
  readonly path: string
  peer: Peer = { address: "" }
  readonly #accept: Accept
  readonly #transport: Transport
  #metadata: grpc.Metadata | undefined
  #listener: ServerListener | undefined
  #halfClosed = false

  constructor(accept: Accept, path: string, transport: Transport) {
    this.path = path
    this.#accept = accept
    this.#transport = transport
  }

  /** Called by grpc-js, with a listener of its own that would run a handler of its own. */
  start(): void {
    Strict.refuseUnencoded(this.#transport)
    internalsOf(this.#transport).sendStatus = tellRefused
    this.#transport.start(this)
  }

  onReceiveMetadata(metadata: grpc.Metadata): void {
    this.#metadata = metadata
    // Asked for now: when the stream is closed it knows its connection no more.
    const { session } = internalsOf(this.#transport).stream
    if (session !== undefined) this.peer = peerOf(session)
    this.#listener = this.#accept(this)
  }

  onReceiveMessage(message: Buffer): void {
    this.#listener!.onMessage(message)
  }

  onReceiveHalfClose(): void {
    // A request that its client has reset ends for Node like one that is whole; onCancel follows.
    if (internalsOf(this.#transport).stream.closed) return
    this.#halfClosed = true
    if (!Strict.refuseCutOff(this.#transport)) this.#listener!.onHalfClose()
  }

  onRefused(code: Code, message: string): void {
    this.#listener!.onRefused(code, message)
  }

  /** Called once for every call, also after its status was sent. */
  onCancel(): void {
    if (!this.#halfClosed) giveUp(this.#transport)
    this.#listener!.onClose()
  }

  get metadata(): Metadata {
    return this.#metadata!
  }

  get deadline(): number {
    return Number(this.#transport.getDeadline())
  }

  read(): void {
    this.#transport.startRead()
  }

  sendHeaders(entries: Entries): void {
    const { stream } = internalsOf(this.#transport)
    attempt(stream, () => this.#transport.sendMetadata(metadataOf(entries)))
  }

  send(message: Buffer, sent: () => void): void {
    const internals = internalsOf(this.#transport)
    const { stream } = internals
    if (isGone(stream)) return
    if (!internals.metadataSent) {
      internals.metadataSent = true
      stream.respond(responseHeaders, waitForTrailers)
    }
    // Small messages that follow each other leave together.
    const fits = stream.writableLength + message.length <= maxWaiting
    // When it cannot be written its stream closes, which is told by itself.
    stream.write(frame(message), fits ? ignore : (error) => (error ? undefined : sent()))
    if (fits) sent()
  }

  end(status: Status): void {
    const internals = internalsOf(this.#transport)
    const { metadataSent, stream } = internals
    if (isGone(stream)) return
    if (!metadataSent) {
      const { ":status": http, "content-type": type } = responseHeaders
      const send = () => stream.respond({ ":status": http, "content-type": type, ...trailersOf(status) }, endStream)
      attempt(stream, send)
      return internals.notifyOnCancel()
    }
    internals.wantTrailers = true
    stream.once("wantTrailers", () => {
      if (status.code === 0 && status.trailers.length === 0) stream.sendTrailers(okTrailers)
      else attempt(stream, () => stream.sendTrailers(trailersOf(status)))
      internals.notifyOnCancel()
    })
    stream.end()
  }

  reset(): void {
    reset(this.#transport)
  }
}

/** A call of grpc-js for `accept`. grpc-js only starts what its interceptor gives it. */
export const call = (accept: Accept, path: string, transport: Transport): grpc.ServerInterceptingCall =>
  new NativeCall(accept, path, transport) as unknown as grpc.ServerInterceptingCall

/**
 * A call of what was added to the native server itself, such as reflection: passed on to its own implementation, with
 * the limits on metadata and on time, and a way to end it.
 */
export const foreign = (calls: Calls, transport: Transport): grpc.ServerInterceptingCall => {
  let halfClosed = false
  let ended = false
  const call: OpenCall = {
    since: monotonicMillis(calls.clock),
    end: ({ code, message }: Failure) => {
      ended = true
      transport.sendStatus({ code: codes.indexOf(code), details: message, metadata: null })
    },
    cut: (failure) => {
      if (ended || internalsOf(transport).stream.writableLength > 0) reset(transport)
      else call.end(failure)
    }
  }
  return new grpc.ServerInterceptingCall(transport, {
    start: (next) =>
      next({
        onReceiveMetadata: (metadata, next) => {
          calls.standing.add(call)
          calls.open.add(call)
          const refused = metadataRefusal(metadata, calls.maxMetadataSize)
          if (refused === undefined) next(metadata)
          else call.end(refused)
        },
        onReceiveHalfClose: (next) => {
          halfClosed = true
          next()
        },
        onCancel: () => {
          calls.standing.delete(call)
          leave(calls, call)
          if (!halfClosed) giveUp(transport)
        }
      })
  })
}

const identity = (bytes: Buffer): Buffer => bytes

/** Makes methods known to grpc-js, of any kind and with bytes as messages: their calls are taken by its interceptor. */
export const register = (server: grpc.Server, paths: Iterable<string>): void => {
  for (const path of paths) {
    const method = {
      path,
      requestStream: false,
      responseStream: false,
      requestSerialize: identity,
      requestDeserialize: identity,
      responseSerialize: identity,
      responseDeserialize: identity
    }
    server.addService({ [path]: method }, {})
  }
}
