import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as EffectLogger from "effect/Logger"
import type * as LogLevel from "effect/LogLevel"
import * as Metric from "effect/Metric"
import * as References from "effect/References"
import type * as Scope from "effect/Scope"
import * as Config from "../config/Config.ts"
import type { InvalidConfig } from "../config/ConfigError.ts"
import { makeEncoder } from "./internal/line.ts"
import { makeSink, type Target } from "./internal/sink.ts"
import * as target from "./internal/target.ts"
import { droppedLines, type Format, type Level, LogConfig, type LogSink } from "./Logger.ts"
import type { LoggerError } from "./LoggerError.ts"

/**
 * How lines are written.
 *
 * - `service`: on every line
 * - `level`: the lowest that is written
 * - `format`: on stdout and in the file
 * - `outputPath`: a file beside stdout; empty for none
 * - `sink`: takes the lines instead of stdout and the file
 */
export interface LoggerOptions {
  readonly service: string
  readonly level: Level
  readonly format: Format
  readonly outputPath: string
  readonly sink?: LogSink
}

const minimumLevels: Readonly<Record<Level, LogLevel.LogLevel>> = {
  debug: "Debug",
  info: "Info",
  warn: "Warn",
  error: "Error"
}

/**
 * Makes the logger. It writes in the background: a process that is killed loses the lines of the last 100 ms and the
 * write under way; one that ends loses none, for the scope writes them, in 2 seconds at most.
 *
 * Lines that cannot be written are counted in `log_lines_dropped_total`, and stderr is told once until writing works
 * again; nothing waits for them. A file that was moved or removed is made again.
 *
 * Fails with `Unwritable` when the file cannot be opened.
 */
export const makeLive = (
  options: LoggerOptions
): Effect.Effect<EffectLogger.Logger<unknown, void>, LoggerError, Scope.Scope> =>
  Effect.gen(function* () {
    const encode = makeEncoder(options.service, options.format, false)
    if (options.sink !== undefined) {
      const { sink } = options
      return EffectLogger.make((line) => sink.write(encode(line)))
    }
    const isTerminal = options.format === "console" && process.stdout.isTTY
    const out = yield* sinkOn("stdout", target.stream(process.stdout))
    const encodeOut = isTerminal ? makeEncoder(options.service, options.format, true) : encode
    if (options.outputPath === "") return EffectLogger.make((line) => out.write(encodeOut(line)))
    const file = yield* sinkOn("file", yield* target.file(options.outputPath))
    return EffectLogger.make((line) => {
      const text = encode(line)
      file.write(text)
      out.write(isTerminal ? encodeOut(line) : text)
    })
  })

const sinkOn = (name: string, to: Target): Effect.Effect<LogSink, never, Scope.Scope> =>
  Effect.flatMap(Effect.context<never>(), (context) => {
    const dropped = Metric.withAttributes(droppedLines, { sink: name })
    const stderr = target.stream(process.stderr)
    return makeSink(to, (lines, code, first) => {
      dropped.updateUnsafe(lines, context)
      if (first) void stderr.write(nothing, Buffer.from(`xdooria: log lines are lost, ${name} fails (${code})\n`))
    })
  })

const nothing = Buffer.alloc(0)

/** Writes every log line of the effects below it, as {@link makeLive} does, from the given level on. */
export const layerLive = (options: LoggerOptions): Layer.Layer<never, LoggerError> =>
  Layer.merge(
    EffectLogger.layer([makeLive(options)]),
    Layer.succeed(References.MinimumLogLevel, minimumLevels[options.level])
  )

/**
 * Writes every log line to stdout, and to a file when `log.output_path` names one, in place of Effect's own loggers;
 * then tells what the configuration warns about. Reads the sections `log` and `server`. See {@link makeLive} for what
 * it promises and fails with.
 */
export const LoggerLive: Layer.Layer<never, LoggerError | InvalidConfig> = Layer.unwrap(
  Effect.gen(function* () {
    const log = yield* Config.get(LogConfig)
    const { name } = yield* Config.get(Config.ServerConfig)
    return Layer.effectDiscard(logWarnings).pipe(Layer.provideMerge(layerLive({ ...log, service: name })))
  })
)

const logWarnings = Effect.flatMap(Effect.service(Config.Current), ({ warnings }) =>
  Effect.forEach(warnings, (warning) => Effect.logWarning("configuration", warning), { discard: true })
)
