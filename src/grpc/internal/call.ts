import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as LogLevel from "effect/LogLevel"
import * as References from "effect/References"
import * as Stream from "effect/Stream"
import { Call, Deadline, type Metadata, type Peer } from "../Call.ts"
import { type Code, codes } from "../GrpcError.ts"
import { type Calls, leave, leaving, type OpenCall } from "./calls.ts"
import { monotonicMillis } from "./clock.ts"
import { detailsKey } from "./details.ts"
import { type Failure, refusal, Refused } from "./failure.ts"
import type { Limiter } from "./concurrency.ts"
import type { Observation, Observer } from "./observe.ts"
import type { Exchange, Failing, Route } from "./route.ts"
import { isEntry, isRepeatable, metadataRefusal, sizeOfEntry } from "./metadata.ts"
import * as Traceparent from "./traceparent.ts"
import type { Entries, ServerCall, ServerListener, Status } from "./transport.ts"

/** A route with what all its calls share. */
export interface Target extends Route {
  /** Its handler runs on it. */
  readonly context: Context.Context<never>
  readonly observer: Observer
  /** Of a method with one request and one response: how many its handler runs at once. */
  readonly limiter: Limiter | undefined
}

const pastDeadline = refusal("DEADLINE_EXCEEDED", "deadline exceeded")

// As a stream is mostly ended.
const cancelled: Failure = { ...refusal("CANCELLED", "cancelled by the caller"), level: "Info" }

const hungUp: Failure = { ...refusal("CANCELLED", "hung up"), level: "Info" }

const overloaded = refusal("RESOURCE_EXHAUSTED", "overloaded")

/** The rest is noise, and makes lines long. */
const toMicroseconds = (seconds: number): number => Math.round(seconds * 1e6) / 1e6

const none: Entries = []

const ok: Status = { code: 0, details: "OK", trailers: none }

/** Whether it was refused before its handler began: then it says nothing of how long the handler takes. */
const isRefused = (exit: Exit.Exit<unknown, Failing>): boolean =>
  Exit.isFailure(exit) && exit.cause.reasons.some((reason) => reason._tag === "Fail" && reason.error instanceof Refused)

/**
 * One call of any kind: the transport's events in, one terminal status out. It stands between a transport and the
 * handler's fiber, so it is called back by both, and is written without Effect: recovery, limits, deadline and access
 * log are one pass over plain code.
 */
export class ServedCall implements ServerListener, OpenCall, Exchange {
  readonly #calls: Calls
  readonly #target: Target
  readonly #transport: ServerCall
  readonly #observation: Observation
  readonly deadline: number
  since: number
  #fiber: Fiber.Fiber<unknown, Failing> | undefined
  /** When the limiter let it in. */
  #admittedAt = 0
  #request: Buffer | undefined
  /** Takes the next request of a stream. */
  #reader: ((next: Effect.Effect<readonly [unknown], Cause.Done>) => void) | undefined
  #halfClosed = false
  /** A message was sent, and there is no room yet for another. */
  #sending = false
  #onSent: (() => void) | undefined
  #headersSent = false
  #headers: Array<Entries[number]> | undefined
  #trailers: Array<Entries[number]> | undefined
  /** The terminal status is decided; nothing may be sent any more. */
  #ended = false
  /** The transport is done with it. */
  #closed = false

  constructor(calls: Calls, target: Target, transport: ServerCall) {
    this.#calls = calls
    this.#target = target
    this.#transport = transport
    const parent = Traceparent.decode(transport.metadata.get(Traceparent.key)[0])
    this.#observation = target.observer.start(target.context, parent)
    this.since = this.#observation.startedAt
    const latest = target.responseStream ? Infinity : calls.clock.currentTimeMillisUnsafe() + calls.maxDeadlineMillis
    this.deadline = Math.min(transport.deadline, latest)
  }

  /** Called once, before any of its listener's methods. */
  start(): void {
    const { requestStream, responseStream } = this.#target
    // A stream of responses may last, but a single request must come in time.
    if (!requestStream || !responseStream) this.#calls.open.add(this)
    if (responseStream) this.#calls.standing.add(this)
    const refused =
      responseStream && this.#calls.isStopping ? leaving : metadataRefusal(this.metadata, this.#calls.maxMetadataSize)
    if (refused !== undefined) return this.end(refused)
    this.#transport.read()
    if (requestStream) this.#run()
  }

