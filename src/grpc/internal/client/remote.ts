import type * as Context from "effect/Context"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { AnyApi, DomainError, ErrorClass, Method } from "../../Api.ts"
import { GrpcError, Internal, InvalidArgument, OutcomeUnknown, ResourceExhausted } from "../../GrpcError.ts"
import * as Details from "../details.ts"
import { makeObserver, type Observer } from "../observe.ts"
import { toReason } from "../outcome.ts"
import type { Ended } from "../transport.ts"

type Decode = (json: string) => Result.Result<DomainError, unknown>

/** A method of a server with everything about it that does not change from call to call. */
export interface Remote {
  readonly name: string
  readonly path: string
  readonly idempotent: boolean
  readonly requestStream: boolean
  readonly responseStream: boolean
  readonly encode: (request: unknown) => Buffer
  readonly decode: (response: Buffer) => unknown
  readonly errors: ReadonlyMap<string, Decode>
  readonly observer: Observer
}

const decoderOf = (errorClass: ErrorClass): Decode =>
  Schema.decodeUnknownResult(
    Schema.fromJsonString(Schema.toCodecJson(errorClass)) as unknown as Schema.ConstraintDecoder<DomainError>
  )

/** The method of an api that has this key; `context` is what its calls are observed with. */
export const make = (api: AnyApi, key: string, method: Method, context: Context.Context<never>): Remote => {
  const { errors = [], idempotent = false } = api.rules[key] ?? {}
  return {
    name: method.path.slice(1),
    path: method.path,
    idempotent,
    requestStream: method.requestStream,
    responseStream: method.responseStream,
    encode: method.requestSerialize as (request: unknown) => Buffer,
    decode: method.responseDeserialize,
    errors: new Map(errors.map((errorClass) => [errorClass.grpc.tag, decoderOf(errorClass)])),
    observer: makeObserver("client", method.path, context)
  }
}

/** The declared error that a status carries, or else the reason why the call failed. */
export const toError = (remote: Remote, { code, details, isUnread, sent, trailers }: Ended): DomainError => {
  const statusDetails = trailers.get(Details.detailsKey)
  const { error } = Details.decode(statusDetails, code)
  const decoded = error === undefined ? undefined : remote.errors.get(error.tag)?.(error.json)
  if (decoded !== undefined && Result.isSuccess(decoded)) return decoded.success
  const { idempotent, name } = remote
  return new GrpcError({ reason: toReason({ method: name, idempotent, code, details, statusDetails, sent, isUnread }) })
}

/** A call was answered, so it was applied; what it gave is lost. */
export const lostResponse = ({ idempotent, name }: Remote, details: string): GrpcError =>
  new GrpcError({
    reason: idempotent
      ? new Internal({ method: name, details, repeatable: true })
      : new OutcomeUnknown({ method: name, details, code: "INTERNAL" })
  })

type Encoded =
  | { readonly bytes: Buffer; readonly error?: undefined }
  | { readonly bytes?: undefined; readonly error: GrpcError }

/** A request as it is sent, or why it is not. Of a stream others may have been sent before it. */
export const encode = (remote: Remote, request: unknown, maxMessageSize: number): Encoded => {
  const { idempotent, name: method, requestStream } = remote
  const encoded = Result.try(() => remote.encode(request))
  if (Result.isFailure(encoded)) {
    const details = "the request cannot be encoded"
    const reason =
      idempotent || !requestStream
        ? new InvalidArgument({ method, details })
        : new OutcomeUnknown({ method, details, code: "INVALID_ARGUMENT" })
    return { error: new GrpcError({ reason }) }
  }
  const bytes = encoded.success
  if (bytes.length <= maxMessageSize) return { bytes }
  const details = `a request of ${bytes.length} bytes, more than ${maxMessageSize}`
  const repeatable = idempotent || !requestStream
  return { error: new GrpcError({ reason: new ResourceExhausted({ method, details, repeatable }) }) }
}
