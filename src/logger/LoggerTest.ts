import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as EffectLogger from "effect/Logger"
import * as References from "effect/References"
import { makeEncoder } from "./internal/line.ts"
import type { LogLine } from "./Logger.ts"

/** What was logged below {@link LoggerTest}. */
export class LogRecorder extends Context.Service<
  LogRecorder,
  {
    /** All lines so far. */
    readonly lines: Effect.Effect<ReadonlyArray<LogLine>>
    /** The first line that the test is looking for; waits until it is logged. */
    readonly find: (isWanted: (line: LogLine) => boolean) => Effect.Effect<LogLine>
  }
>()("xdooria/logger/LogRecorder") {}

interface Search {
  readonly isWanted: (line: LogLine) => boolean
  readonly found: Deferred.Deferred<LogLine>
}

const layer = Effect.sync(() => {
  const lines: Array<LogLine> = []
  const searches = new Set<Search>()
  const encode = makeEncoder("test", "json", false)
  const logger = EffectLogger.make((options) => {
    // What is recorded went through the real encoder: it is what a reader of the log would get.
    const line = JSON.parse(encode(options)) as LogLine
    lines.push(line)
    for (const search of searches) {
      if (search.isWanted(line)) Deferred.doneUnsafe(search.found, Effect.succeed(line))
    }
  })
  const recorder: LogRecorder["Service"] = {
    lines: Effect.sync(() => [...lines]),
    find: (isWanted) =>
      Effect.suspend(() => {
        const line = lines.find(isWanted)
        if (line !== undefined) return Effect.succeed(line)
        const search = { isWanted, found: Deferred.makeUnsafe<LogLine>() }
        searches.add(search)
        return Effect.ensuring(
          Deferred.await(search.found),
          Effect.sync(() => searches.delete(search))
        )
      })
  }
  return Layer.mergeAll(
    Layer.succeed(LogRecorder, recorder),
    EffectLogger.layer([logger]),
    Layer.succeed(References.MinimumLogLevel, "Trace")
  )
})

/** Records every line from `trace` on, as values, and writes none. For tests. */
export const LoggerTest: Layer.Layer<LogRecorder> = Layer.unwrap(layer)
