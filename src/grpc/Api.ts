import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { Authenticator, Principal } from "./Authenticator.ts"
import type { Call, Metadata } from "./Call.ts"
import type { Code, GrpcError } from "./GrpcError.ts"
import type { AnyMiddleware, Middleware } from "./Middleware.ts"
import type { Resolver } from "./Resolver.ts"

// --- declared errors

/** How an error crosses the wire. */
export interface ErrorOptions<E> {
  /** The gRPC status that a caller without our classes sees. */
  readonly status: Exclude<Code, "OK">
  /** The text that it sees, without secrets; by default the tag. */
  readonly message?: (error: E) => string
}

/** An error that some method declares. */
export interface DomainError extends Error {
  readonly _tag: string
}

/** The class of an error that a method may declare. Made by {@link TaggedError}. */
export interface ErrorClass extends Schema.ConstraintCodec<DomainError, unknown> {
  readonly grpc: { readonly tag: string; readonly status: Exclude<Code, "OK"> }
}

/**
 * Defines an error that a method can declare: a `Schema.TaggedError` with a gRPC status. On the client it is the same
 * class again, with the same fields; any other caller sees the status and the message.
 *
 * - `tag`: unique among the errors of one method; callers match it
 * - `fields`: as for `Schema.TaggedError`; they leave the process, so no secrets
 *
 * ```ts
 * class PlayerNotFound extends Grpc.TaggedError<PlayerNotFound>()(
 *   "PlayerNotFound", { playerId: Schema.String }, { status: "NOT_FOUND" }) {}
 * ```
 */
export const TaggedError =
  <Self = never>(identifier?: string) =>
  <const Tag extends string, const Fields extends Schema.Struct.Fields>(
    tag: Tag,
    fields: Fields,
    options: ErrorOptions<Schema.TaggedStruct<Tag, Fields>["Type"]>
  ) => {
    const base = Schema.TaggedError<Self>(identifier)(tag, fields)
    const { status, message = () => tag } = options
    Object.defineProperty((base as unknown as { readonly prototype: object }).prototype, "message", {
      get(this: Schema.TaggedStruct<Tag, Fields>["Type"]) {
        return message(this)
      }
    })
    return Object.assign(base, { grpc: { tag, status } })
  }

// --- services

/** A method of any of the four kinds, as ts-proto generates it. */
export interface Method {
  readonly path: string
  readonly requestStream: boolean
  readonly responseStream: boolean
  readonly requestSerialize: (value: never) => Buffer
  readonly requestDeserialize: (bytes: Buffer) => unknown
  readonly responseSerialize: (value: never) => Buffer
  readonly responseDeserialize: (bytes: Buffer) => unknown
}

/** A service as ts-proto generates it with `outputServices=grpc-js`. */
export interface Definition {
  readonly [name: string]: Method
}

/** A message that a method takes. */
export type Request<M extends Method> = ReturnType<M["requestDeserialize"]>

/** A message that a method gives. */
export type Response<M extends Method> = ReturnType<M["responseDeserialize"]>

/**
 * How often a caller may call a method.
 *
 * - `limit`: calls in a window, 1 or more
 * - `window`: how long it is
 * - `by`: whose calls are counted together: those of a principal (in a public method of a peer's address), of a peer's
 *   address, or all
 */
export interface RateRule {
  readonly limit: number
  readonly window: Duration.Input
  readonly by: "principal" | "peer" | "all"
}

/**
 * The rules of a method.
 *
 * - `errors`: the errors that it declares; any other leaves as INTERNAL with an error id
 * - `idempotent`: calling it twice is like calling it once, so that a lost reply is safe to retry; false by default
 * - `public`: anybody may call it, and it has no Principal; false by default, so that it needs an Authenticator
 * - `request`: what a request must fit; its handler gets what it decodes to. Another is INVALID_ARGUMENT and names the
 *   field
 * - `rate`: in place of `grpc.rate_limit`
 */
export interface Rules {
  readonly errors?: ReadonlyArray<ErrorClass>
  readonly idempotent?: boolean
  readonly public?: boolean
  readonly request?: Schema.ConstraintCodec<unknown, unknown>
  readonly rate?: RateRule
}

/** A service with the rules of its methods. Made by {@link api}. */
export interface Api<D extends object, R extends object> {
  /** The full name, such as `game.GameService`. */
  readonly name: string
  /** The name under which its servers are registered, such as `game-service`. */
  readonly service: string
  readonly definition: D
  readonly rules: R
}

/** Any {@link Api}. */
export type AnyApi = Api<Definition, { readonly [name: string]: Rules }>

type RulesOf<A extends AnyApi, K> = K extends keyof A["rules"] ? A["rules"][K] : {}

/** The union of the errors that a method declares. */
export type Errors<A extends AnyApi, K> =
  RulesOf<A, K> extends { readonly errors: ReadonlyArray<infer E extends ErrorClass> } ? E["Type"] : never