  onMessage(message: Buffer): void {
    if (this.#ended) return
    if (!this.#target.requestStream) {
      if (this.#request !== undefined) return this.end(refusal("UNIMPLEMENTED", "more than one request message"))
      this.#request = message
      this.#transport.read()
      return
    }
    const reader = this.#reader
    if (reader === undefined) {
      this.#request = message
      return
    }
    this.#reader = undefined
    this.#transport.read()
    // Decoded by the fiber: what a schema throws is a defect of it, and would end the process here.
    reader(Effect.suspend(() => this.#take(message)))
  }

  onHalfClose(): void {
    this.#halfClosed = true
    if (this.#ended) return
    if (this.#target.requestStream) {
      this.#reader?.(Cause.done())
      return
    }
    if (this.#request === undefined) return this.end(refusal("UNIMPLEMENTED", "no request message"))
    if (this.#target.responseStream) leave(this.#calls, this)
    this.#run()
  }

  onRefused(code: Code, message: string): void {
    this.end(refusal(code, message))
  }

  onClose(): void {
    this.#closed = true
    if (!this.#ended) {
      this.#ended = true
      this.#fail(this.#isPastDeadline() ? pastDeadline : cancelled)
    }
    this.#stop()
  }

  end(failure: Failure): void {
    if (!this.#ended) {
      this.#fail(failure)
      const trailers: Array<readonly [string, string | Buffer]> = [...(this.#trailers ?? none)]
      if (failure.details !== undefined) trailers.push([detailsKey, failure.details])
      this.#finish({ code: codes.indexOf(failure.code), details: failure.message, trailers })
    }
    this.#stop()
  }

  cut(failure: Failure): void {
    if (!this.#ended && !this.#sending) return this.end(failure)
    if (!this.#ended) {
      this.#ended = true
      this.#fail(failure)
    }
    // What was sent is not read.
    if (!this.#closed) this.#transport.reset()
    this.#stop()
  }

  // --- what its route takes of it

  get request(): Buffer {
    const request = this.#request!
    // A stream of responses may last longer than its request is of use.
    this.#request = undefined
    return request
  }

  get requests(): Stream.Stream<unknown> {
    return Stream.fromPull(
      Effect.succeed(
        Effect.callback<readonly [unknown], Cause.Done>((resume) => {
          const message = this.#request
          if (message !== undefined) {
            this.#request = undefined
            if (!this.#halfClosed) this.#transport.read()
            return resume(Effect.suspend(() => this.#take(message)))
          }
          if (this.#halfClosed) return resume(Cause.done())
          if (this.#reader !== undefined) return resume(Effect.die(new TypeError("requests are read twice at once")))
          this.#reader = resume
          return Effect.sync(() => {
            this.#reader = undefined
          })
        })
      )
    )
  }

  sendAll(responses: ReadonlyArray<unknown>): Effect.Effect<void> {
    let next = 0
    const sent = () => this.#freed()
    const step: Effect.Effect<void> = Effect.suspend(() => {
      while (next < responses.length) {
        if (this.#ended) return Effect.interrupt
        if (this.#sending) return Effect.andThen(this.#room(), step)
        const bytes = this.#target.encode(responses[next++])
        if (!this.#refuseLarge(bytes)) this.#send(bytes, sent)
      }
      return Effect.void
    })
    return step
  }

  // --- what `Call` is

  get method(): string {
    return this.#transport.path.slice(1)
  }

  get metadata(): Metadata {
    return this.#transport.metadata
  }

  get peer(): Peer {
    return this.#calls.peerOf(this.#transport)
  }

  get setHeader(): Call["Service"]["setHeader"] {
    return (name, value) => this.#addEntry((this.#headers ??= []), name, value)
  }

  get setTrailer(): Call["Service"]["setTrailer"] {
    return (name, value) => this.#addEntry((this.#trailers ??= []), name, value)
  }

  get hangUp(): Call["Service"]["hangUp"] {
    return Effect.sync(() => this.cut(hungUp))
  }

  // --- the fiber

  #run(): void {
    if (this.#isPastDeadline()) return this.end(pastDeadline)
    const { limiter } = this.#target
    if (limiter !== undefined) {
      if (!limiter.tryAcquire()) return this.end(overloaded)
      this.#admittedAt = monotonicMillis(this.#calls.clock)
    }
    const context = Context.add(Context.add(this.#observation.context, Call, this), Deadline, this.deadline)
    const fiber = Effect.runForkWith(context)(this.#target.run(this))
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) return this.#onExit(exit)
    this.#fiber = fiber
    fiber.addObserver((exit) => this.#onExit(exit))
    if (this.#ended) fiber.interruptUnsafe()
  }

  /** Interrupts what still runs, else leaves as soon as the transport has. */
  #stop(): void {
    if (this.#fiber !== undefined) this.#fiber.interruptUnsafe()
    else if (this.#closed) this.#leave()
  }

  #onExit(exit: Exit.Exit<unknown, Failing>): void {
    this.#fiber = undefined
    this.#release(exit)
    if (this.#ended) {
      // Nobody waits for it, but a bug that shows only in a cancelled handler is a bug.
      if (Exit.isFailure(exit) && Cause.hasDies(exit.cause)) {
        this.#log("Error", "grpc handler failed after its call had ended", {}, exit.cause)
      }
    } else if (Exit.isFailure(exit)) {
      this.end(this.#target.failure(exit.cause))
    } else if (this.#target.responseStream) {
      this.#succeed()
    } else {
      this.#reply(exit.value as Buffer)
    }
    if (this.#closed) this.#leave()
  }

  #release(exit: Exit.Exit<unknown, Failing>): void {
    const { limiter } = this.#target
    if (limiter === undefined) return
    // A refusal says nothing of the handler.
    if (isRefused(exit)) limiter.release(0, "dropped")
    else limiter.release(monotonicMillis(this.#calls.clock) - this.#admittedAt, this.#ended ? "dropped" : "ok")
  }

  #reply(response: Buffer): void {
    if (!this.#refuseLarge(response)) this.#send(response, () => this.#succeed())
  }

  #succeed(): void {
    if (this.#ended) return
    // Its deadline has ended the call already.
    if (this.#isPastDeadline()) return this.end(pastDeadline)
    this.#sending = false
    const duration = toMicroseconds(this.#observation.end("OK"))
    this.#log("Info", "grpc call success", { code: "OK", duration })
    this.#finish(this.#trailers === undefined ? ok : { ...ok, trailers: this.#trailers })
  }

  // --- the transport

  #take(message: Buffer): Effect.Effect<readonly [unknown]> {
    const request = this.#target.decode(message)
    if (!(request instanceof Refused)) return Effect.succeed([request])
    this.end(request.failure)
    return Effect.interrupt
  }

  /** Waits until another message may be sent. */
  #room(): Effect.Effect<void> {
    return Effect.callback((resume) => {
      if (this.#onSent !== undefined) return resume(Effect.die(new TypeError("responses are sent twice at once")))
      this.#onSent = () => resume(Effect.void)
      return Effect.sync(() => {
        this.#onSent = undefined
      })
    })
  }

  #freed(): void {
    this.#sending = false
    const onSent = this.#onSent
    this.#onSent = undefined
    onSent?.()
  }

  #send(message: Buffer, sent: () => void): void {
    this.#sendHeaders()
    this.#sending = true
    this.#transport.send(message, sent)
  }

  #refuseLarge({ length }: Buffer): boolean {
    const limit = this.#calls.maxMessageSize
    if (length <= limit) return false
    this.end(refusal("RESOURCE_EXHAUSTED", `response larger than ${limit} bytes`))
    return true
  }

  #sendHeaders(): void {
    if (this.#headersSent) return
    this.#headersSent = true
    if (this.#headers !== undefined) this.#transport.sendHeaders(this.#headers)
  }

  #finish(status: Status): void {
    this.#ended = true
    this.#sendHeaders()
    if (this.#calls.standing.delete(this)) {
      // From now on it is only to be read.
      this.#calls.open.delete(this)
      this.since = monotonicMillis(this.#calls.clock)
      this.#calls.open.add(this)
    }
    this.#transport.end(status)
  }

  #leave(): void {
    this.#calls.standing.delete(this)
    leave(this.#calls, this)
  }

  #addEntry(entries: Array<Entries[number]>, name: string, value: string | Buffer): Effect.Effect<void> {
    return Effect.sync(() => {
      if (!isEntry(name, value)) throw new TypeError(`not a metadata entry: ${name}`)
      if (!isRepeatable(name) && entries.some(([other]) => other === name)) throw new TypeError(`${name} twice`)
      const size = entries.reduce((sum, [name, value]) => sum + sizeOfEntry(name, value), sizeOfEntry(name, value))
      if (size > this.#calls.maxMetadataSize) {
        throw new RangeError(`more metadata than ${this.#calls.maxMetadataSize} bytes`)
      }
      entries.push([name, value])
    })
  }

  #isPastDeadline(): boolean {
    const { deadline } = this.#transport
    return deadline !== Infinity && deadline <= this.#calls.clock.currentTimeMillisUnsafe()
  }

  // --- the log

  #fail({ code, level, fields, cause, message }: Failure): void {
    const duration = toMicroseconds(this.#observation.end(code, cause))
    const error = fields === undefined ? { error: message } : fields
    this.#log(level, "grpc call failed", { code, duration, ...error }, cause)
  }

  #log(level: LogLevel.Severity, message: string, fields: object, cause?: Cause.Cause<unknown>): void {
    const { context } = this.#observation
    if (this.#target.isOurs && level !== "Error") return
    if (LogLevel.isGreaterThan(Context.get(context, References.MinimumLogLevel), level)) return
    const log = Effect.logWithLevel(level)
    Effect.runForkWith(context)(cause === undefined ? log(message, fields) : log(message, fields, cause))
  }
}
