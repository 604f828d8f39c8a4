import * as Schema from "effect/Schema"
import * as Reason from "../utils/Reason.ts"

/** A row with this key is there already. `constraint`: the name of the unique constraint or index. */
export class UniqueViolation extends Reason.permanent<UniqueViolation>("xdooria/pg/UniqueViolation")(
  "UniqueViolation",
  { constraint: Schema.String }
) {
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
export class ConstraintViolation extends Reason.permanent<ConstraintViolation>("xdooria/pg/ConstraintViolation")(
  "ConstraintViolation",
  { constraint: Schema.String, kind: Schema.Literals(["foreignKey", "check", "notNull", "exclusion", "other"]) }
) {
  override get message(): string {
    return `a row breaks the ${this.kind} constraint ${this.constraint}`
  }
}

/** Another transaction came first (40001). The whole transaction may be run again; `Pg.transaction` does so. */
export class SerializationFailure extends Reason.transient<SerializationFailure>("xdooria/pg/SerializationFailure")(
  "SerializationFailure",
  {}
) {
  override get message(): string {
    return "the transaction conflicts with another one"
  }
}

/** Two transactions waited for each other and this one was chosen to end (40P01). As SerializationFailure. */
export class Deadlock extends Reason.transient<Deadlock>("xdooria/pg/Deadlock")("Deadlock", {}) {
  override get message(): string {
    return "the transaction and another one waited for each other's locks"
  }
}

/**
 * The type of a table changed since the session prepared this statement (0A000). The session forgets what it prepared,
 * so the whole transaction may be run again; `Pg.transaction` does so.
 */
export class StalePlan extends Reason.transient<StalePlan>("xdooria/pg/StalePlan")("StalePlan", {}) {
  override get message(): string {
    return "a table was changed since the statement was prepared"
  }
}

/** A lock was not to be had within `lock_timeout`, or at once where NOWAIT asked for that (55P03). */
export class LockTimeout extends Reason.transient<LockTimeout>("xdooria/pg/LockTimeout")("LockTimeout", {}) {
  override get message(): string {
    return "a lock was held by another transaction for too long"
  }
}

/** The statement took longer than `statement_timeout` and was undone. It is likely to do so again. */
export class StatementTimeout extends Reason.permanent<StatementTimeout>("xdooria/pg/StatementTimeout")(
  "StatementTimeout",
  {}
) {
  override get message(): string {
    return "the statement took longer than statement_timeout"
  }
}

/** Somebody cancelled the statement at the server, such as an operator with pg_cancel_backend; it was undone. */
export class Cancelled extends Reason.transient<Cancelled>("xdooria/pg/Cancelled")("Cancelled", {}) {
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
export class InvalidInput extends Reason.permanent<InvalidInput>("xdooria/pg/InvalidInput")("InvalidInput", {
  parameter: Schema.optionalKey(Schema.Int),
  problem: Schema.String
}) {
  override get message(): string {
    return this.parameter === undefined
      ? `invalid input: ${this.problem}`
      : `parameter ${this.parameter} is ${this.problem}`
  }
}

/** A number outside of the range of its column (22003). */
export class NumericOverflow extends Reason.permanent<NumericOverflow>("xdooria/pg/NumericOverflow")(
  "NumericOverflow",
  {}
) {
  override get message(): string {
    return "a number is outside of the range of its column"
  }
}

/** A text longer than its column (22001). */
export class StringTooLong extends Reason.permanent<StringTooLong>("xdooria/pg/StringTooLong")("StringTooLong", {}) {
  override get message(): string {
    return "a text is longer than its column"
  }
}

/** An earlier statement of the transaction failed or was interrupted, so nothing of it can be committed (25P02). */
export class TransactionAborted extends Reason.permanent<TransactionAborted>("xdooria/pg/TransactionAborted")(
  "TransactionAborted",
  {}
) {
  override get message(): string {
    return "an earlier statement of the transaction failed or was interrupted, so it was rolled back"
  }
}

/** All `max_conns` connections stayed in use for `acquire_timeout`; nothing was sent. */
export class PoolExhausted extends Reason.transient<PoolExhausted>("xdooria/pg/PoolExhausted")("PoolExhausted", {
  maxConns: Schema.Int
}) {
  override get message(): string {
    return `all ${this.maxConns} connections stayed in use for acquire_timeout`
  }
}

/**
 * The server could not be reached, or ended the session before anything could have been applied. `detail`: a code of
 * Node's or PostgreSQL's, such as ECONNREFUSED or 57P03, or a sentence of ours.
 */
export class Unavailable extends Reason.transient<Unavailable>("xdooria/pg/Unavailable")("Unavailable", {
  detail: Schema.String
}) {
  override get message(): string {
    return `no connection (${this.detail})`
  }
}

/**
 * The connection was lost with a statement or a COMMIT in flight, or its result could not be read: it was applied or it
 * was not. Find out, by an id that you wrote along with it, before you do it again. `detail`: as in Unavailable.
 */
export class OutcomeUnknown extends Reason.ambiguous<OutcomeUnknown>("xdooria/pg/OutcomeUnknown")("OutcomeUnknown", {
  detail: Schema.String
}) {
  override get message(): string {
    return `nobody knows whether the statement was applied (${this.detail})`
  }
}

/** TLS was refused by the server, or its certificate by us. `detail`: Node's code, or what the server does not do. */
export class TlsFailed extends Reason.permanent<TlsFailed>("xdooria/pg/TlsFailed")("TlsFailed", {
  detail: Schema.String
}) {
  override get message(): string {
    return `no TLS connection (${this.detail})`
  }
}

/** The server does not let this user in: wrong password, unknown user, or no rule in pg_hba.conf (class 28). */
export class Authentication extends Reason.permanent<Authentication>("xdooria/pg/Authentication")("Authentication", {
  code: Schema.String
}) {
  override get message(): string {
    return `user or password refused (${this.code})`
  }
}

/** The user may not do this (42501). */
export class PermissionDenied extends Reason.permanent<PermissionDenied>("xdooria/pg/PermissionDenied")(
  "PermissionDenied",
  {}
) {
  override get message(): string {
    return "the user may not do this"
  }
}

/** The server has no database of this name (3D000). */
export class DatabaseNotFound extends Reason.permanent<DatabaseNotFound>("xdooria/pg/DatabaseNotFound")(
  "DatabaseNotFound",
  {}
) {
  override get message(): string {
    return "the database does not exist"
  }
}

/** The statement does not fit the database: its syntax, or a name or type in it (class 42). `code`: the SQLSTATE. */
export class Syntax extends Reason.permanent<Syntax>("xdooria/pg/Syntax")("Syntax", { code: Schema.String }) {
  override get message(): string {
    const absent = this.code === "42P01" || this.code === "42703"
    return `the statement does not fit the database (${this.code}${absent ? ": a table or column is not there; were the migrations run?" : ""})`
  }
}

/** The list of migrations does not fit those that were applied. `problem`: how. */
export class MigrationRefused extends Reason.permanent<MigrationRefused>("xdooria/pg/MigrationRefused")(
  "MigrationRefused",
  { problem: Schema.String }
) {
  override get message(): string {
    return this.problem
  }
}

/** PgEmbedded has no server to start. `package`: what to install. */
export class EngineMissing extends Reason.permanent<EngineMissing>("xdooria/pg/EngineMissing")("EngineMissing", {
  package: Schema.String
}) {
  override get message(): string {
    return `the embedded server is not installed: run npm install --save-dev ${this.package}`
  }
}

/** PgEmbedded runs as root, must start the server as nobody, and nobody may not enter `path`, a temporary folder. */
export class EngineUnreadable extends Reason.permanent<EngineUnreadable>("xdooria/pg/EngineUnreadable")(
  "EngineUnreadable",
  { path: Schema.String }
) {
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
export class EngineFailed extends Reason.permanent<EngineFailed>("xdooria/pg/EngineFailed")("EngineFailed", {
  step: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    return `the embedded server did not start: ${this.step}: ${this.detail}`
  }
}

/** An error of the server's that this room has no reason for. `code`: the SQLSTATE. The statement was undone. */
export class Unclassified extends Reason.permanent<Unclassified>("xdooria/pg/Unclassified")("Unclassified", {
  code: Schema.String
}) {
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
