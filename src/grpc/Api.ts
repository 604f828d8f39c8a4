import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Code, GrpcError } from "./GrpcError.ts"

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

/** A method as ts-proto generates it, with one request and one response. */
export interface Method {
  readonly path: string
  readonly requestStream: false
  readonly responseStream: false
  readonly requestSerialize: (value: never) => Buffer
  readonly requestDeserialize: (bytes: Buffer) => unknown
  readonly responseSerialize: (value: never) => Buffer
  readonly responseDeserialize: (bytes: Buffer) => unknown
}

/** A service as ts-proto generates it with `outputServices=grpc-js`. A service with streams does not fit, so far. */
export interface Definition {
  readonly [name: string]: Method
}

/** What a method takes. */
export type Request<M extends Method> = ReturnType<M["requestDeserialize"]>

/** What a method gives. */
export type Response<M extends Method> = ReturnType<M["responseDeserialize"]>

/**
 * The rules of a method.
 *
 * - `errors`: the errors that it declares; any other leaves as INTERNAL with an error id
 * - `idempotent`: calling it twice is like calling it once, so that a lost reply is safe to retry; false by default
 */
export interface Rules {
  readonly errors?: ReadonlyArray<ErrorClass>
  readonly idempotent?: boolean
}

/** A service with the rules of its methods. Made by {@link api}. */
export interface Api<D extends object, R extends object> {
  /** The full name, such as `game.GameService`. */
  readonly name: string
  readonly definition: D
  readonly rules: R
}

/** Any {@link Api}. */
export type AnyApi = Api<Definition, { readonly [name: string]: Rules }>

/** The union of the errors that a method declares. */
export type Errors<A extends AnyApi, K> = K extends keyof A["rules"]
  ? A["rules"][K] extends { readonly errors: ReadonlyArray<infer E extends ErrorClass> }
    ? E["Type"]
    : never
  : never

type Unknown<R, D> = { readonly [K in Exclude<keyof R, keyof D>]: never }

/**
 * Declares, once for server and client, which errors the methods of a service have.
 *
 * - `definition`: from src/gen
 * - `rules`: by method; a method without rules declares no errors and is not idempotent
 */
export const api = <const D extends Definition, const R extends { readonly [K in keyof D]?: Rules }>(
  definition: D,
  rules: R & Unknown<R, D>
): Api<D, R> => {
  const [first] = Object.values<Method>(definition)
  return { name: first === undefined ? "" : first.path.split("/")[1]!, definition, rules }
}

// --- server

/** The functions that serve an {@link Api}; what a handler needs is inferred. */
export type HandlersOf<A extends AnyApi> = {
  readonly [K in keyof A["definition"]]: (
    request: Request<A["definition"][K]>
  ) => Effect.Effect<Response<A["definition"][K]>, Errors<A, K>, unknown>
}

/** What the functions of an {@link Api} need together. */
export type HandlerServices<H> = {
  [K in keyof H]: H[K] extends (request: never) => Effect.Effect<unknown, unknown, infer R> ? R : never
}[keyof H]

/** A service that can be served. `E` and `R` are of building it and `R` of its handlers too. Made by {@link handlers}. */
export interface Handlers<E, R> {
  readonly api: AnyApi
  readonly build: Effect.Effect<HandlersOf<AnyApi>, E, R>
}

/**
 * Implements a service.
 *
 * - `build`: gives one function for each method; it runs once, when the server starts, and what it acquires is released
 *   after the last accepted call has ended. A function that fails with an error that its method does not declare does
 *   not compile
 */
export const handlers = <A extends AnyApi, H extends HandlersOf<A>, E, R>(
  api: A,
  build: Effect.Effect<H & Unknown<H, A["definition"]>, E, R>
): Handlers<E, Exclude<R, Scope.Scope> | HandlerServices<H>> => ({
  api,
  build: build as unknown as Effect.Effect<HandlersOf<AnyApi>, E, Exclude<R, Scope.Scope> | HandlerServices<H>>
})

// --- client

/**
 * How a client reaches its server.
 *
 * - `target`: the address, such as `127.0.0.1:50051` or `dns:///game:50051`; by default `grpc.target`
 */
export interface ClientOptions {
  readonly target?: string
}

/**
 * How one call is made.
 *
 * - `deadline`: how long it may take, at most; by default `grpc.deadline`
 * - `metadata`: sent with it, lower-case names
 */
export interface CallOptions {
  readonly deadline?: Duration.Input
  readonly metadata?: Readonly<Record<string, string>>
}

/** The methods of an {@link Api} as a client calls them. */
export type Client<A extends AnyApi> = {
  readonly [K in keyof A["definition"]]: (
    request: Request<A["definition"][K]>,
    options?: CallOptions
  ) => Effect.Effect<Response<A["definition"][K]>, Errors<A, K> | GrpcError>
}