type IsPublic<A extends AnyApi, K> = RulesOf<A, K> extends { readonly public: true } ? true : false

type Unknown<R, D> = { readonly [K in Exclude<keyof R, keyof D>]: never }

/** The schema of a request must take every request: what it encodes to has no fields that the message lacks. */
type Misfits<R, D extends Definition> = {
  readonly [K in keyof R & keyof D]: R[K] extends { readonly request: { readonly Encoded: infer I } }
    ? Request<D[K]> extends I
      ? unknown
      : { readonly request: Schema.ConstraintCodec<unknown, Request<D[K]>> }
    : unknown
}

/**
 * Declares, once for server and client, which errors and rules the methods of a service have.
 *
 * - `definition`: from src/gen
 * - `rules`: by method; a method without rules declares no errors, is not idempotent and not public
 * - `service`: the name under which its servers are registered; by default its package with `-service`, so that
 *   `game.GameService` is `game-service`
 */
export const api = <const D extends Definition, const R extends { readonly [K in keyof D]?: Rules }>(
  definition: D,
  rules: R & Unknown<R, D> & Misfits<R, D>,
  options: { readonly service?: string } = {}
): Api<D, R> => {
  const [first] = Object.values<Method>(definition)
  const name = first === undefined ? "" : first.path.split("/")[1]!
  const package_ = name.slice(0, Math.max(0, name.lastIndexOf(".")))
  return { name, service: options.service ?? `${package_.replaceAll(".", "-")}-service`, definition, rules }
}

// --- server

type Decoded<A extends AnyApi, K extends keyof A["definition"]> =
  RulesOf<A, K> extends { readonly request: { readonly Type: infer T } } ? T : Request<A["definition"][K]>

/**
 * The function that serves a method: one request or a Stream of them in, an Effect of one response or a Stream of them
 * out. A stream of requests ends when the client has sent all; when the client is gone, the handler is interrupted.
 */
export type Handler<A extends AnyApi, K extends keyof A["definition"], R = unknown> = (
  request: A["definition"][K]["requestStream"] extends true ? Stream.Stream<Decoded<A, K>> : Decoded<A, K>
) => A["definition"][K]["responseStream"] extends true
  ? Stream.Stream<Response<A["definition"][K]>, Errors<A, K>, R>
  : Effect.Effect<Response<A["definition"][K]>, Errors<A, K>, R>

/** The functions that serve an {@link Api}; what a handler needs is inferred. */
export type HandlersOf<A extends AnyApi> = { readonly [K in keyof A["definition"]]: Handler<A, K> }

type Needs<H> = H extends (request: never) => Effect.Effect<unknown, unknown, infer R>
  ? R
  : H extends (request: never) => Stream.Stream<unknown, unknown, infer R>
    ? R
    : never

/** What the functions of an {@link Api} need together, without what the server gives to every call. */
export type HandlerServices<A extends AnyApi, H> = {
  [K in keyof H]: Exclude<Needs<H[K]>, Call | Principal> | (IsPublic<A, K> extends true ? never : Authenticator)
}[keyof H]

/** The public methods whose handlers ask for Principal: there is no caller to know in them. */
type PrincipalInPublic<A extends AnyApi, H> = {
  [K in keyof H]: IsPublic<A, K> extends true
    ? unknown extends Needs<H[K]>
      ? never
      : Principal extends Needs<H[K]>
        ? K
        : never
    : never
}[keyof H]

/** A compiler that finds such methods names them, and shows this text. */
type NoPrincipalIn<Methods> = [Methods] extends [never]
  ? unknown
  : { readonly "a public method has no Principal": Methods }

/** The names of the public methods of an {@link Api}. */
export type PublicMethods<A extends AnyApi> = {
  [K in keyof A["definition"] & string]: IsPublic<A, K> extends true ? K : never
}[keyof A["definition"] & string]

/**
 * A service that can be served. `E` and `R` are of building it and `R` of its handlers too, `K` are the names of its
 * methods and `Public` those of its public ones. Made by {@link handlers}.
 */
export interface Handlers<out E, out R, in K extends string = never, in Public extends string = never> {
  /** In the type only. */
  readonly "~xdooria/grpc/Public"?: (method: Public) => void
  readonly api: AnyApi
  readonly build: Effect.Effect<HandlersOf<AnyApi>, E, R>
  readonly middleware: ReadonlyArray<Use<K>>
}

/** A middleware as {@link use} put it around methods; around all when `methods` is not there. */
export interface Use<in K extends string> {
  readonly middleware: AnyMiddleware
  readonly covers: (method: K) => boolean
}

/**
 * Implements a service.
 *
 * - `build`: gives one function for each method; it runs once, when the server starts, and what it acquires is released
 *   after the last accepted call has ended. A function that fails with an error that its method does not declare does
 *   not compile, nor does one of a public method that asks for Principal
 */
