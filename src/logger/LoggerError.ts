import * as Schema from "effect/Schema"
import * as Reason from "../utils/Reason.ts"

/** The file of `log.output_path` cannot be opened for appending: `code` is that of the system, such as `EACCES`. */
export class Unwritable extends Reason.transient<Unwritable>("xdooria/logger/Unwritable")("Unwritable", {
  path: Schema.String,
  code: Schema.String
}) {
  override get message(): string {
    return `cannot append to the log file ${this.path} (${this.code}): check log.output_path and its permissions`
  }
}

/** Why the logger could not start. */
export const LoggerErrorReason = Schema.Union([Unwritable])

/** See {@link LoggerErrorReason}. */
export type LoggerErrorReason = typeof LoggerErrorReason.Type

/** The error of room logger. Only a start can fail: once it runs, what cannot be written is counted. */
export class LoggerError extends Reason.error<LoggerError>("xdooria/logger/LoggerError")("LoggerError", {
  reason: LoggerErrorReason
}) {
  override get message(): string {
    return this.reason.message
  }
}
