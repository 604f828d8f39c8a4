import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type {
  AnyApi,
  CallOptions,
  ClientOptions,
  Definition,
  DomainError,
  Handlers,
  HandlersOf,
  Method
} from "./Api.ts"
import type { PublicMethods } from "./Api.ts"
import { type Authenticator, Principal } from "./Authenticator.ts"
import { Call, type Metadata } from "./Call.ts"
import { GrpcClient } from "./GrpcClient.ts"
import { type Code, codes, type GrpcError } from "./GrpcError.ts"
import { detailsKey, statusOf } from "./internal/details.ts"
import { type Failure, refusal, Refused } from "./internal/failure.ts"
import { isEntry } from "./internal/metadata.ts"
import { forwardedFor } from "./internal/peer.ts"
import * as Traceparent from "./internal/traceparent.ts"

const same = (bytes: Buffer): Buffer => bytes

/** The methods of a service without its messages: what comes in goes out. */
const unread = (definition: Definition): Definition =>
  Object.fromEntries(
    Object.entries<Method>(definition).map(([key, method]) => [
      key,
      {
        ...method,
        requestSerialize: same,
        requestDeserialize: same,
        responseSerialize: same,
        responseDeserialize: same
      }
    ])
  )

// Each side of a connection says these for itself.
const own = new Set([Traceparent.key, forwardedFor, "user-agent"])

/** What a call, or its answer, says beyond the protocol. */
const entriesOf = (metadata: Metadata): Record<string, string | Buffer> => {
  const entries: Record<string, string | Buffer> = {}
  const all = metadata.toJSON()
  for (const name in all) {
    const [value] = all[name]!
    if (value !== undefined && !own.has(name) && isEntry(name, value)) entries[name] = value
  }
  return entries
}

// What was not answered: it tells nobody of the servers behind this one.
const unavailable = refusal("UNAVAILABLE", "the service is not available")
const late = refusal("DEADLINE_EXCEEDED", "deadline exceeded")

const answered = (code: Code, details: string): Failure => ({ code, message: details, level: "Info" })

const failureOf = ({ reason }: GrpcError): Failure => {
  switch (reason._tag) {
    case "DeadlineExceeded":
      return late
    case "OutcomeUnknown":
      return reason.code === "DEADLINE_EXCEEDED" ? late : unavailable
    case "ResourceExhausted":
      return answered("RESOURCE_EXHAUSTED", reason.details)
    case "Unimplemented":
      return answered("UNIMPLEMENTED", reason.details)
    case "InvalidArgument":
      return answered("INVALID_ARGUMENT", reason.details)
    case "Unauthenticated":
      return answered("UNAUTHENTICATED", reason.details)
    case "PermissionDenied":
      return answered("PERMISSION_DENIED", reason.details)
    case "Internal":
      return answered("INTERNAL", reason.details)
    case "UnexpectedStatus":
      return answered(reason.code, reason.details)
    default:
      return unavailable
  }
}

/** One call on its way: what its answer said, for the caller. */
class Passage {
  readonly #call: Call["Service"]
  readonly options: CallOptions
  #headers: Metadata | undefined
  #trailers: Metadata | undefined

  constructor(call: Call["Service"], principal: Principal["Service"] | undefined) {
    this.#call = call
    this.options = {
      metadata: { ...entriesOf(call.metadata), [forwardedFor]: call.peer.address },
      ...(principal === undefined ? {} : { key: principal.playerId }),
      // The first ones: those of a try that is repeated say nothing of the answer.
      onHeaders: (metadata) => {
        this.#headers = metadata
      },
      onTrailers: (metadata) => {
        this.#trailers = metadata
      }
    }
  }