export const handlers = <A extends AnyApi, H extends HandlersOf<A>, E, R>(
  // A condition on H in the type of `build` would cost its functions the types of their arguments.
  api: A & NoPrincipalIn<PrincipalInPublic<A, H>>,
  build: Effect.Effect<H & Unknown<H, A["definition"]>, E, R>
): Handlers<E, Exclude<R, Scope.Scope> | HandlerServices<A, H>, keyof A["definition"] & string, PublicMethods<A>> => ({
  api,
  build: build as unknown as Effect.Effect<HandlersOf<AnyApi>, E, Exclude<R, Scope.Scope> | HandlerServices<A, H>>,
  middleware: []
})

/**
 * Puts a middleware around the handlers of a service, inside of the standard chain and outside of what was put there
 * before.
 *
 * - `middleware`: one that asks for Principal does not compile around public methods
 * - `methods`: those that it goes around; all by default
 */
export const use = <E, R, K extends string, Public extends string, P, R2, const M extends K = K>(
  handlers: Handlers<E, R, K, Public>,
  middleware: Middleware<P, R2> & NoPrincipalIn<Principal extends R2 ? Extract<M, Public> : never>,
  options: { readonly methods?: ReadonlyArray<M> } = {}
): Handlers<E, Exclude<R, P> | Exclude<R2, Call | Principal>, K, Public> => {
  const { methods } = options
  const covers = (method: K) => methods === undefined || methods.some((name) => name === method)
  return {
    ...handlers,
    middleware: [...handlers.middleware, { middleware: middleware as unknown as AnyMiddleware, covers }]
  } as unknown as Handlers<E, Exclude<R, P> | Exclude<R2, Call | Principal>, K, Public>
}

// --- client

/** How a client spreads its calls over the endpoints of its target. */
export type Balancing = "round_robin" | "pick_first" | "least_outstanding" | "consistent_hash"

/**
 * How a client reaches its servers.
 *
 * - `target`: an address such as `127.0.0.1:50051` or `dns:///game:50051`, several separated by commas, or a
 *   {@link Resolver}; by default `grpc.target`
 * - `balancing`: round_robin takes them in turn, pick_first stays with the first that works, least_outstanding takes the
 *   one of two random ones that has fewer calls open, consistent_hash the one that the `key` of a call falls to; by
 *   default `grpc.balancing`
 * - `onlyServing`: calls only endpoints whose grpc.health.v1 says SERVING for this service (or that have no health
 *   service); false by default
 * - `identity`: `carry` sends the `authorization` of the call that is being served along, so that its caller is the caller
 *   there too: only to servers that may know its token; nobody's by default
 */
export interface ClientOptions {
  readonly target?: string | Resolver
  readonly balancing?: Balancing
  readonly onlyServing?: boolean
  readonly identity?: "carry"
}

/**
 * How one call is made.
 *
 * - `deadline`: how long it may take, at most; by default `grpc.deadline`, and for a method with a stream of responses
 *   without end. The deadline of the call that is being served, if there is one, holds as well
 * - `metadata`: sent with it, lower-case names; bytes for a name in `-bin`, text for any other
 * - `key`: what consistent_hash goes by, such as a player's id; calls without one are spread
 * - `waitForReady`: waits for an endpoint until the deadline instead of failing with Unavailable when there is none; by
 *   default `grpc.wait_for_ready`
 * - `onHeaders`, `onTrailers`: called with the server's metadata, before the first response and after the last
 */
export interface CallOptions {
  readonly deadline?: Duration.Input
  readonly metadata?: Readonly<Record<string, string | Buffer>>
  readonly key?: string
  readonly waitForReady?: boolean
  readonly onHeaders?: (metadata: Metadata) => void
  readonly onTrailers?: (metadata: Metadata) => void
}

/** A method of an {@link Api} as a client calls it; a stream of requests may fail and need something, like every Stream. */
export type ClientMethod<
  A extends AnyApi,
  K extends keyof A["definition"]
> = A["definition"][K]["requestStream"] extends true
  ? <E = never, R = never>(
      requests: Stream.Stream<Request<A["definition"][K]>, E, R>,
      options?: CallOptions
    ) => Reply<A, K, E, R>
  : (request: Request<A["definition"][K]>, options?: CallOptions) => Reply<A, K, never, never>

type Reply<A extends AnyApi, K extends keyof A["definition"], E, R> = A["definition"][K]["responseStream"] extends true
  ? Stream.Stream<Response<A["definition"][K]>, Errors<A, K> | GrpcError | E, R>
  : Effect.Effect<Response<A["definition"][K]>, Errors<A, K> | GrpcError | E, R>

/** The methods of an {@link Api} as a client calls them. */
export type Client<A extends AnyApi> = { readonly [K in keyof A["definition"]]: ClientMethod<A, K> }
