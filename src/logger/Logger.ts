import * as Metric from "effect/Metric"
import * as Schema from "effect/Schema"
import * as Config from "../config/Config.ts"

/** The levels that can be chosen; a line below the chosen one costs next to nothing and is not written. */
export const Level = Schema.Literals(["debug", "info", "warn", "error"])

/** See {@link Level}. */
export type Level = typeof Level.Type

/** How a line looks: one JSON object for machines, or `time LEVEL message key=value` for people. */
export const Format = Schema.Literals(["json", "console"])

/** See {@link Format}. */
export type Format = typeof Format.Type

/** Section `log`. In prod the level `debug` is refused: it is the one that shows what players do. */
export const LogConfig = Config.section(
  "log",
  {
    level: Level.pipe(Config.withDefault("info"), Schema.annotate({ description: "The lowest level that is written" })),
    format: Format.pipe(
      Config.withDefault("json"),
      Schema.annotate({ description: "One JSON object a line, or text for people" })
    ),
    outputPath: Schema.String.pipe(
      Config.withDefault(""),
      Schema.annotate({ description: "A file that gets every line beside stdout, its folder is made; empty for none" })
    )
  },
  ({ level }, env) =>
    env === "prod" && level === "debug" ? [{ field: "level", expected: "info or above in prod" }] : []
)

/**
 * A line as a value: what a reader of the log gets after `JSON.parse`.
 *
 * - `level`: `trace`, `debug`, `info`, `warn`, `error` or `fatal`
 * - `time`: ISO 8601 in UTC with milliseconds
 * - `caller`: `folder/file.ts:line`, for `warn` and above, inside of an `Effect.fn` or a span
 * - `trace_id`, `span_id`: of the current span
 * - `error`, `stacktrace`: of the cause or the error that was logged
 *
 * and every annotation and field under its own name. A field whose name is taken gets a `_` at its end.
 */
export interface LogLine {
  readonly level: string
  readonly time: string
  readonly msg: string
  readonly service: string
  readonly caller?: string
  readonly trace_id?: string
  readonly span_id?: string
  readonly error?: string
  readonly stacktrace?: string
  readonly [field: string]: unknown
}

/** Takes lines, each with its line break. Neither waits nor throws. */
export interface LogSink {
  readonly write: (line: string) => void
}

/** Counts the lines that could not be written, by `sink`: `stdout` or `file`. */
export const droppedLines = Metric.counter("log_lines_dropped_total", {
  description: "Log lines that could not be written",
  incremental: true
})
