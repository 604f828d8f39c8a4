import * as Schema from "effect/Schema"

/** A row with this key is there already. `constraint`: the name of the unique constraint or index. */
export class UniqueViolation extends Schema.TaggedError<UniqueViolation>("xdooria/pg/UniqueViolation")(
  "UniqueViolation",
  { constraint: Schema.String }
) {
  get isRetryable(): boolean {
    return false
  }
  get isSafeToRetry(): boolean {
    return true
  }
  override get message(): string {
    return `a row breaks the unique constraint ${this.constraint}`
  }
}

/**
 * A row breaks a rule of its table.
 *
 * - `constraint`: the constraint's name; for `notNull` the column's
 * - `kind`: which sort of rule
 */
export class ConstraintViolation extends Schema.TaggedError<ConstraintViolation>("xdooria/pg/ConstraintViolation")(
  "ConstraintViolation",
  { constraint: Schema.String, kind: Schema.Literals(["foreignKey", "check", "notNull", "exclusion", "other"]) }
) {
  get isRetryable(): boolean {
    return false
  }
  get isSafeToRetry(): boolean {
    return true
  }
  override get message(): string {
    return `a row breaks the ${this.kind} constraint ${this.constraint}`
  }
}

/** Another transaction came first (40001). The whole transaction may be run again; `Pg.transaction` does so. */
export class SerializationFailure extends Schema.TaggedError<SerializationFailure>("xdooria/pg/SerializationFailure")(
  "SerializationFailure",
  {}
) {
  get isRetryable(): boolean {
    return true
  }
  get isSafeToRetry(): boolean {
    return true
  }
  override get message(): string {
    return "the transaction conflicts with another one"
  }
}

/** Two transactions waited for each other and this one was chosen to end (40P01). As SerializationFailure. */
export class Deadlock extends Schema.TaggedError<Deadlock>("xdooria/pg/Deadlock")("Deadlock", {}) {
  get isRetryable(): boolean {
    return true
  }
  get isSafeToRetry(): boolean {
    return true
  }
  override get message(): string {
    return "the transaction and another one waited for each other's locks"
  }
}

/**
 * The type of a table changed since the session prepared this statement (0A000). The session forgets what it prepared,
 * so the whole transaction may be run again; `Pg.transaction` does so.
 */
export class StalePlan extends Schema.TaggedError<StalePlan>("xdooria/pg/StalePlan")("StalePlan", {}) {
  get isRetryable(): boolean {
    return true
  }
  get isSafeToRetry(): boolean {
    return true
  }
  override get message(): string {
    return "a table was changed since the statement was prepared"
  }
}

/** A lock was not to be had within `lock_timeout`, or at once where NOWAIT asked for that (55P03). */
export class LockTimeout extends Schema.TaggedError<LockTimeout>("xdooria/pg/LockTimeout")("LockTimeout", {}) {
  get isRetryable(): boolean {
    return true
  }
  get isSafeToRetry(): boolean {
    return true
  }
  override get message(): string {
    return "a lock was held by another transaction for too long"
  }
}

/** The statement took longer than `statement_timeout` and was undone. It is likely to do so again. */
export class StatementTimeout extends Schema.TaggedError<StatementTimeout>("xdooria/pg/StatementTimeout")(
  "StatementTimeout",
  {}
) {
  get isRetryable(): boolean {
    return false
  }
  get isSafeToRetry(): boolean {
    return true
  }
  override get message(): string {
    return "the statement took longer than statement_timeout"
  }
}

/** Somebody cancelled the statement at the server, such as an operator with pg_cancel_backend; it was undone. */
export class Cancelled extends Schema.TaggedError<Cancelled>("xdooria/pg/Cancelled")("Cancelled", {}) {
  get isRetryable(): boolean {
    return true
  }
  get isSafeToRetry(): boolean {
    return true
  }
  override get message(): string {
    return "the statement was cancelled at the server"
  }
}

/**
 * A value that PostgreSQL cannot take.
 *
 * - `parameter`: which one, from 1, when it was found before anything was sent
 * - `problem`: what is wrong with it, never the value itself: a sentence of ours, or the SQLSTATE (class 22)
 */
