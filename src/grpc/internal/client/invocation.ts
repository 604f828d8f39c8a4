import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Tracer from "effect/Tracer"
import type { CallOptions, DomainError } from "../../Api.ts"
import { Call, Deadline, type Metadata } from "../../Call.ts"
import { type Code, codes, DeadlineExceeded, GrpcError, InvalidArgument, ResourceExhausted } from "../../GrpcError.ts"
import type { Observation } from "../observe.ts"
import { isEntry, sizeOfEntry } from "../metadata.ts"
import * as Traceparent from "../traceparent.ts"
import type { ClientCall, ClientListener, Ended, Entries } from "../transport.ts"
import type { Balancer } from "./balance.ts"
import { isLoss } from "./breaker.ts"
import type { Instance } from "./instance.ts"
import type { Pool } from "./pool.ts"
import { type Remote, toError } from "./remote.ts"

/** What the calls of one client have in common. */
export interface Caller {
  readonly pool: Pool
  readonly balancer: Balancer
  /** How many instances it connects to. */
  readonly reach: "all" | "first"
  readonly deadlineMillis: number
  readonly attemptMillis: number
  readonly maxAttempts: number
  readonly maxMessageSize: number
  readonly maxMetadataSize: number
  readonly waitForReady: boolean
  /** Whether it sends the authorization of the call that is being served along. */
  readonly carriesIdentity: boolean
  /** Draws from 0 to below 1. */
  readonly random: () => number
}

/** The longest first pause before a further try, doubled for each, and the longest of all, in milliseconds. */
const [firstPause, longestPause] = [20, 1000]

const ignore = (): void => {}

const tooSlow = "the try took too long"

/** A deadline that comes later than this was kept from coming, as the answers were: this process stood still. */
const longestDelay = 100

const authorization = "authorization"

/** The metadata of a call that carries on whom the one that is being served is for. */
const carried = (context: Context.Context<never>, metadata: CallOptions["metadata"]): CallOptions["metadata"] => {
  const [value] = Context.getOrUndefined(context as Context.Context<Call>, Call)?.metadata.get(authorization) ?? []
  return value === undefined ? metadata : { [authorization]: value, ...metadata }
}

/** The metadata to send, or why it is not sent. */
const entriesOf = (
  method: string,
  metadata: CallOptions["metadata"],
  span: Tracer.AnySpan | undefined,
  limit: number
): Entries | GrpcError => {
  const entries: Array<Entries[number]> = []
  let size = 0
  for (const key in metadata) {
    const name = key.toLowerCase()
    const value = metadata[key]!
    if (!isEntry(name, value) || entries.some(([known]) => known === name)) {
      const details = `the metadata ${JSON.stringify(name)} cannot be sent`
      return new GrpcError({ reason: new InvalidArgument({ method, details }) })
    }
    entries.push([name, value])
    size += sizeOfEntry(name, value)
  }
  if (size > limit) {
    const details = `metadata of ${size} bytes, more than ${limit}`
    return new GrpcError({ reason: new ResourceExhausted({ method, details, repeatable: true }) })
  }
  if (span !== undefined) entries.push([Traceparent.key, Traceparent.encode(span)])
  return entries
}

/** How long a call may take: what was asked for, the default, or without end where responses stream. */
const ownMillis = ({ deadlineMillis }: Caller, { responseStream }: Remote, { deadline }: CallOptions): number => {
  if (deadline !== undefined) return Duration.toMillis(Duration.fromInputUnsafe(deadline))
  return responseStream ? Infinity : deadlineMillis
}

/** The status of a call that never had one. */
const codeOf = ({ reason }: GrpcError): Code => {
  switch (reason._tag) {
    case "DeadlineExceeded":
      return "DEADLINE_EXCEEDED"
    case "InvalidArgument":
      return "INVALID_ARGUMENT"
    case "ResourceExhausted":
      return "RESOURCE_EXHAUSTED"
    default:
      return "UNAVAILABLE"
  }
}

/** Whether a call that failed so was not processed, or may be repeated, and another try may find a better server. */
const isRepeatable = (error: DomainError): boolean =>
  error instanceof GrpcError && (error.reason._tag === "Unavailable" || error.reason._tag === "DeadlineExceeded")

/**
 * A call from its first try to its last. It is called back by the connection for every event of a try, and written
 * without Effect where a call passes that succeeds at once.
 */
export abstract class Invocation implements ClientListener {
  protected readonly caller: Caller
  protected readonly remote: Remote
  /** Whether it has gone through the circuit breaker from its start. */
  isGuarded = false
  /** Whether nothing of it is lost when it is tried again. */
  protected isWhole: boolean
  readonly #options: CallOptions
  readonly #observation: Observation
  /** In milliseconds of the epoch; Infinity for none. */
  readonly #deadline: number
  readonly #entries: Entries | GrpcError
  #instance: Instance | undefined
  /** Where the last try was. */
  #lost: Instance | undefined
  /** Of the instance, when the try began. */
  #era = 0
  readonly #send: (call: ClientCall) => void
  #call: ClientCall | undefined
  #attempts = 0
  /** When the try must have ended, and how long it has until then. */
  #tryDeadline = Infinity
  #tryMillis = Infinity
  /** The try is not waited for any longer. */
  #isLate = false
  #stopTimer: () => void = ignore
  /** A further try is put by for it. */
  #reserved = false
  #answered = false
  /** It has its outcome, or nobody waits for it any more. */
  #over = false

