import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type { DomainError, ErrorClass, Method, RateRule, Rules } from "../Api.ts"
import { Authenticator, NotAuthenticated, Principal } from "../Authenticator.ts"
import type { Call } from "../Call.ts"
import type { Service } from "../GrpcServer.ts"
import type { AnyMiddleware, Served } from "../Middleware.ts"
import { type Failure, failureOf, refusal, Refused } from "./failure.ts"
import * as Rate from "./rate.ts"
import * as Validate from "./validate.ts"

type AnyCall = Call["Service"]

/** What the fiber of a call may fail with; only the types say that a handler's error is a declared one. */
export type Failing = DomainError | Refused

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
  /** A service of our own: its calls are not limited, and the log tells only of bugs in them. */
  readonly isOurs: boolean
  /** The classes of errors that it may leave with: those of its method, and of what goes around it. */
  readonly errors: ReadonlyArray<ErrorClass>
  /** A request that fits, or why it does not. */
  readonly decode: (bytes: Buffer) => unknown
  readonly encode: (response: unknown) => Buffer
  /**
   * All that its fiber does: knows the caller, and how often it calls, decodes, validates, then middleware and handler. Gives the encoded
   * response, or nothing of interest when there is a stream of them. What it throws is a defect of its fiber.
   */
  readonly run: (exchange: Exchange) => Effect.Effect<unknown, Failing>
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
  const run = (request: unknown): Effect.Effect<unknown, Failing> => {
    const effect = handler(request) as Effect.Effect<unknown, Failing>
    if (Effect.isEffect(effect)) return effect
    return wrongKind(Stream.isStream(effect) ? "an Effect, not a Stream" : "an Effect", effect)
  }
  return (request: unknown): Effect.Effect<unknown, Failing> =>
    Effect.map(
      Effect.suspend(() => run(request)),
      encode
    )
}

/** What the fiber of a method with a stream of responses gives. */
const sent = Symbol()

/** Sends responses as they come. It holds nothing of their request, which they may outlast. */
const sendEach = (stream: Stream.Stream<unknown, DomainError>, exchange: Exchange): Effect.Effect<unknown, Failing> =>
  Effect.as(
    Stream.runForEachArray(stream, (all) => exchange.sendAll(all)),
    sent
  )

const runMany =
  (handler: Handler) =>
  (request: unknown, exchange: Exchange): Effect.Effect<unknown, Failing> =>
    Effect.suspend(() => {
      const stream = handler(request)
      return Stream.isStream(stream)
        ? sendEach(stream as Stream.Stream<unknown, DomainError>, exchange)
        : wrongKind("a Stream", stream)
    })

type Run = (request: unknown, exchange: Exchange) => Effect.Effect<unknown, Failing>

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

const notAuthenticated = (error: NotAuthenticated): Failing =>
  error instanceof NotAuthenticated
    ? new Refused({ ...refusal("UNAUTHENTICATED", unauthenticated), fields: { error: error.problem } })
    : error

const decoder = (domain: string, method: Method, { request }: Rules): ((bytes: Buffer) => unknown) => {
  const validate = request === undefined ? undefined : Validate.make(domain, request)
  return (bytes) => {
    const decoded = Result.try(() => method.requestDeserialize(bytes))
    if (Result.isFailure(decoded)) return new Refused(refusal("INTERNAL", "the request does not decode"))
    return validate === undefined ? decoded.success : validate(decoded.success, bytes.length)
  }
}

const limited = new Refused(refusal("RESOURCE_EXHAUSTED", "rate limit exceeded"))

type Admit = (exchange: Exchange, principal?: Principal["Service"]) => Effect.Effect<unknown, Failing>

/** Refuses callers that call too often. Without a rule of its own a method goes by the one that holds for each principal. */
const limit = (
  name: string,
  rule: RateRule,
  context: Context.Context<never>,
  serve: (exchange: Exchange) => Effect.Effect<unknown, Failing>
): Admit => {
  const rate = Rate.make(name, rule, context)
  const callerOf = ({ peer }: Exchange, principal?: Principal["Service"]): string => {
    if (rule.by === "all") return ""
    return rule.by === "principal" && principal !== undefined ? principal.playerId : peer.address
  }
  return (exchange, principal) => {
    const may = rate.check(callerOf(exchange, principal))
    if (typeof may === "boolean") return may ? serve(exchange) : Effect.fail(limited)
    return Effect.flatMap(may, (may) => (may ? serve(exchange) : Effect.fail(limited)))
  }
}

const isKnown = <A, E>(effect: Effect.Effect<A, E>): effect is Exit.Success<A, E> =>
  Exit.isExit(effect) && Exit.isSuccess(effect)

/** Knows the caller first, and puts it into the context of the fiber, which is the call's alone. */
const authenticated =
  ({ authenticate }: Authenticator["Service"], admit: Admit): Admit =>
  (exchange) =>
    Effect.withFiber((fiber) => {
      const admitted = (principal: Principal["Service"]) => {
        fiber.setContext(Context.add(fiber.context, Principal, principal))
        return admit(exchange, principal)
      }
      const known = authenticate(exchange)
      // An authenticator that remembers knows at once, which needs no further step.
      return isKnown(known) ? admitted(known.value) : Effect.flatMap(Effect.mapError(known, notAuthenticated), admitted)
    })

/** What the routes of a server share. */
export interface Shared {
  /** With the Authenticator, which methods that are not public need, and with Random, which draws error ids. */
  readonly context: Context.Context<never>
  /** Calls of one principal to one method in a second; 0 for any. */
  readonly rateLimit: number
}

/** The routes of a service; `isOurs` as in {@link Route}. */
export const make = (
  { api, handlers, middleware }: Service,
  { context, rateLimit }: Shared,
  isOurs = false
): ReadonlyArray<Route> => {
  const authenticator = Context.getOrUndefined(context as Context.Context<Authenticator>, Authenticator)
  const byPrincipal: RateRule | undefined =
    rateLimit === 0 ? undefined : { limit: rateLimit, window: "1 second", by: "principal" }
  return Object.entries(api.definition).map(([name, method]): Route => {
    const rules = api.rules[name] ?? {}
    const { path, requestStream, responseStream } = method
    const isPublic = rules.public === true
    const covering = middleware.filter(({ covers }) => covers(name as never)).map(({ middleware }) => middleware)
    const handler = handlers[name] as unknown as Handler
    const encode = method.responseSerialize as (response: unknown) => Buffer
    const decode = decoder(api.name, method, rules)
    const handle: Run = responseStream ? runMany(handler) : runOne(handler, encode)
    const run = covering.length === 0 ? handle : checked(covering.reduce(around, handle))
    const serve = (exchange: Exchange): Effect.Effect<unknown, Failing> => {
      if (requestStream) return run(exchange.requests, exchange)
      const request = decode(exchange.request)
      return request instanceof Refused ? Effect.fail(request) : run(request, exchange)
    }
    const rule = rules.rate ?? (isPublic ? undefined : byPrincipal)
    const admit = rule === undefined ? serve : limit(path.slice(1), rule, context, serve)
    const errors = [...(rules.errors ?? []), ...covering.flatMap(({ errors }) => errors)]
    return {
      path,
      requestStream,
      responseStream,
      isPublic,
      isOurs,
      errors,
      decode,
      encode,
      run:
        isPublic || authenticator === undefined
          ? (exchange) => Effect.suspend(() => admit(exchange))
          : authenticated(authenticator, admit),
      failure: failureOf(api.name, errors, Context.get(context, Random.Random))
    }
  })
}