export class InvalidInput extends Schema.TaggedError<InvalidInput>("xdooria/pg/InvalidInput")("InvalidInput", {
  parameter: Schema.optionalKey(Schema.Int),
  problem: Schema.String
}) {
  get isRetryable(): boolean {
    return false
  }
  get isSafeToRetry(): boolean {
    return true
  }
  override get message(): string {
    return this.parameter === undefined
      ? `invalid input: ${this.problem}`
      : `parameter ${this.parameter} is ${this.problem}`
  }
}

/** A number outside of the range of its column (22003). */
export class NumericOverflow extends Schema.TaggedError<NumericOverflow>("xdooria/pg/NumericOverflow")(
  "NumericOverflow",
  {}
) {
  get isRetryable(): boolean {
    return false
  }
  get isSafeToRetry(): boolean {
    return true
  }
  override get message(): string {
    return "a number is outside of the range of its column"
  }
}

/** A text longer than its column (22001). */
export class StringTooLong extends Schema.TaggedError<StringTooLong>("xdooria/pg/StringTooLong")("StringTooLong", {}) {
  get isRetryable(): boolean {
    return false
  }
  get isSafeToRetry(): boolean {
    return true
  }
  override get message(): string {
    return "a text is longer than its column"
  }
}

/** An earlier statement of the transaction failed or was interrupted, so nothing of it can be committed (25P02). */
export class TransactionAborted extends Schema.TaggedError<TransactionAborted>("xdooria/pg/TransactionAborted")(
  "TransactionAborted",
  {}
) {
  get isRetryable(): boolean {
    return false
  }
  get isSafeToRetry(): boolean {
    return true
  }
  override get message(): string {
    return "an earlier statement of the transaction failed or was interrupted, so it was rolled back"
  }
}

/** All `max_conns` connections stayed in use for `acquire_timeout`; nothing was sent. */
export class PoolExhausted extends Schema.TaggedError<PoolExhausted>("xdooria/pg/PoolExhausted")("PoolExhausted", {
  maxConns: Schema.Int
}) {
  get isRetryable(): boolean {
    return true
  }
  get isSafeToRetry(): boolean {
    return true
  }
  override get message(): string {
    return `all ${this.maxConns} connections stayed in use for acquire_timeout`
  }
}

/**
 * The server could not be reached, or ended the session before anything could have been applied. `detail`: a code of
 * Node's or PostgreSQL's, such as ECONNREFUSED or 57P03, or a sentence of ours.
 */
export class Unavailable extends Schema.TaggedError<Unavailable>("xdooria/pg/Unavailable")("Unavailable", {
  detail: Schema.String
}) {
  get isRetryable(): boolean {
    return true
  }
  get isSafeToRetry(): boolean {
    return true
  }
  override get message(): string {
    return `no connection (${this.detail})`
  }
}

/**
 * The connection was lost with a statement or a COMMIT in flight, or its result could not be read: it was applied or it
 * was not. Find out, by an id that you wrote along with it, before you do it again. `detail`: as in Unavailable.
 */
export class OutcomeUnknown extends Schema.TaggedError<OutcomeUnknown>("xdooria/pg/OutcomeUnknown")("OutcomeUnknown", {
  detail: Schema.String
}) {
  get isRetryable(): boolean {
    return true
  }
  get isSafeToRetry(): boolean {
    return false
  }
  override get message(): string {
    return `nobody knows whether the statement was applied (${this.detail})`
  }
}

/** TLS was refused by the server, or its certificate by us. `detail`: Node's code, or what the server does not do. */
export class TlsFailed extends Schema.TaggedError<TlsFailed>("xdooria/pg/TlsFailed")("TlsFailed", {
  detail: Schema.String
}) {
  get isRetryable(): boolean {
    return false
  }
  get isSafeToRetry(): boolean {
    return true
  }
  override get message(): string {
    return `no TLS connection (${this.detail})`
  }
}

/** The server does not let this user in: wrong password, unknown user, or no rule in pg_hba.conf (class 28). */
export class Authentication extends Schema.TaggedError<Authentication>("xdooria/pg/Authentication")("Authentication", {
  code: Schema.String
}) {
  get isRetryable(): boolean {
    return false
  }
  get isSafeToRetry(): boolean {
    return true
  }
  override get message(): string {
    return `user or password refused (${this.code})`
  }
}

/** The user may not do this (42501). */
export class PermissionDenied extends Schema.TaggedError<PermissionDenied>("xdooria/pg/PermissionDenied")(
  "PermissionDenied",
  {}
) {
  get isRetryable(): boolean {
    return false
  }
  get isSafeToRetry(): boolean {
    return true
  }
  override get message(): string {
    return "the user may not do this"
  }
}

