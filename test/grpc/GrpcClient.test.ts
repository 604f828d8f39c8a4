// How the client tells what became of a call, without a connection.
import { assert, describe, it } from "@effect/vitest"
import * as Errors from "xdooria/grpc"
import { type DriverStatus, wasSent } from "../../src/grpc/internal/client/connection.ts"
import * as Details from "../../src/grpc/internal/details.ts"
import { type Outcome, toReason } from "../../src/grpc/internal/outcome.ts"

describe("reasons", () => {
  type Row = Omit<Outcome, "sent"> & DriverStatus
  const reasonOf = (row: Row) => toReason({ ...row, sent: wasSent(row) })
  const sent: Row = {
    method: "game.GameService/GainExp",
    idempotent: false,
    code: 14,
    details: "Connection dropped",
    statusDetails: [],
    answered: false,
    broken: false,
    peer: "127.0.0.1:50051",
    target: "dns:127.0.0.1:50051"
  }
  const unsent = { ...sent, peer: sent.target }
  const answered = { ...sent, answered: true }
  const deadline = (details: string) => ({ ...sent, code: 4, details })

  // [what, driver's outcome, reason, safe to retry]
  const table: ReadonlyArray<readonly [string, Row, Errors.GrpcErrorReason["_tag"], boolean]> = [
    ["no connection", { ...unsent, details: "No connection established. Last error: ..." }, "Unavailable", true],
    ["name not resolved", { ...unsent, details: "Name resolution failed for target dns:x" }, "Unavailable", true],
    ["channel closed", { ...unsent, details: "Channel closed before call started" }, "Unavailable", true],
    [
      "stream not started",
      { ...unsent, code: 13, details: "Failed to start HTTP/2 stream with error The session has been destroyed" },
      "Unavailable",
      true
    ],
    [
      "stream not started through a fault of ours",
      { ...unsent, code: 13, details: "Failed to start HTTP/2 stream with error x" },
      "Internal",
      true
    ],
    [
      "lost with a GOAWAY of the same code",
      { ...sent, broken: true, details: "Stream refused by server" },
      "OutcomeUnknown",
      false
    ],
    ...(
      [
        [8, "Bandwidth exhausted or memory limit exceeded"],
        [7, "Protocol not secure enough"],
        [13, "Received HTTP status code 400"],
        [2, "Received HTTP status code 500"],
        [16, "Received HTTP status code 401"],
        [12, "Received HTTP status code 404"],
        [2, "No status information received"]
      ] as const
    ).flatMap(([code, details]): ReadonlyArray<readonly [string, Row, Errors.GrpcErrorReason["_tag"], boolean]> => [
      [details, { ...sent, code, details }, "OutcomeUnknown", false],
      [`${details}, idempotent`, { ...sent, idempotent: true, code, details }, "Unavailable", true]
    ]),
    ["a response that cannot be read", { ...answered, code: 8, isUnread: true }, "OutcomeUnknown", false],
    [
      "a response that cannot be read, idempotent",
      { ...answered, idempotent: true, code: 8, isUnread: true },
      "ResourceExhausted",
      true
    ],
    ["refused by GOAWAY", { ...sent, details: "Stream refused by server" }, "Unavailable", true],
    ["the same as another's text", { ...answered, details: "Stream refused by server" }, "OutcomeUnknown", false],
    ["the same with another code", { ...sent, code: 13, details: "Stream refused by server" }, "Internal", false],
    [
      "the same as a limit of another",
      { ...answered, code: 8, details: "Stream refused by server" },
      "ResourceExhausted",
      false
    ],
    ["an answer before a server was known", { ...unsent, answered: true }, "OutcomeUnknown", false],
    ["connection lost", sent, "OutcomeUnknown", false],
    ["connection lost, idempotent", { ...sent, idempotent: true }, "Unavailable", true],
    [
      "stream reset",
      { ...sent, code: 13, details: "Received RST_STREAM with code 2 (Internal server error)" },
      "OutcomeUnknown",
      false
    ],
    [
      "stream reset, idempotent",
      { ...sent, idempotent: true, code: 13, details: "Received RST_STREAM with code 2" },
      "Unavailable",
      true
    ],
    ["reset with CANCEL", { ...sent, code: 1, details: "Call cancelled" }, "OutcomeUnknown", false],
    ["deadline, no server yet", deadline("Deadline exceeded after 0.1s,Waiting for LB pick"), "DeadlineExceeded", true],
    [
      "deadline, no name yet",
      { ...deadline("Deadline exceeded after 0.1s,name resolution: 0.1s"), peer: "unknown" },
      "DeadlineExceeded",
      true
    ],
    [
      "deadline, sent",
      { ...deadline("Deadline exceeded after 0.1s,remote_addr=127.0.0.1:50051"), peer: "unknown" },
      "OutcomeUnknown",
      false
    ],
    [
      "deadline, told by the server",
      { ...answered, code: 4, details: "Deadline exceeded after all" },
      "OutcomeUnknown",
      false
    ],
    [
      "deadline, told by the server in the driver's words",
      { ...answered, code: 4, details: "Deadline exceeded after 0.5s,waiting for name resolution" },
      "OutcomeUnknown",
      false
    ],
    [
      "deadline, idempotent",
      { ...deadline("Deadline exceeded after 0.1s,remote_addr=x"), idempotent: true },
      "DeadlineExceeded",
      true
    ],
    [
      "request too large to send",
      { ...unsent, code: 8, details: "Attempted to send message with a size larger than 1" },
      "ResourceExhausted",
      true
    ],
    ["limit of the server", { ...answered, code: 8, details: "" }, "ResourceExhausted", false],
    [
      "limit of the server, idempotent",
      { ...answered, idempotent: true, code: 8, details: "" },
      "ResourceExhausted",
      true
    ],
    ["bug of the server", { ...answered, code: 13, details: "internal error" }, "Internal", false],
    ["absent", { ...answered, code: 5, details: "no rows in result set" }, "UnexpectedStatus", false],
    ["a code of the future", { ...answered, code: 42, details: "" }, "UnexpectedStatus", false]
  ]
  for (const [what, outcome, tag, isSafeToRetry] of table) {
    it(`${what}: ${tag}`, () => {
      const reason = reasonOf(outcome)
      assert.include(reason, { _tag: tag, isSafeToRetry })
      assert.isTrue(outcome.details === "" || !reason.message.includes(outcome.details))
      const error = new Errors.GrpcError({ reason })
      assert.deepStrictEqual(
        [error.message, error.isRetryable, error.isSafeToRetry],
        [reason.message, reason.isRetryable, isSafeToRetry]
      )
    })
  }

  it("carry the error id and the tag that the server sent", () => {
    const info = { reason: "INTERNAL", domain: "game.GameService", metadata: { error_id: "0123456789abcdef" } }
    const internal = reasonOf({ ...answered, code: 13, statusDetails: [Details.encode(13, "x", { info })] })
    assert.include(internal, { _tag: "Internal", errorId: "0123456789abcdef" })
    assert.include(internal.message, "0123456789abcdef")
    const error = { tag: "PlayerNotFound", json: "{}" }
    const absent = reasonOf({ ...answered, code: 5, statusDetails: [Details.encode(5, "x", { info, error })] })
    assert.include(absent, { _tag: "UnexpectedStatus", tag: "PlayerNotFound" })
  })
})
