import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Cause from "effect/Cause"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as CircuitBreaker from "effect/persistence/CircuitBreaker"
import type { DomainError } from "../../Api.ts"
import type { GrpcSettings } from "../../Grpc.ts"
import { GrpcError } from "../../GrpcError.ts"

type Call<A> = Effect.Effect<A, DomainError>

/**
 * The circuit breaker of a target. As long as calls succeed they pass it by: it costs more than all the rest that a call
 * costs us. The first that is lost is told to it, and from then on every call goes through it, until one succeeds.
 */
export interface Breaker {
  /** Whether calls go through it. */
  readonly isSuspicious: () => boolean
  /** A whole call; in its place `refused` while the circuit is open. */
  readonly guard: <A>(call: Call<A>, refused: () => Call<never>) => Call<A>
  /** Tells it how a call ended that has passed it by. */
  readonly told: <A>(outcome: Call<A>) => Call<A>
}

/** Whether a call that failed so says that its target is in trouble: an answer says that it is not. */
export const isLoss = (error: DomainError): boolean =>
  error instanceof GrpcError &&
  (error.reason._tag === "Unavailable" ||
    error.reason._tag === "DeadlineExceeded" ||
    error.reason._tag === "OutcomeUnknown")

const classify = <A>(exit: Exit.Exit<A, DomainError>): CircuitBreaker.Outcome => {
  if (Exit.isSuccess(exit)) return CircuitBreaker.success
  const error = Cause.findErrorOption(exit.cause)
  if (Option.isNone(error)) return CircuitBreaker.ignored
  return isLoss(error.value) ? CircuitBreaker.failure() : CircuitBreaker.success
}

const isRejection = (
  error: DomainError | CircuitBreaker.CircuitBreakerError
): error is CircuitBreaker.CircuitBreakerError => error instanceof CircuitBreaker.CircuitBreakerError

const none: Breaker = { isSuspicious: () => false, guard: (call) => call, told: (outcome) => outcome }

/** How long an open circuit stays so at most. */
const longest = Duration.minutes(1)

/** One key: each target has a breaker of its own. */
const key = "target"

/** A closed breaker; one that never opens when `breakerFailures` is 0. */
export const make = ({ breakerFailures, breakerOpen }: GrpcSettings): Effect.Effect<Breaker, never, Scope.Scope> =>
  Effect.gen(function* () {
    if (breakerFailures === 0) return none
    const store = yield* Layer.build(CircuitBreaker.layerStoreMemory())
    const circuit = yield* CircuitBreaker.make({
      tripPolicy: CircuitBreaker.consecutive(breakerFailures),
      openDuration: Schedule.exponential(breakerOpen).pipe(Schedule.upTo({ duration: longest }))
    }).pipe(Effect.provide(store as Context.Context<CircuitBreaker.CircuitBreakerStore>))
    const isClosed = Effect.map(circuit.state(key), ({ _tag }) => _tag === "Closed").pipe(Effect.orDie)
    let isFailing = false
    let suspicious = false
    const judge = Effect.map(isClosed, (closed) => {
      suspicious = isFailing || !closed
    })

    const execute = <A>(call: Call<A>) =>
      Effect.ensuring(
        circuit.execute(call, {
          key,
          classify: (exit: Exit.Exit<A, DomainError>) => {
            const outcome = classify(exit)
            if (outcome._tag !== "Ignored") isFailing = outcome._tag === "Failure"
            return outcome
          }
        }),
        judge
      )

    return {
      isSuspicious: () => suspicious,
      guard: (call, refused) => Effect.catchIf(execute(call), isRejection, refused),
      // One that began before the circuit opened is not the one that tries it again.
      told: (outcome) =>
        Effect.flatMap(isClosed, (closed) =>
          closed ? Effect.catchIf(execute(outcome), isRejection, () => outcome) : outcome
        )
    }
  })