  /** Hands on what the answer says beside its messages. */
  get told(): Effect.Effect<void> | undefined {
    const headers = this.#headers === undefined ? [] : Object.entries(entriesOf(this.#headers))
    const trailers = this.#trailers === undefined ? [] : Object.entries(entriesOf(this.#trailers))
    if (headers.length + trailers.length === 0) return undefined
    return Effect.andThen(
      Effect.forEach(headers, ([name, value]) => this.#call.setHeader(name, value), { discard: true }),
      Effect.forEach(
        trailers.filter(([name]) => name !== detailsKey),
        ([name, value]) => this.#call.setTrailer(name, value),
        { discard: true }
      )
    )
  }

  /** How the call fails, as the server that answered it said. */
  failed(error: DomainError | GrpcError): Effect.Effect<never, Refused> {
    const values = this.#trailers?.get(detailsKey) ?? []
    const status = statusOf(values)
    const failure: Failure =
      status === undefined
        ? failureOf(error as GrpcError)
        : { ...status, code: codes[status.code] ?? "UNKNOWN", details: values[0] as Buffer, level: "Info" }
    const refused = Effect.fail(new Refused(failure))
    const told = this.told
    return told === undefined ? refused : Effect.andThen(told, refused)
  }
}

type Send = (request: never, options: CallOptions) => unknown

const passage = <A>(pass: (passage: Passage) => A): Effect.Effect<A> =>
  Effect.withFiber(({ context }) =>
    Effect.succeed(pass(new Passage(Context.getUnsafe(context, Call), Context.getOrUndefined(context, Principal))))
  )

const one = (send: Send) => (request: never) =>
  Effect.flatten(
    passage((passage) =>
      (send(request, passage.options) as Effect.Effect<Buffer, DomainError>).pipe(
        Effect.flatMap((response) => {
          const { told } = passage
          return told === undefined ? Effect.succeed(response) : Effect.as(told, response)
        }),
        Effect.catch((error) => passage.failed(error))
      )
    )
  )

const many = (send: Send) => (request: never) =>
  Stream.unwrap(
    passage((passage) =>
      (send(request, passage.options) as Stream.Stream<Buffer, DomainError>).pipe(
        Stream.catch((error) => Stream.fromEffect(passage.failed(error))),
        Stream.onEnd(Effect.suspend(() => passage.told ?? Effect.void))
      )
    )
  )

/** What serving the calls of an {@link AnyApi} for others needs. */
export type ForwardServices<A extends AnyApi> =
  | GrpcClient
  | (keyof A["definition"] extends PublicMethods<A> ? never : Authenticator)

/**
 * Serves a service by passing its calls on to other servers: messages unread, with the metadata of the caller
 * (`authorization` among it), its deadline and its trace; status, details and metadata come back as the server gave them.
 * What a server does not answer is UNAVAILABLE or DEADLINE_EXCEEDED, with a text of ours.
 *
 * The rules of the api hold here too: callers of methods that are not public are authenticated before anything is passed
 * on, rates are counted, idempotent methods are tried again. The key of a call, for `consistent_hash`, is its caller. The
 * servers hear the caller's address in `x-forwarded-for`, which those believe that have us in `grpc.trusted_proxies`.
 *
 * - `options`: as for `Grpc.client`
 */
export const forward = <A extends AnyApi>(
  api: A,
  options: ClientOptions
): Handlers<GrpcError, ForwardServices<A>, keyof A["definition"] & string, PublicMethods<A>> => {
  const definition = unread(api.definition)
  const rules = Object.entries(api.rules)
  const served: AnyApi = {
    ...api,
    definition,
    rules: Object.fromEntries(
      rules.map(([key, { idempotent = false, public: isPublic = false, rate }]) => [
        key,
        { idempotent, public: isPublic, ...(rate === undefined ? {} : { rate }) }
      ])
    )
  }
  // A declared error is an answer: without its class it could be one of a server that is away.
  const called: AnyApi = {
    ...api,
    definition,
    rules: Object.fromEntries(rules.map(([key, { errors = [], idempotent = false }]) => [key, { errors, idempotent }]))
  }
  const build = Effect.gen(function* () {
    const client = yield* (yield* GrpcClient).make(called, options)
    const handlers = Object.entries(definition).map(([key, { responseStream }]) => {
      const send = client[key] as unknown as Send
      return [key, responseStream ? many(send) : one(send)]
    })
    return Object.fromEntries(handlers) as HandlersOf<AnyApi>
  })
  return {
    api: served,
    build: build as Effect.Effect<HandlersOf<AnyApi>, GrpcError, ForwardServices<A>>,
    middleware: []
  }
}
