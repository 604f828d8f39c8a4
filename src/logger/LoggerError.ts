import * as Schema from "effect/Schema"

/** The file of `log.output_path` cannot be opened for appending: `code` is that of the system, such as `EACCES`. */
export class Unwritable extends Schema.TaggedError<Unwritable>("xdooria/logger/Unwritable")("Unwritable", {
  path: Schema.String,
  code: Schema.String
}) {
  get isRetryable(): boolean {
    return true
  }
  get isSafeToRetry(): boolean {
    return true
  }
  override get message(): string {
    return `cannot append to the log file ${this.path} (${this.code}): check log.output_path and its permissions`
  }
}

/** Why the logger could not start. */
export const LoggerErrorReason = Schema.Union([Unwritable])

/** See {@link LoggerErrorReason}. */
export type LoggerErrorReason = typeof LoggerErrorReason.Type

/** The error of room logger. Only a start can fail: once it runs, what cannot be written is counted. */
export class LoggerError extends Schema.TaggedError<LoggerError>("xdooria/logger/LoggerError")("LoggerError", {
  reason: LoggerErrorReason
}) {
  get isRetryable(): boolean {
    return this.reason.isRetryable
  }
  get isSafeToRetry(): boolean {
    return this.reason.isSafeToRetry
  }
  override get message(): string {
    return this.reason.message
  }
}
