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
import type { DomainError } from "../Api.ts"
import { codes } from "../GrpcError.ts"
import { detailsKey } from "./details.ts"
import { type Failure, refusal, type Route } from "./route.ts"
import * as Traceparent from "./traceparent.ts"

type Transport = grpc.ServerInterceptingCallInterface
type Listener = Parameters<Transport["start"]>[0]

/** What the calls of one server share. */
export interface Calls {
  readonly clock: Clock.Clock
  /** Calls whose fiber may still run, oldest first. */
  readonly open: Set<UnaryCall>
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
export const metadataRefusal = (metadata: grpc.Metadata, limit: number): Failure | undefined =>
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
export class UnaryCall implements Listener {
  readonly #calls: Calls
  readonly #target: Target
  readonly #transport: Transport
  #context: Context.Context<never>
  #request: Buffer | undefined
  #fiber: Fiber.Fiber<Buffer, DomainError> | undefined
  /** The terminal status is decided; nothing may be sent any more. */
  #ended = false
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
    if (refused !== undefined) return this.end(refused)
    const parent = Traceparent.decode(metadata.get(Traceparent.key)[0])
    if (parent !== undefined) this.#context = Context.add(this.#context, Tracer.ParentSpan, parent)
    this.#transport.startRead()
  }

  onReceiveMessage(message: Buffer): void {
    if (this.#request !== undefined) return this.end(refusal("UNIMPLEMENTED", "more than one request message"))
    this.#request = message
    this.#transport.startRead()
  }

  onReceiveHalfClose(): void {
    if (this.#ended) return
    if (this.#request === undefined) return this.end(refusal("UNIMPLEMENTED", "no request message"))
    if (this.#isPastDeadline()) return this.end(refusal("DEADLINE_EXCEEDED", "deadline exceeded"))
    const bytes = this.#request
    const request = Result.try(() => this.#target.decode(bytes))
    if (Result.isFailure(request)) return this.end(refusal("INTERNAL", "the request does not decode"))
    const fiber = Effect.runForkWith(this.#context)(this.#target.run(request.success))
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) return this.#onExit(exit)
    this.#fiber = fiber
    fiber.addObserver((exit) => this.#onExit(exit))
  }

  /** Called once for every call, also after its status was sent. */
  onCancel(): void {
    if (!this.#ended) {
      this.#ended = true
      const why: Failure = this.#isPastDeadline()
        ? refusal("DEADLINE_EXCEEDED", "deadline exceeded")
        : refusal("CANCELLED", "cancelled by the caller")
      this.#logFailure(why)
    }
    this.#stop()
  }

  /** Ends the call with a failure, unless it has ended, and interrupts its handler. */
  end(failure: Failure): void {
    if (!this.#ended) {
      this.#ended = true
      this.#logFailure(failure)
      this.#transport.sendStatus(toStatus(failure))
    }
    this.#stop()
  }

  #stop(): void {
    if (this.#fiber === undefined) this.#leave()
    else this.#fiber.interruptUnsafe()
  }

  #leave(): void {
    if (this.#calls.open.delete(this) && this.#calls.open.size === 0) this.#calls.onEmpty()
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
      this.end(this.#target.failure(exit.cause))
    }
    this.#leave()
  }

  #succeed(response: Buffer): void {
    const limit = this.#calls.maxMessageSize
    if (response.length > limit) {
      return this.end(refusal("RESOURCE_EXHAUSTED", `response larger than ${limit} bytes`))
    }
    this.#ended = true
    this.#log("Info", "grpc call success", { code: "OK", duration: this.#seconds() })
    this.#transport.sendMessage(response, () => this.#transport.sendStatus(ok))
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

/**
 * A call of another kind, such as a Watch of health: passed on to its own implementation, with the limit on metadata
 * and a way to end it. `standing` holds it until it has ended.
 */
export const standingCall = (
  transport: Transport,
  standing: Set<Transport>,
  maxMetadataSize: number
): grpc.ServerInterceptingCall =>
  new grpc.ServerInterceptingCall(transport, {
    start: (next) => {
      standing.add(transport)
      next({
        onReceiveMetadata: (metadata, next) => {
          const refused = metadataRefusal(metadata, maxMetadataSize)
          if (refused === undefined) next(metadata)
          else transport.sendStatus(toStatus(refused))
        },
        onCancel: () => standing.delete(transport)
      })
    }
  })
