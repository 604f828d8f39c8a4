import * as grpc from "@grpc/grpc-js"
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as LogLevel from "effect/LogLevel"
import * as References from "effect/References"
import * as Result from "effect/Result"
import * as Tracer from "effect/Tracer"
import * as http2 from "node:http2"
import type { DomainError } from "../Api.ts"
import { codes } from "../GrpcError.ts"
import { detailsKey } from "./details.ts"
import { type Failure, refusal, type Route } from "./route.ts"
import * as Traceparent from "./traceparent.ts"

type Transport = grpc.ServerInterceptingCallInterface
type Listener = Parameters<Transport["start"]>[0]

/** A call that has not ended on both sides. */
export interface OpenCall {
  readonly startedAt: number
  /** Ends it now, with a status when one still passes, else by a reset. */
  cut(failure: Failure): void
}

/** What the calls of one server share. */
export interface Calls {
  readonly clock: Clock.Clock
  /** Calls that have to end in time, oldest first: a handler may still run, or a reply is still on its way out. */
  readonly open: Set<OpenCall>
  /** Called when `open` becomes empty. */
  onEmpty: () => void
  readonly maxDeadlineMillis: number
  readonly maxMetadataSize: number
  readonly maxMessageSize: number
}

/** A route on the context that its handler runs on. */
export interface Target extends Route {
  readonly context: Context.Context<never>
}

/** The time on a clock that never goes back, in milliseconds. */
export const monotonicMillis = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6

/**
 * The stream that grpc-js keeps to itself. It has no way to reset one, and waits as long as a peer likes that does not
 * read, or does not end its request.
 */
const streamOf = (transport: Transport): http2.Http2Stream =>
  (transport as unknown as { readonly stream: http2.Http2Stream }).stream

/** Takes back what the peer does not read. */
const reset = (transport: Transport): void => streamOf(transport).close(http2.constants.NGHTTP2_CANCEL)

/** Gives up the rest of a request whose call has ended, as RFC 9113, 8.1 wants it: once its status is on its way. */
const giveUp = (transport: Transport): void => {
  const stream = streamOf(transport)
  // What is written leaves when this turn of the event loop has ended; a reset in this turn would overtake it.
  setImmediate(() => {
    if (!stream.destroyed) stream.close(http2.constants.NGHTTP2_NO_ERROR)
  })
}

const leave = (calls: Calls, call: OpenCall): void => {
  if (calls.open.delete(call) && calls.open.size === 0) calls.onEmpty()
}

// HTTP/2 counts every entry of a header list with 32 bytes more than its name and value.
const entryOverhead = 32

const sizeOf = (metadata: grpc.Metadata): number => {
  let size = 0
  const entries = metadata.toJSON()
  for (const key in entries) {
    for (const value of entries[key]!) {
      const length = typeof value === "string" ? value.length : Math.ceil((value.length * 4) / 3)
      size += key.length + length + entryOverhead
    }
  }
  return size
}

/** Refuses too much metadata, for any kind of call. */
const metadataRefusal = (metadata: grpc.Metadata, limit: number): Failure | undefined =>
  sizeOf(metadata) > limit ? refusal("RESOURCE_EXHAUSTED", `metadata larger than ${limit} bytes`) : undefined

/** The status that a failed call ends with. */
export const toStatus = ({ code, message, details }: Failure): grpc.StatusObject => {
  const metadata = new grpc.Metadata()
  if (details !== undefined) metadata.set(detailsKey, details)
  return { code: codes.indexOf(code), details: message, metadata }
}

/**
 * One call of a unary method: the transport's events in, one terminal status out. It stands between grpc-js and the
 * handler's fiber, so it is called back by both, and is written without Effect: recovery, limits, deadline and access
 * log are one pass over plain code.
 */
export class UnaryCall implements Listener, OpenCall {
  readonly #calls: Calls
  readonly #target: Target
  readonly #transport: Transport
  #context: Context.Context<never>
  #request: Buffer | undefined
  #fiber: Fiber.Fiber<Buffer, DomainError> | undefined
  #halfClosed = false
  /** A reply was written, and waits until the peer takes it. */
  #replying = false
  /** The terminal status is decided; nothing may be sent any more. */
  #ended = false
  /** The transport is done with it. */
  #closed = false
  startedAt = 0

  constructor(calls: Calls, target: Target, transport: Transport) {
    this.#calls = calls
    this.#target = target
    this.#transport = transport
    this.#context = target.context
  }

  /** Called by grpc-js with a listener of its own, which would build a stream for every call. */
  start(): void {
    this.#transport.start(this)
  }

