import * as Cause from "effect/Cause"
import * as Channel from "effect/Channel"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { NonEmptyReadonlyArray } from "effect/Array"
import type { CallOptions, DomainError } from "../../Api.ts"
import { type Caller, Invocation } from "./invocation.ts"
import { encode, lostResponse, type Remote } from "./remote.ts"
import { streamed, whole } from "./requests.ts"

/** What is read ahead of a slow reader, in bytes. The transport holds a window beside it. */
const readAhead = 64 * 1024

/** What a response takes beside its bytes, about. */
const overhead = 64

type Pulled<E> = Effect.Effect<NonEmptyReadonlyArray<unknown>, E | Cause.Done>

/** A call with a stream of responses. */
class Streaming<E> extends Invocation {
  #resume: ((pulled: Pulled<DomainError | E>) => void) | undefined
  #responses: Array<unknown> = []
  #held = 0
  /** A response was asked for; the first one is with the try. */
  #isReading = true
  /** What comes behind the responses that are held. */
  #next: Pulled<DomainError | E> | undefined

  /** Begins. */
  readonly start: Effect.Effect<void, DomainError> = Effect.suspend(() => {
    const { refusal } = this
    if (refusal !== undefined) return this.refused(refusal)
    return this.isReady ? this.#try : Effect.andThen(this.ready, this.#try)
  })

  readonly #try: Effect.Effect<void> = Effect.sync(() => this.open())

  /** The responses that there are, as soon as there is one. */
  readonly pull: Pulled<DomainError | E> = Effect.suspend(() => {
    if (this.#responses.length > 0) return Effect.succeed(this.#take())
    if (this.#next !== undefined) {
      const next = this.#next
      this.#next = undefined
      return next
    }
    return Effect.callback((resume) => {
      this.#resume = resume
    })
  })

  #take(): NonEmptyReadonlyArray<unknown> {
    const responses = this.#responses
    this.#responses = []
    this.#held = 0
    this.#read()
    return responses as unknown as NonEmptyReadonlyArray<unknown>
  }

  #read(): void {
    if (this.#isReading || this.#held >= readAhead) return
    this.#isReading = true
    this.read()
  }

  onMessage(message: Buffer): void {
    this.isWhole = false
    this.#isReading = false
    const decoded = Result.try(() => this.remote.decode(message))
    if (Result.isFailure(decoded)) {
      return this.#continue(this.broken(lostResponse(this.remote, "a response does not decode"), "INTERNAL"))
    }
    this.#responses.push(decoded.success)
    this.#held += message.length + overhead
    this.#read()
    const resume = this.#resume
    if (resume === undefined) return
    this.#resume = undefined
    resume(Effect.succeed(this.#take()))
  }

  protected onOk(): void {
    this.#continue(Effect.andThen(this.succeeded(undefined), Cause.done()))
  }

  protected onFailure(next: Effect.Effect<void, DomainError>): void {
    this.#continue(Effect.andThen(next, Effect.andThen(this.#try, this.pull)))
  }

  /** Its requests have failed: too late, when the server has answered. */
  fail(cause: Cause.Cause<DomainError | E>): void {
    if (this.isOver) return
    this.cancel()
    this.#continue(Effect.failCause(cause))
  }

  #continue(next: Pulled<DomainError | E>): void {
    const resume = this.#resume
    if (resume === undefined) {
      this.#next = next
    } else {
      this.#resume = undefined
      resume(next)
    }
  }
}

/** Runs a call in the scope of its stream; what is not read of it when that closes is given up. */
const streamOf = <E, R>(
  open: (context: Context.Context<never>, scope: Scope.Scope) => Effect.Effect<Streaming<E>, DomainError, R>
): Stream.Stream<unknown, DomainError | E, R> =>
  Stream.fromChannel(
    Channel.fromTransform((_, scope) =>
      Effect.withFiber((fiber) =>
        Effect.flatMap(open(fiber.context, scope), (call) =>
          Effect.andThen(
            Scope.addFinalizer(
              scope,
              Effect.sync(() => call.cancel())
            ),
            Effect.as(call.start, call.pull)
          )
        )
      )
    )
  )

/** Calls a method with one request and a stream of responses. */
export const watch =
  (caller: Caller, remote: Remote) =>
  (request: unknown, options: CallOptions = {}): Stream.Stream<unknown, DomainError> =>
    streamOf<never, never>((context) => {
      const { bytes, error } = encode(remote, request, caller.maxMessageSize)
      const call = new Streaming<never>(caller, remote, options, context, whole(bytes!))
      return error === undefined ? Effect.succeed(call) : call.refused(error)
    })

/** Calls a method with streams both ways. Its requests end early when its responses end. */
export const talk =
  (caller: Caller, remote: Remote) =>
  <E, R>(
    requests: Stream.Stream<unknown, E, R>,
    options: CallOptions = {}
  ): Stream.Stream<unknown, DomainError | E, R> =>
    streamOf<E, R>((context, scope) => {
      const { send, sent } = streamed(remote, requests, caller.maxMessageSize)
      const call = new Streaming<E>(caller, remote, options, context, send)
      // An interruption is that of the scope.
      const told = Effect.catchCause(sent, (cause) =>
        Effect.sync(() => (Cause.hasInterruptsOnly(cause) ? undefined : call.fail(cause)))
      )
      return Effect.as(Effect.forkIn(told, scope), call)
    })