/** The server has no database of this name (3D000). */
export class DatabaseNotFound extends Schema.TaggedError<DatabaseNotFound>("xdooria/pg/DatabaseNotFound")(
  "DatabaseNotFound",
  {}
) {
  get isRetryable(): boolean {
    return false
  }
  get isSafeToRetry(): boolean {
    return true
  }
  override get message(): string {
    return "the database does not exist"
  }
}

/** The statement does not fit the database: its syntax, or a name or type in it (class 42). `code`: the SQLSTATE. */
export class Syntax extends Schema.TaggedError<Syntax>("xdooria/pg/Syntax")("Syntax", { code: Schema.String }) {
  get isRetryable(): boolean {
    return false
  }
  get isSafeToRetry(): boolean {
    return true
  }
  override get message(): string {
    const absent = this.code === "42P01" || this.code === "42703"
    return `the statement does not fit the database (${this.code}${absent ? ": a table or column is not there; were the migrations run?" : ""})`
  }
}

/** The list of migrations does not fit those that were applied. `problem`: how. */
export class MigrationRefused extends Schema.TaggedError<MigrationRefused>("xdooria/pg/MigrationRefused")(
  "MigrationRefused",
  { problem: Schema.String }
) {
  get isRetryable(): boolean {
    return false
  }
  get isSafeToRetry(): boolean {
    return true
  }
  override get message(): string {
    return this.problem
  }
}

/** PgEmbedded has no server to start. `package`: what to install. */
export class EngineMissing extends Schema.TaggedError<EngineMissing>("xdooria/pg/EngineMissing")("EngineMissing", {
  package: Schema.String
}) {
  get isRetryable(): boolean {
    return false
  }
  get isSafeToRetry(): boolean {
    return true
  }
  override get message(): string {
    return `the embedded server is not installed: run npm install --save-dev ${this.package}`
  }
}

/** PgEmbedded runs as root, must start the server as nobody, and nobody may not enter `path`, a temporary folder. */
export class EngineUnreadable extends Schema.TaggedError<EngineUnreadable>("xdooria/pg/EngineUnreadable")(
  "EngineUnreadable",
  { path: Schema.String }
) {
  get isRetryable(): boolean {
    return false
  }
  get isSafeToRetry(): boolean {
    return true
  }
  override get message(): string {
    return `PostgreSQL does not run as root, and the user nobody cannot enter ${this.path}: run chmod o+x on it, set TMPDIR to another folder, or run as an ordinary user`
  }
}

/**
 * The embedded server did not start.
 *
 * - `step`: which program, or `temporary folder`
 * - `detail`: the last lines that the program wrote; for the folder the system's code and the path
 */
export class EngineFailed extends Schema.TaggedError<EngineFailed>("xdooria/pg/EngineFailed")("EngineFailed", {
  step: Schema.String,
  detail: Schema.String
}) {
  get isRetryable(): boolean {
    return false
  }
  get isSafeToRetry(): boolean {
    return true
  }
  override get message(): string {
    return `the embedded server did not start: ${this.step}: ${this.detail}`
  }
}

/** An error of the server's that this room has no reason for. `code`: the SQLSTATE. The statement was undone. */
export class Unclassified extends Schema.TaggedError<Unclassified>("xdooria/pg/Unclassified")("Unclassified", {
  code: Schema.String
}) {
  get isRetryable(): boolean {
    return false
  }
  get isSafeToRetry(): boolean {
    return true
  }
  override get message(): string {
    return `the server reported ${this.code}`
  }
}

/** Why a call to PostgreSQL failed. */
export const PgErrorReason = Schema.Union([
  UniqueViolation,
  ConstraintViolation,
  SerializationFailure,
  Deadlock,
  StalePlan,
  LockTimeout,
  StatementTimeout,
  Cancelled,
  InvalidInput,
  NumericOverflow,
  StringTooLong,
  TransactionAborted,
  PoolExhausted,
  Unavailable,
  OutcomeUnknown,
  TlsFailed,
  Authentication,
  PermissionDenied,
  DatabaseNotFound,
  Syntax,
  MigrationRefused,
  EngineMissing,
  EngineUnreadable,
  EngineFailed,
  Unclassified
])

/** See {@link PgErrorReason}. */
export type PgErrorReason = typeof PgErrorReason.Type
