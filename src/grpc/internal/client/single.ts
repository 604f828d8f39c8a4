import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Stream from "effect/Stream"
import type { CallOptions, DomainError } from "../../Api.ts"
import { GrpcError, Unavailable } from "../../GrpcError.ts"
import { type Caller, Invocation } from "./invocation.ts"
import { encode, lostResponse, type Remote } from "./remote.ts"
import { streamed, whole } from "./requests.ts"

const ignore = (): void => {}

/** A call with one response. */
class Single extends Invocation {
  #resume: (effect: Effect.Effect<unknown, DomainError>) => void = ignore
  #response: Buffer | undefined

  readonly #cancelled = Effect.sync(() => this.cancel())

  readonly #try: Effect.Effect<unknown, DomainError> = Effect.callback((resume) => {
    this.#resume = resume
    this.#response = undefined
    this.open()
    return this.#cancelled
  })

  #tries(): Effect.Effect<unknown, DomainError> {
    return this.isReady ? this.#try : Effect.andThen(this.ready, this.#try)
  }

  /** The whole call: past the circuit breaker, as long as that is not suspicious. */
  get run(): Effect.Effect<unknown, DomainError> {
    const { refusal } = this
    if (refusal !== undefined) return this.refused(refusal)
    const { breaker } = this.caller.pool
    if (!breaker.isSuspicious() || this.waitsForReady) return this.#tries()
    this.isGuarded = true
    return breaker.guard(
      Effect.suspend(() => this.#tries()),
      () => {
        const details = "too many calls in a row were lost: the target is left alone for a while"
        return this.refused(new GrpcError({ reason: new Unavailable({ method: this.remote.name, details }) }))
      }
    )
  }

  onMessage(message: Buffer): void {
    if (this.#response !== undefined) return this.#resume(this.#lost("more than one response"))
    this.#response = message
    // A second one would otherwise keep the status from coming.
    this.read()
  }

  #lost(details: string): Effect.Effect<never, DomainError> {
    return this.broken(lostResponse(this.remote, details), "INTERNAL")
  }

  protected onOk(): void {
    const response = this.#response
    if (response === undefined) return this.#resume(this.#lost("no response"))
    const decoded = Result.try(() => this.remote.decode(response))
    this.#resume(
      Result.isSuccess(decoded) ? this.succeeded(decoded.success) : this.#lost("the response does not decode")
    )
  }

  protected onFailure(next: Effect.Effect<void, DomainError>): void {
    this.#resume(Effect.andThen(next, this.#try))
  }
}

/** Calls a method with one request and one response. */
export const unary =
  (caller: Caller, remote: Remote) =>
  (request: unknown, options: CallOptions = {}): Effect.Effect<unknown, DomainError> =>
    Effect.withFiber((fiber) => {
      const encoded = encode(remote, request, caller.maxMessageSize)
      const call = new Single(caller, remote, options, fiber.context, whole(encoded.bytes!))
      return encoded.error === undefined ? call.run : call.refused(encoded.error)
    })

/** Calls a method with a stream of requests and one response; the requests end early when the response comes. */
export const sum =
  (caller: Caller, remote: Remote) =>
  <E, R>(
    requests: Stream.Stream<unknown, E, R>,
    options: CallOptions = {}
  ): Effect.Effect<unknown, DomainError | E, R> =>
    Effect.withFiber((fiber) => {
      const { send, sent } = streamed(remote, requests, caller.maxMessageSize)
      const call = new Single(caller, remote, options, fiber.context, send)
      // A request that fails when the server has answered is too late.
      const failed = Effect.catchCause(sent, (cause) => (call.isOver ? Effect.never : Effect.failCause(cause)))
      return Effect.raceFirst(call.run, Effect.andThen(failed, Effect.never))
    })
