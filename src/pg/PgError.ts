import * as Schema from "effect/Schema"
import * as Reason from "../utils/Reason.ts"
import type { SqlError } from "effect/sql/SqlError"
import {
  Authentication,
  Cancelled,
  ConstraintViolation,
  DatabaseNotFound,
  Deadlock,
  InvalidInput,
  LockTimeout,
  NumericOverflow,
  OutcomeUnknown,
  PermissionDenied,
  PgErrorReason,
  SerializationFailure,
  StalePlan,
  StatementTimeout,
  StringTooLong,
  Syntax,
  TlsFailed,
  TransactionAborted,
  Unavailable,
  Unclassified,
  UniqueViolation
} from "./PgErrorReason.ts"

export * from "./PgErrorReason.ts"

/** What is read of an error of the server's or of Node's. Its text and details are not: they can hold row values. */
interface Cause {
  readonly code?: unknown
  readonly constraint?: unknown
  readonly column?: unknown
  readonly routine?: unknown
  readonly message?: unknown
}

const nameOf = (value: unknown): string => (typeof value === "string" && value !== "" ? value : "unknown")

const kindOf: Record<string, ConstraintViolation["kind"]> = {
  "23001": "foreignKey",
  "23503": "foreignKey",
  "23514": "check",
  "23502": "notNull",
  "23P01": "exclusion"
}

const byCode: Record<string, (cause: Cause) => PgErrorReason> = {
  "08007": () => new OutcomeUnknown({ detail: "08007" }),
  // One code for what the server cannot do at all and for a plan that is out of date; the function that raises it is
  // no text, and so the same in each language.
  "0A000": ({ routine }) => (routine === "RevalidateCachedQuery" ? new StalePlan() : new Syntax({ code: "0A000" })),
  "22001": () => new StringTooLong(),
  "22003": () => new NumericOverflow(),
  "23505": (cause) => new UniqueViolation({ constraint: nameOf(cause.constraint) }),
  "25P02": () => new TransactionAborted(),
  "25P03": () => new TransactionAborted(),
  "25P04": () => new TransactionAborted(),
  "3D000": () => new DatabaseNotFound(),
  "3F000": () => new Syntax({ code: "3F000" }),
  "40001": () => new SerializationFailure(),
  "40003": () => new OutcomeUnknown({ detail: "40003" }),
  "40P01": () => new Deadlock(),
  "42501": () => new PermissionDenied(),
  "55P03": () => new LockTimeout(),
  // One code for two things; the text that tells them apart holds no value. A server that speaks another language
  // reports a cancelled statement as a timeout.
  "57014": (cause) =>
    typeof cause.message === "string" && cause.message.includes("user request")
      ? new Cancelled()
      : new StatementTimeout(),
  "57P01": () => new Unavailable({ detail: "57P01" }),
  "57P02": () => new Unavailable({ detail: "57P02" }),
  "57P03": () => new Unavailable({ detail: "57P03" }),
  "57P04": () => new DatabaseNotFound(),
  "57P05": () => new Unavailable({ detail: "57P05" })
}

const byClass: Record<string, (code: string, cause: Cause) => PgErrorReason> = {
  "08": (code) => new Unavailable({ detail: code }),
  "22": (code) => new InvalidInput({ problem: code }),
  "23": (code, { column, constraint }) =>
    new ConstraintViolation({
      constraint: nameOf(constraint ?? column),
      kind: kindOf[code] ?? "other"
    }),
  "28": (code) => new Authentication({ code }),
  "42": (code) => new Syntax({ code }),
  "53": (code) => new Unavailable({ detail: code })
}

const bySqlState = (code: string, cause: Cause): PgErrorReason =>
  byCode[code]?.(cause) ?? byClass[code.slice(0, 2)]?.(code, cause) ?? new Unclassified({ code })

const sqlState = /^[0-9A-Z]{5}$/
const tlsCode = /^(ERR_TLS|ERR_SSL|CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|HOSTNAME_|INVALID_|EPROTO)/
const isReason = Schema.is(PgErrorReason)

const classify = ({ reason }: SqlError): PgErrorReason => {
  // Session knows more than the driver does, such as whether a COMMIT was in flight, and says so in the cause.
  if (isReason(reason.cause)) return reason.cause
  const cause = (typeof reason.cause === "object" && reason.cause !== null ? reason.cause : {}) as Cause
  const code = typeof cause.code === "string" ? cause.code : undefined
  if (code !== undefined && sqlState.test(code)) return bySqlState(code, cause)
  // The driver's own failures have no code, only a fixed sentence.
  switch (reason.message) {
    case "PgConnection: Failed to encode query":
      return new InvalidInput({ problem: "a value or a number of parameters that PostgreSQL has no form for" })
    case "PgConnection: Failed to decode row":
      return new OutcomeUnknown({ detail: "its result could not be read" })
    case "PgConnection: Server refused TLS":
      return new TlsFailed({ detail: "the server does not offer it" })
    case "PgConnection: Connection timed out":
      return new Unavailable({ detail: "no answer within connect_timeout" })
  }
  if (reason._tag === "AuthenticationError") return new Authentication({ code: "28000" })
  if (reason._tag === "ConnectionError" && reason.operation === "connect") {
    if (code !== undefined && tlsCode.test(code)) return new TlsFailed({ detail: code })
    return new Unavailable({ detail: code ?? "closed while connecting" })
  }
  return new OutcomeUnknown({ detail: code ?? "connection closed" })
}

/**
 * The error of room pg. `at`: the server as host:port/database, or the migration, where that is known; of migrations that
 * are refused the service and the database.
 */
export class PgError extends Reason.error<PgError>("xdooria/pg/PgError")("PgError", {
  reason: PgErrorReason,
  at: Schema.optionalKey(Schema.String)
}) {
  /**
   * Classifies an error of SqlClient's. A pure function of SQLSTATE, Node's error code and the driver's own sentences;
   * nothing of the statement, its parameters or a row gets into the result.
   */
  static fromSql(error: SqlError): PgError {
    return new PgError({ reason: classify(error) })
  }
  override get message(): string {
    return this.at === undefined ? `pg: ${this.reason.message}` : `pg ${this.at}: ${this.reason.message}`
  }
}
