import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type { DomainError, Method, RateRule, Rules } from "../Api.ts"
import { Authenticator, NotAuthenticated, Principal } from "../Authenticator.ts"
import type { Call } from "../Call.ts"
import type { Service } from "../GrpcServer.ts"
import type { AnyMiddleware, Served } from "../Middleware.ts"
import { type Failure, failureOf, refusal, Refused } from "./failure.ts"
import * as Validate from "./validate.ts"

type AnyCall = Call["Service"]

/** What a route needs of the call that it serves. */
export interface Exchange extends AnyCall {
  /** The request, of a method with one. */
  readonly request: Buffer
  /** The requests, of a method with a stream of them. */
  readonly requests: Stream.Stream<unknown>
  /** Sends responses, of a method with a stream of them; waits while the peer has no room. */
  readonly sendAll: (responses: ReadonlyArray<unknown>) => Effect.Effect<void>
}

/** A method with everything about it that does not change from call to call. */
export interface Route {
  /** Such as `/game.GameService/GetPlayer`. */
  readonly path: string
  readonly requestStream: boolean
  readonly responseStream: boolean
  readonly isPublic: boolean
  /** A service of our own: its calls are neither limited nor told in the log when they succeed. */
  readonly isOurs: boolean
  readonly rate: RateRule | undefined
  /** A request that fits, or why it does not. */
  readonly decode: (bytes: Buffer) => unknown
  readonly encode: (response: unknown) => Buffer
  /**
   * All that its fiber does: knows the caller, decodes, validates, then middleware and handler. Gives the encoded
   * response, or nothing of interest when there is a stream of them. What it throws is a defect of its fiber.
   */
  readonly run: (exchange: Exchange) => Effect.Effect<unknown, unknown>
  /** How a fiber's cause leaves: a declared error as itself, anything else as INTERNAL with an id and no text. */
  readonly failure: (cause: Cause.Cause<unknown>) => Failure
}

/** Only the types say what a handler gives. A promise is waited for, so that its rejection is not unhandled. */
const wrongKind = (what: string, value: unknown): Effect.Effect<never> =>
  Effect.andThen(
    Effect.promise(() => Promise.resolve(value)),
    Effect.die(new TypeError(`a handler must give ${what}`))
  )

type Handler = (request: unknown) => unknown

/** The response of a handler, encoded. */
const runOne = (handler: Handler, encode: (response: unknown) => Buffer) => {
  const run = (request: unknown): Effect.Effect<unknown, unknown> => {
    const effect = handler(request)
    return Effect.isEffect(effect)
      ? (effect as Effect.Effect<unknown, unknown>)
      : wrongKind(Stream.isStream(effect) ? "an Effect, not a Stream" : "an Effect", effect)
  }
  return (request: unknown): Effect.Effect<unknown, unknown> =>
    Effect.map(
      Effect.suspend(() => run(request)),
      encode
    )
}

/** What the fiber of a method with a stream of responses gives. */
const sent = Symbol()

/** Sends the responses of a handler as they come. */
const runMany =
  (handler: Handler) =>
  (request: unknown, exchange: Exchange): Effect.Effect<unknown, unknown> =>
    Effect.suspend(() => {
      const stream = handler(request)
      return Stream.isStream(stream)
        ? Effect.as(
            Stream.runForEachArray(stream as Stream.Stream<unknown, unknown>, (all) => exchange.sendAll(all)),
            sent
          )
        : wrongKind("a Stream", stream)
    })

type Run = (request: unknown, exchange: Exchange) => Effect.Effect<unknown, unknown>

/** Puts a middleware around the handler. */
const around =
  (run: Run, { wrap }: AnyMiddleware): Run =>
  (request, exchange) =>
    Effect.suspend(() => wrap(run(request, exchange) as Effect.Effect<Served, DomainError>))

/** Only the types say that a middleware passes on what the handler gave. */
const checked =
  (run: Run): Run =>
  (request, exchange) =>
    Effect.map(run(request, exchange), (served) => {
      if (served !== sent && !Buffer.isBuffer(served)) {
        throw new TypeError("a middleware must give what the handler gave")
      }
      return served
    })

const unauthenticated = "the caller is not authenticated"

const notAuthenticated = (error: NotAuthenticated): unknown =>
  error instanceof NotAuthenticated
    ? new Refused({ ...refusal("UNAUTHENTICATED", unauthenticated), fields: { error: error.problem } })
    : error

const decoder = (domain: string, method: Method, { request }: Rules): ((bytes: Buffer) => unknown) => {
  const validate = request === undefined ? undefined : Validate.make(domain, request)
  return (bytes) => {
    const decoded = Result.try(() => method.requestDeserialize(bytes))
    if (Result.isFailure(decoded)) return new Refused(refusal("INTERNAL", "the request does not decode"))
    return validate === undefined ? decoded.success : validate(decoded.success)
  }
}

/**
 * The routes of a service. Its callers are known by the Authenticator of `context`, which methods that are not public
 * need; error ids are drawn from its Random.
 */
export const make = (
  { api, handlers, middleware }: Service,
  context: Context.Context<never>,
  isOurs = false
): ReadonlyArray<Route> => {
  const authenticator = Context.getOrUndefined(context as Context.Context<Authenticator>, Authenticator)
  return Object.entries(api.definition).map(([name, method]): Route => {
    const rules = api.rules[name] ?? {}
    const { path, requestStream, responseStream } = method
    const isPublic = rules.public === true
    const around_ = middleware.filter(({ covers }) => covers(name as never)).map(({ middleware }) => middleware)
    const handler = handlers[name] as unknown as Handler
    const encode = method.responseSerialize as (response: unknown) => Buffer
    const decode = decoder(api.name, method, rules)
    const handle: Run = responseStream ? runMany(handler) : runOne(handler, encode)
    const run = around_.length === 0 ? handle : checked(around_.reduce(around, handle))
    const serve = (exchange: Exchange): Effect.Effect<unknown, unknown> => {
      if (requestStream) return run(exchange.requests, exchange)
      const request = decode(exchange.request)
      return request instanceof Refused ? Effect.fail(request) : run(request, exchange)
    }
    const errors = [...(rules.errors ?? []), ...around_.flatMap(({ errors }) => errors)]
    return {
      path,
      requestStream,
      responseStream,
      isPublic,
      isOurs,
      rate: rules.rate,
      decode,
      encode,
      run:
        isPublic || authenticator === undefined
          ? (exchange) => Effect.suspend(() => serve(exchange))
          : (exchange) =>
              Effect.flatMap(Effect.mapError(authenticator.authenticate(exchange), notAuthenticated), (principal) =>
                Effect.provideService(serve(exchange), Principal, principal)
              ),
      failure: failureOf(api.name, errors, Context.get(context, Random.Random))
    }
  })
}
