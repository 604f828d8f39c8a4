import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Reason from "../utils/Reason.ts"

/** The names of the gRPC status codes, by their numbers. */
export const codes = [
  "OK",
  "CANCELLED",
  "UNKNOWN",
  "INVALID_ARGUMENT",
  "DEADLINE_EXCEEDED",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
  "UNAUTHENTICATED"
] as const

/** The name of a gRPC status code. */
export type Code = (typeof codes)[number]

/** See {@link Code}. */
export const Code = Schema.Literals(codes)

/** Another process listens on the address that the server should listen on. */
export class AddressInUse extends Reason.transient<AddressInUse>("xdooria/grpc/AddressInUse")("AddressInUse", {
  address: Schema.String
}) {
  override get message(): string {
    return `gRPC cannot listen on ${this.address}: another process does. Stop it, or set server.port; 0 takes a free port. The variable is XDOORIA_SERVER_PORT, and XDOORIA_<SERVICE>__SERVER_PORT for one service of several in this process`
  }
}

/**
 * The address cannot be listened on for another reason.
 *
 * - `code`: the system's word for it, such as `EACCES`, `EADDRNOTAVAIL` or `ENOTFOUND`
 */
export class CannotListen extends Reason.transient<CannotListen>("xdooria/grpc/CannotListen")("CannotListen", {
  address: Schema.String,
  code: Schema.String
}) {
  override get message(): string {
    return `gRPC cannot listen on ${this.address}: ${this.code}. Check server.host and server.port`
  }
}

/** Plain text was neither allowed nor harmless. */
export class InsecureTransport extends Reason.permanent<InsecureTransport>("xdooria/grpc/InsecureTransport")(
  "InsecureTransport",
  { address: Schema.String }
) {
  override get message(): string {
    return `gRPC on ${this.address} would be plain text: set grpc.allow_insecure to true if the network around it is trusted`
  }
}

/** The server cannot serve what it was given: one method twice, descriptors that do not decode, or a second `serve`. */
export class InvalidService extends Reason.permanent<InvalidService>("xdooria/grpc/InvalidService")("InvalidService", {
  problem: Schema.String
}) {
  override get message(): string {
    return `gRPC cannot serve: ${this.problem}`
  }
}

/** The server's address was asked for while nothing is served. */
export class NotServing extends Reason.transient<NotServing>("xdooria/grpc/NotServing")("NotServing", {}) {
  override get message(): string {
    return "gRPC serves nothing: provide the server to GrpcServer.serve first"
  }
}

/** A client has no address to call, or one that does not parse. */
export class InvalidTarget extends Reason.permanent<InvalidTarget>("xdooria/grpc/InvalidTarget")("InvalidTarget", {
  service: Schema.String,
  problem: Schema.String
}) {
  override get message(): string {
    return `no target for ${this.service}: ${this.problem}. Give Grpc.client a target, or set grpc.target`
  }
}

const call = {
  /** The full name, such as `game.GameService/GetPlayer`. */
  method: Schema.String,
  /** What the peer or the transport says of it. Another's text: for people, not to be matched, not in `message`. */
  details: Schema.String
}

const refused = {
  ...call,
  /** The call was not sent, or its method is idempotent. */
  repeatable: Schema.Boolean
}

/**
 * The server could not be reached, or refused the call before it looked at it: the call was not processed, or its
 * method is idempotent. Any other is {@link OutcomeUnknown}.
 */
export class Unavailable extends Reason.transient<Unavailable>("xdooria/grpc/Unavailable")("Unavailable", call) {
  override get message(): string {
    return `${this.method}: the server is not available`
  }
}

/**
 * TLS with the server could not be agreed on, so the call was not sent: its certificate has expired, is for another name
 * or of an authority that we do not trust, or it wants one from us.
 *
 * - `detail`: Node's code, such as `CERT_HAS_EXPIRED`
 */
export class TlsFailed extends Reason.permanent<TlsFailed>("xdooria/grpc/TlsFailed")("TlsFailed", {
  method: call.method,
  detail: Schema.String
}) {
  override get message(): string {
    return `${this.method}: TLS with the server failed: ${this.detail}`
  }
}

/** The call of a method that is not idempotent was sent and its reply was lost: it may have been applied. */
export class OutcomeUnknown extends Reason.ambiguous<OutcomeUnknown>("xdooria/grpc/OutcomeUnknown")("OutcomeUnknown", {
  ...call,
  code: Code
}) {
  override get message(): string {
    return `${this.method}: the reply was lost (${this.code}), the call may have been applied`
  }
}