  /** `send` sends what there is to send, for every try. */
  constructor(
    caller: Caller,
    remote: Remote,
    options: CallOptions,
    context: Context.Context<never>,
    send: (call: ClientCall) => void
  ) {
    this.caller = caller
    this.#send = send
    this.remote = remote
    this.isWhole = !remote.requestStream
    this.#options = options
    this.#observation = remote.observer.start(context, Context.getOrUndefined(context, Tracer.ParentSpan))
    const { span } = this.#observation
    const metadata = caller.carriesIdentity ? carried(context, options.metadata) : options.metadata
    this.#entries = entriesOf(remote.name, metadata, span, caller.maxMetadataSize)
    this.#deadline = Math.min(caller.pool.now() + ownMillis(caller, remote, options), Context.get(context, Deadline))
    caller.pool.budget.call()
  }

  abstract onMessage(message: Buffer): void
  /** The server has answered, with success. */
  protected abstract onOk(): void
  /** Goes on with that: a failure, or a further try. */
  protected abstract onFailure(next: Effect.Effect<void, DomainError>): void

  /** Whether it is made whatever happened to others. */
  get waitsForReady(): boolean {
    return this.#options.waitForReady ?? this.caller.waitForReady
  }

  get isOver(): boolean {
    return this.#over
  }

  /** Why it cannot be made. */
  get refusal(): GrpcError | undefined {
    if (this.#entries instanceof GrpcError) return this.#entries
    return this.#left > 0 ? undefined : this.#tooLate
  }

  get #left(): number {
    return this.#deadline - this.caller.pool.now()
  }

