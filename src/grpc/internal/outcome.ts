import * as GrpcError from "../GrpcError.ts"
import * as Details from "./details.ts"

/** How a call ended. */
export interface Outcome {
  readonly method: string
  readonly idempotent: boolean
  readonly code: number
  /** The peer's text or, when the peer did not answer, the transport's. */
  readonly details: string
  /** The values of grpc-status-details-bin. */
  readonly statusDetails: ReadonlyArray<string | Buffer>
  /** Whether the server can have processed it. */
  readonly sent: boolean
  /** Whether it was answered with what cannot be read. */
  readonly isUnread?: boolean | undefined
}

// Written by grpc-js 1.14 itself for a call that a server has ended without a status of gRPC, or that a connection did
// not begin as it was about to close. A server that writes the same is taken for one that has not answered.
const lostText = new RegExp(
  [
    "^Received (?:RST_STREAM with code|HTTP status code) \\d",
    "^No status information received$",
    "^Bandwidth exhausted or memory limit exceeded$",
    "^Protocol not secure enough$",
    "^Failed to start HTTP/2 stream with error (?:New streams cannot be created after|The session has been destroyed)"
  ].join("|")
)

/** Whether a status says that the call was lost on its way or back, rather than answered. */
const isLost = (code: GrpcError.Code, details: string): boolean =>
  code === "UNAVAILABLE" || code === "CANCELLED" || code === "DEADLINE_EXCEEDED" || lostText.test(details)

/**
 * Tells the reason of a call that failed with anything but a declared error: the one place that knows what codes and
 * texts mean.
 */
export const toReason = (outcome: Outcome): GrpcError.GrpcErrorReason => {
  const { method, details } = outcome
  const code = GrpcError.codes[outcome.code] ?? "UNKNOWN"
  const call = { method, details }
  const repeatable = outcome.idempotent || !outcome.sent
  if (outcome.isUnread === true && !repeatable) return new GrpcError.OutcomeUnknown({ ...call, code })
  if (isLost(code, details)) {
    if (!repeatable) return new GrpcError.OutcomeUnknown({ ...call, code })
    return code === "DEADLINE_EXCEEDED" ? new GrpcError.DeadlineExceeded(call) : new GrpcError.Unavailable(call)
  }
  const { error, info, violations = [] } = Details.decode(outcome.statusDetails, outcome.code)
  switch (code) {
    case "RESOURCE_EXHAUSTED":
      return new GrpcError.ResourceExhausted({ ...call, repeatable })
    case "UNIMPLEMENTED":
      return new GrpcError.Unimplemented(call)
    case "INVALID_ARGUMENT":
      return new GrpcError.InvalidArgument({
        ...call,
        violations: violations.map(({ field, description }) => ({ field, description }))
      })
    case "UNAUTHENTICATED":
      return new GrpcError.Unauthenticated(call)
    case "PERMISSION_DENIED":
      return new GrpcError.PermissionDenied(call)
    case "INTERNAL": {
      const errorId = info?.metadata[Details.errorIdKey]
      return new GrpcError.Internal({ ...call, repeatable, ...(errorId === undefined ? {} : { errorId }) })
    }
    default: {
      const tag = error?.tag
      return new GrpcError.UnexpectedStatus({ ...call, repeatable, code, ...(tag === undefined ? {} : { tag }) })
    }
  }
}
