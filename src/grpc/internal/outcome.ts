import * as GrpcError from "../GrpcError.ts"
import * as Details from "./details.ts"

/** How a call ended, as the driver tells it. */
export interface Outcome {
  readonly method: string
  readonly idempotent: boolean
  readonly code: number
  /** The peer's text or, when the peer did not answer, the driver's. */
  readonly details: string
  /** The values of grpc-status-details-bin. */
  readonly statusDetails: ReadonlyArray<string | Buffer>
  /** Whether there was any metadata with the status. */
  readonly hasMetadata: boolean
  /** Where the call went, and where it should go: the same, or unknown, as long as no server was chosen for it. */
  readonly peer: string
  readonly target: string
}

// Written by grpc-js 1.14 itself, when a server's GOAWAY or limit kept a stream from being looked at.
const refusedText = "Stream refused by server"
// The same for a deadline that passed after a server was chosen.
const deadlineText = "Deadline exceeded after"
const chosenText = "remote_addr="
// The same for a stream that ended without a status.
const resetText = "Received RST_STREAM with code"

/** Whether the server can have processed the call; true when in doubt. */
const wasSent = ({ code, details, hasMetadata, peer, target }: Outcome): boolean => {
  if (peer === target) return false
  if (code === 4 && details.startsWith(deadlineText) && !hasMetadata) return details.includes(chosenText)
  return details !== refusedText || hasMetadata
}

/** Whether a status says that the call was lost on its way or back, rather than answered. */
const isLost = (code: GrpcError.Code, details: string): boolean =>
  code === "UNAVAILABLE" ||
  code === "CANCELLED" ||
  code === "DEADLINE_EXCEEDED" ||
  (code === "INTERNAL" && details.startsWith(resetText))

/**
 * Tells the reason of a call that failed with anything but a declared error: the one place that knows what the driver
 * means with its codes and texts.
 */
export const toReason = (outcome: Outcome): GrpcError.GrpcErrorReason => {
  const { method, idempotent, details } = outcome
  const code = GrpcError.codes[outcome.code] ?? "UNKNOWN"
  const sent = wasSent(outcome)
  if (isLost(code, details) || !sent) {
    if (sent && !idempotent) return new GrpcError.OutcomeUnknown({ method, details, code })
    return code === "DEADLINE_EXCEEDED"
      ? new GrpcError.DeadlineExceeded({ method, details })
      : new GrpcError.Unavailable({ method, details })
  }
  switch (code) {
    case "RESOURCE_EXHAUSTED":
      return new GrpcError.ResourceExhausted({ method, details, idempotent })
    case "UNIMPLEMENTED":
      return new GrpcError.Unimplemented({ method, details })
    case "INVALID_ARGUMENT":
      return new GrpcError.InvalidArgument({ method, details })
    case "UNAUTHENTICATED":
      return new GrpcError.Unauthenticated({ method, details })
    case "PERMISSION_DENIED":
      return new GrpcError.PermissionDenied({ method, details })
  }
  const { error, info } = Details.decode(outcome.statusDetails, outcome.code)
  if (code === "INTERNAL") {
    const errorId = info?.metadata[Details.errorIdKey]
    return new GrpcError.Internal({ method, details, idempotent, ...(errorId === undefined ? {} : { errorId }) })
  }
  const tag = error?.tag
  return new GrpcError.UnexpectedStatus({ method, details, idempotent, code, ...(tag === undefined ? {} : { tag }) })
}