  get #tooLate(): GrpcError {
    const details = "the deadline passed before the call was sent"
    return new GrpcError({ reason: new DeadlineExceeded({ method: this.remote.name, details }) })
  }

  /** Whether a try begins at once; otherwise {@link ready} waits for an instance. */
  get isReady(): boolean {
    const { balancer, pool, reach } = this.caller
    pool.wake(reach)
    this.#instance = pool.pick(balancer, this.#options.key, this.#lost)
    return this.#instance !== undefined
  }

  /** Waits until {@link isReady}, or until there is no hope. */
  readonly ready: Effect.Effect<void, DomainError> = Effect.suspend(() => {
    if (this.isReady) return Effect.void
    const { pool } = this.caller
    const refusal = pool.refusal(this.remote.name)
    if (refusal !== undefined && (pool.isClosed || !this.waitsForReady)) {
      return this.failed(refusal, codeOf(refusal), true)
    }
    const patience = pool.patience > 0 && !this.waitsForReady ? pool.patience : Infinity
    const millis = Math.max(0, Math.min(this.#left, patience))
    const changed = pool.changed(this.waitsForReady)
    const inTime =
      millis === Infinity
        ? changed
        : Effect.timeoutOrElse(changed, {
            duration: millis,
            orElse: () => (this.#left > 0 ? Effect.void : this.failed(this.#tooLate, "DEADLINE_EXCEEDED", true))
          })
    return Effect.andThen(
      Effect.onInterrupt(inTime, () => Effect.sync(() => this.cancel())),
      this.ready
    )
  })

  /**
   * Begins a try on the instance that was found. Of an idempotent method it ends early enough for another, when one is
   * put by for it.
   */
  open(): void {
    const { attemptMillis, maxAttempts, pool } = this.caller
    const instance = this.#instance!
    const now = pool.now()
    this.#attempts++
    this.#answered = false
    this.#isLate = false
    const mayRepeat =
      this.remote.idempotent &&
      !this.remote.responseStream &&
      this.isWhole &&
      pool.budget.isGiven &&
      this.#attempts < maxAttempts &&
      now + attemptMillis < this.#deadline
    this.#reserved = mayRepeat && pool.budget.take()
    pool.begin(instance)
    this.#lost = instance
    this.#era = instance.era
    this.#tryDeadline = this.#reserved ? now + attemptMillis : this.#deadline
    this.#tryMillis = this.#tryDeadline - now
    if (mayRepeat && !this.#reserved) this.#askLater()
    this.#call = instance.connection.open(this.remote.path, this.#entries as Entries, this.#tryDeadline, this)
    this.#call.read()
    this.#send(this.#call)
  }

  /** There is no further try put by for this one: when it has had its time there may be. */
  #askLater(): void {
    const { attemptMillis, pool } = this.caller
    const instance = this.#instance!
    this.#stopTimer = pool.after(attemptMillis, () => {
      if (this.#era === instance.era && !pool.budget.take())
        return this.#left > attemptMillis ? this.#askLater() : undefined
      this.#reserved = this.#era === instance.era
      this.#isLate = true
      this.#call!.cancel()
    })
  }

  onHeaders(metadata: Metadata): void {
    this.#answered = true
    this.#report(this.#options.onHeaders, metadata)
  }

  onEnd(driver: Ended): void {
    const { pool } = this.caller
    this.#stopTimer()
    const ended = this.#isLate ? { ...driver, code: 4, details: tooSlow } : driver
    const instance = this.#instance!
    if (this.#over) {
      if (this.#reserved) pool.budget.giveBack()
      return pool.end(instance, this.#era, undefined)
    }
    if (ended.code === 0) {
      if (this.#reserved) pool.budget.giveBack()
      pool.end(instance, this.#era, false)
      this.#report(this.#options.onTrailers, ended.trailers)
      return this.#over ? undefined : this.onOk()
    }
    const error = toError(this.remote, ended)
    // Nothing is known of a server whose answer may have waited for us, or is lost on us, nor from the end of a stream
    // that has run.
    const saysNothing =
      ended.isUnread === true ||
      (ended.code === 4 && (pool.now() - this.#tryDeadline > longestDelay || this.#isHasty)) ||
      (this.remote.responseStream && (this.#answered || !this.isWhole))
    pool.end(instance, this.#era, saysNothing ? undefined : isLoss(error))
    const pause = this.#pauseBefore(ended, error)
    if (pause !== undefined) {
      const slept = Effect.onInterrupt(Effect.sleep(pause), () => Effect.sync(() => this.cancel()))
      return this.onFailure(Effect.andThen(slept, this.ready))
    }
    this.#report(this.#options.onTrailers, ended.trailers)
    if (this.#over) return
    this.onFailure(this.failed(error, codes[ended.code] ?? "UNKNOWN", !saysNothing && isLoss(error)))
  }

  /** How long to wait before a further try; nothing when there is none. */
  #pauseBefore(ended: Ended, error: DomainError): number | undefined {
    const { maxAttempts, pool, random } = this.caller
    const pause = random() * Math.min(longestPause, firstPause * 2 ** (this.#attempts - 1))
    const may = this.isWhole && isRepeatable(error) && this.#attempts < maxAttempts && this.#left > pause
    // A server that takes too long is no better than one that says nothing.
    const answered = ended.code !== 4 && (this.#answered || Object.keys(ended.trailers.toJSON()).length > 0)
    // What an instance takes with it that is ejected is no more than was on it: that needs no budget.
    if (may && !answered && pool.budget.isGiven && this.#era !== this.#instance!.era) {
      if (this.#reserved) pool.budget.giveBack()
      return pause
    }
    if (!this.#reserved && !(may && pool.budget.take())) return undefined
    if (may && (!answered || pool.budget.takeAfterAnswer())) return pause
    pool.budget.giveBack()
    return undefined
  }

  /** Whether its caller gave it less time than a try needs: then its end says nothing of the server. */
  get #isHasty(): boolean {
    const { attemptMillis, deadlineMillis } = this.caller
    return this.#tryMillis < Math.min(attemptMillis, deadlineMillis)
  }

  /** Tells the caller's code something. What it throws is a defect of its call. */
  #report(to: ((metadata: Metadata) => void) | undefined, metadata: Metadata): void {
    if (to === undefined) return
    const told = Result.try(() => to(metadata))
    if (Result.isSuccess(told)) return
    this.cancel()
    this.onFailure(Effect.die(told.failure))
  }

  /** Asks for a further response. */
  protected read(): void {
    this.#call!.read()
  }

  /** Its caller does not want it any more. */
  cancel(): void {
    if (this.#over) return
    this.#finish("CANCELLED")
    this.#call?.cancel()
  }

  /** It has failed on our side, while the server may still be at it. */
  protected broken(error: DomainError, code: Code): Effect.Effect<never, DomainError> {
    const failure = this.failed(error, code, isLoss(error))
    this.#call?.cancel()
    return failure
  }

  /** It is not made at all, which says nothing of the target. */
  refused(error: GrpcError): Effect.Effect<never, GrpcError> {
    this.#finish(codeOf(error))
    return Effect.fail(error)
  }

  /** It has ended with success. */
  protected succeeded<A>(value: A): Effect.Effect<A, DomainError> {
    this.#finish("OK")
    const { breaker } = this.caller.pool
    return !this.isGuarded && breaker.isSuspicious() ? breaker.told(Effect.succeed(value)) : Effect.succeed(value)
  }

  /** It has ended without; `isLost`: which says that the target is in trouble. */
  failed(error: DomainError, code: Code, isLost: boolean): Effect.Effect<never, DomainError> {
    this.#finish(code)
    const { breaker } = this.caller.pool
    if (this.isGuarded || (isLoss(error) && !isLost) || !(isLost || breaker.isSuspicious())) return Effect.fail(error)
    return breaker.told(Effect.fail(error))
  }

  #finish(code: Code): void {
    if (this.#over) return
    this.#over = true
    this.#observation.end(code)
  }
}