  onReceiveMetadata(metadata: grpc.Metadata): void {
    this.startedAt = monotonicMillis(this.#calls.clock)
    this.#calls.open.add(this)
    const refused = metadataRefusal(metadata, this.#calls.maxMetadataSize)
    if (refused !== undefined) return this.#end(refused)
    const parent = Traceparent.decode(metadata.get(Traceparent.key)[0])
    if (parent !== undefined) this.#context = Context.add(this.#context, Tracer.ParentSpan, parent)
    this.#transport.startRead()
  }

  onReceiveMessage(message: Buffer): void {
    if (this.#request !== undefined) return this.#end(refusal("UNIMPLEMENTED", "more than one request message"))
    this.#request = message
    this.#transport.startRead()
  }

  onReceiveHalfClose(): void {
    this.#halfClosed = true
    if (this.#ended) return
    if (this.#request === undefined) return this.#end(refusal("UNIMPLEMENTED", "no request message"))
    if (this.#isPastDeadline()) return this.#end(pastDeadline)
    const bytes = this.#request
    const request = Result.try(() => this.#target.decode(bytes))
    if (Result.isFailure(request)) return this.#end(refusal("INTERNAL", "the request does not decode"))
    const fiber = Effect.runForkWith(this.#context)(this.#target.run(request.success))
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) return this.#onExit(exit)
    this.#fiber = fiber
    fiber.addObserver((exit) => this.#onExit(exit))
  }

  /** Called once for every call, also after its status was sent. */
  onCancel(): void {
    this.#closed = true
    if (!this.#ended) {
      this.#ended = true
      this.#logFailure(this.#isPastDeadline() ? pastDeadline : refusal("CANCELLED", "cancelled by the caller"))
    }
    if (!this.#halfClosed) giveUp(this.#transport)
    this.#stop()
  }

  /** Ends the call, unless it has ended, and interrupts its handler. */
  cut(failure: Failure): void {
    if (this.#ended || !this.#replying) return this.#end(failure)
    this.#ended = true
    this.#logFailure(failure)
    reset(this.#transport)
  }

  #end(failure: Failure): void {
    if (!this.#ended) {
      this.#ended = true
      this.#logFailure(failure)
      this.#transport.sendStatus(toStatus(failure))
    }
    this.#stop()
  }

  #stop(): void {
    if (this.#fiber !== undefined) this.#fiber.interruptUnsafe()
    else if (this.#closed) leave(this.#calls, this)
  }

  #isPastDeadline(): boolean {
    const deadline = this.#transport.getDeadline()
    return deadline !== Infinity && Number(deadline) <= this.#calls.clock.currentTimeMillisUnsafe()
  }

  #onExit(exit: Exit.Exit<Buffer, DomainError>): void {
    this.#fiber = undefined
    if (this.#ended) {
      // Nobody waits for it, but a bug that shows only in a cancelled handler is a bug.
      if (Exit.isFailure(exit) && Cause.hasDies(exit.cause)) {
        this.#log("Error", "grpc handler failed after its call had ended", {}, exit.cause)
      }
    } else if (Exit.isSuccess(exit)) {
      this.#succeed(exit.value)
    } else {
      this.#end(this.#target.failure(exit.cause))
    }
    if (this.#closed) leave(this.#calls, this)
  }

  #succeed(response: Buffer): void {
    const limit = this.#calls.maxMessageSize
    if (response.length > limit) {
      return this.#end(refusal("RESOURCE_EXHAUSTED", `response larger than ${limit} bytes`))
    }
    this.#replying = true
    this.#transport.sendMessage(response, () => {
      if (this.#ended) return
      // Its deadline has ended the call already.
      if (this.#isPastDeadline()) return this.#end(pastDeadline)
      this.#ended = true
      this.#log("Info", "grpc call success", { code: "OK", duration: this.#seconds() })
      this.#transport.sendStatus(ok)
    })
  }

  /** To the microsecond: the rest is noise, and makes lines long. */
  #seconds(): number {
    return Math.round((monotonicMillis(this.#calls.clock) - this.startedAt) * 1000) / 1e6
  }

  #logFailure({ code, level, fields, cause, message }: Failure): void {
    const error = fields === undefined ? { error: message } : fields
    this.#log(level, "grpc call failed", { code, duration: this.#seconds(), ...error }, cause)
  }

  #log(level: LogLevel.Severity, message: string, fields: object, cause?: Cause.Cause<DomainError>): void {
    const context = this.#context
    if (LogLevel.isGreaterThan(Context.get(context, References.MinimumLogLevel), level)) return
    const annotations = { ...Context.get(context, References.CurrentLogAnnotations), ...fields }
    const log = Effect.logWithLevel(level)
    Effect.runForkWith(Context.add(context, References.CurrentLogAnnotations, annotations))(
      cause === undefined ? log(message) : log(message, cause)
    )
  }
}

const ok = { code: grpc.status.OK, details: "OK", metadata: null }

const pastDeadline = refusal("DEADLINE_EXCEEDED", "deadline exceeded")

/** What of a call of another kind has to end in time. */
export type Bound = "call" | "request" | "nothing"

/** A call of another kind, such as a Watch of health, which a stop may end before its time. */
export interface StandingCall extends OpenCall {
  /** Sends a status, behind what the peer has not read. */
  end(failure: Failure): void
}

/**
 * A call of another kind: passed on to its own implementation, with the limits on metadata and on time, and a way to
 * end it. `standing` holds it until it has ended.
 */
export const standingCall = (
  calls: Calls,
  standing: Set<StandingCall>,
  transport: Transport,
  bound: Bound
): grpc.ServerInterceptingCall => {
  let halfClosed = false
  let ended = false
  const call: StandingCall = {
    startedAt: monotonicMillis(calls.clock),
    end: (failure) => {
      ended = true
      transport.sendStatus(toStatus(failure))
    },
    cut: (failure) => {
      if (ended || streamOf(transport).writableLength > 0) reset(transport)
      else call.end(failure)
    }
  }
  return new grpc.ServerInterceptingCall(transport, {
    start: (next) =>
      next({
        onReceiveMetadata: (metadata, next) => {
          standing.add(call)
          if (bound !== "nothing") calls.open.add(call)
          const refused = metadataRefusal(metadata, calls.maxMetadataSize)
          if (refused === undefined) next(metadata)
          else call.end(refused)
        },
        onReceiveHalfClose: (next) => {
          halfClosed = true
          if (bound === "request") leave(calls, call)
          next()
        },
        onCancel: () => {
          standing.delete(call)
          leave(calls, call)
          if (!halfClosed) giveUp(transport)
        }
      })
  })
}
