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
  /** Whether anything came from a server: metadata before the status, or with it. */
  readonly answered: boolean
  /** Where the call went, and where it should go: the same, or unknown, as long as no server was chosen for it. */
  readonly peer: string
  readonly target: string
}

// Written by grpc-js 1.14 itself, when a server's GOAWAY or limit kept a stream from being looked at.
const refusedText = "Stream refused by server"
// The same for a deadline that passed after a server was chosen.
const deadlineText = "Deadline exceeded after"
const chosenText = "remote_addr="
// The same for a stream that ended without a status, or did not begin.
const brokenText = /^(?:Received RST_STREAM with code|Failed to start HTTP\/2 stream)/

/**
 * Whether the server can have processed the call; true when in doubt. The driver's texts count only as long as nothing
 * came from a server, which could write the same.
 */
const wasSent = ({ answered, code, details, peer, target }: Outcome): boolean => {
  if (answered) return true
  if (peer === target) return false
  if (code === 4 && details.startsWith(deadlineText)) return details.includes(chosenText)
  return code !== 14 || details !== refusedText
}

/** Whether a status says that the call was lost on its way or back, rather than answered. */
const isLost = (code: GrpcError.Code, details: string): boolean =>
  code === "UNAVAILABLE" ||
  code === "CANCELLED" ||
  code === "DEADLINE_EXCEEDED" ||
  (code === "INTERNAL" && brokenText.test(details))

/**
 * Tells the reason of a call that failed with anything but a declared error: the one place that knows what the driver
 * means with its codes and texts.
 */
export const toReason = (outcome: Outcome): GrpcError.GrpcErrorReason => {
  const { method, details } = outcome
  const code = GrpcError.codes[outcome.code] ?? "UNKNOWN"
  const call = { method, details }
  const repeatable = outcome.idempotent || !wasSent(outcome)
  if (isLost(code, details)) {
    if (!repeatable) return new GrpcError.OutcomeUnknown({ ...call, code })
    return code === "DEADLINE_EXCEEDED" ? new GrpcError.DeadlineExceeded(call) : new GrpcError.Unavailable(call)
  }
  const { error, info } = Details.decode(outcome.statusDetails, outcome.code)
  switch (code) {
    case "RESOURCE_EXHAUSTED":
      return new GrpcError.ResourceExhausted({ ...call, repeatable })
    case "UNIMPLEMENTED":
      return new GrpcError.Unimplemented(call)
    case "INVALID_ARGUMENT":
      return new GrpcError.InvalidArgument(call)
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
