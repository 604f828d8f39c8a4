// npm run bench -- logger: a log line of the room, written to nothing, against Effect's own JSON logger and no logger.
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import { layerLive } from "xdooria/logger/live"
import * as Bench from "../bench/Bench.ts"

const call = Effect.logInfo("player moved", { x: 3, zone: "z1" }).pipe(
  Effect.annotateLogs({ player_id: "p1234567", method: "/game.GameService/Move" })
)

const load = <E>(layer: Layer.Layer<never, E>) =>
  Effect.map(Layer.build(layer), (context) => Bench.fibers(1, Effect.provide(call, context)))

/** Takes a line and forgets it. */
const sink = { write: (_line: string) => undefined }

const options = { service: "game", level: "info", outputPath: "", sink } as const

export default [
  Bench.clients({
    name: "log line",
    baseline: "Effect formatJson",
    candidates: {
      "Effect formatJson": load(Logger.layer([Logger.map(Logger.formatJson, (line) => sink.write(line))])),
      "room, json": load(layerLive({ ...options, format: "json" })),
      "room, console": load(layerLive({ ...options, format: "console" })),
      "room, level off": load(layerLive({ ...options, format: "json", level: "warn" })),
      "no logger": load(Logger.layer([]))
    },
    targets: { "room, json": { throughput: 1.5 } }
  })
]
