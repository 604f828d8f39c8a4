import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { ConfigTest } from "xdooria/config"
import { LoggerLive } from "xdooria/logger/live"

const program = Effect.gen(function* () {
  // A text, and fields of this line.
  yield* Effect.logInfo("player moved", { x: 3, y: 4, token: Redacted.make("secret") })
  // A cause gives the line an error and a stacktrace.
  yield* Effect.logError("save failed", Cause.fail(new Error("disk full")))
}).pipe(
  // Fields of every line inside.
  Effect.annotateLogs({ player_id: "p1" })
)

// A service has ConfigLive("game") here.
const settings = ConfigTest({ server: { name: "game" }, log: { level: "info", format: "json" } })

await Effect.runPromise(Effect.provide(program, LoggerLive.pipe(Layer.provide(settings))))