/** The deadline passed before the call was sent, or the method is idempotent; else it is {@link OutcomeUnknown}. */
export class DeadlineExceeded extends Reason.transient<DeadlineExceeded>("xdooria/grpc/DeadlineExceeded")(
  "DeadlineExceeded",
  call
) {
  override get message(): string {
    return `${this.method}: the deadline passed`
  }
}

/** A limit of the server or of the client refused the call or its reply. */
export class ResourceExhausted extends Reason.transient<ResourceExhausted>("xdooria/grpc/ResourceExhausted")(
  "ResourceExhausted",
  refused
) {
  override get isSafeToRetry(): boolean {
    return this.repeatable
  }
  override get message(): string {
    return `${this.method}: a limit was reached`
  }
}

/** The server does not know the method. */
export class Unimplemented extends Reason.permanent<Unimplemented>("xdooria/grpc/Unimplemented")(
  "Unimplemented",
  call
) {
  override get message(): string {
    return `${this.method}: the server does not implement it`
  }
}

/**
 * The server refused the request's content.
 *
 * - `violations`: which fields, as the .proto spells them, and what they should be; empty when the server does not say
 */
export class InvalidArgument extends Reason.permanent<InvalidArgument>("xdooria/grpc/InvalidArgument")(
  "InvalidArgument",
  {
    ...call,
    violations: Schema.Array(Schema.Struct({ field: Schema.String, description: Schema.String })).pipe(
      Schema.withConstructorDefault(Effect.succeed([]))
    )
  }
) {
  override get message(): string {
    return `${this.method}: the request is invalid`
  }
}

/** The server does not know who calls. */
export class Unauthenticated extends Reason.permanent<Unauthenticated>("xdooria/grpc/Unauthenticated")(
  "Unauthenticated",
  call
) {
  override get message(): string {
    return `${this.method}: the caller is not authenticated`
  }
}

/** The server knows who calls, and refuses. */
export class PermissionDenied extends Reason.permanent<PermissionDenied>("xdooria/grpc/PermissionDenied")(
  "PermissionDenied",
  call
) {
  override get message(): string {
    return `${this.method}: the caller has no permission`
  }
}

/**
 * The server failed with a bug or an error that the method does not declare.
 *
 * - `errorId`: finds the server's log line; absent when the server is not one of ours
 */
export class Internal extends Reason.permanent<Internal>("xdooria/grpc/Internal")("Internal", {
  ...refused,
  errorId: Schema.optionalKey(Schema.String)
}) {
  override get isSafeToRetry(): boolean {
    return this.repeatable
  }
  override get message(): string {
    return `${this.method}: the server failed${this.errorId === undefined ? "" : ` (error id ${this.errorId})`}`
  }
}

/**
 * The server answered with a status that the method does not declare.
 *
 * - `tag`: of an error of ours that this client does not know; absent otherwise
 */
export class UnexpectedStatus extends Reason.permanent<UnexpectedStatus>("xdooria/grpc/UnexpectedStatus")(
  "UnexpectedStatus",
  { ...refused, code: Code, tag: Schema.optionalKey(Schema.String) }
) {
  override get isSafeToRetry(): boolean {
    return this.repeatable
  }
  override get message(): string {
    return `${this.method}: undeclared ${this.code}${this.tag === undefined ? "" : ` ${this.tag}`}`
  }
}

/** Why a server did not start or a call failed. */
export const GrpcErrorReason = Schema.Union([
  AddressInUse,
  CannotListen,
  InsecureTransport,
  InvalidService,
  NotServing,
  InvalidTarget,
  Unavailable,
  TlsFailed,
  OutcomeUnknown,
  DeadlineExceeded,
  ResourceExhausted,
  Unimplemented,
  InvalidArgument,
  Unauthenticated,
  PermissionDenied,
  Internal,
  UnexpectedStatus
])

/** See {@link GrpcErrorReason}. */
export type GrpcErrorReason = typeof GrpcErrorReason.Type

/** The error of room grpc. */
export class GrpcError extends Reason.error<GrpcError>("xdooria/grpc/GrpcError")("GrpcError", {
  reason: GrpcErrorReason
}) {
  override get message(): string {
    return this.reason.message
  }
}
