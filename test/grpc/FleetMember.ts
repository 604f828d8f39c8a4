// A server process of a fleet: at each order it serves the test services, notes what it applied, and stops on SIGTERM.
// Started by test/support/Child.ts.
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { GrpcServer } from "xdooria/grpc"
import { layerServerLive } from "xdooria/grpc/live"
import { LoggerTest } from "xdooria/logger"
import { appendFileSync } from "node:fs"
import { handlers, player, response, streamHandlers } from "./Game.ts"

/**
 * - `file`: where it notes the request ids of what it applied, one on each line
 * - `drainSeconds`, `graceSeconds`: how it stops
 */
export interface Settings {
  readonly file: string
  readonly drainSeconds: number
  readonly graceSeconds: number
}

export type Report = { readonly at: "loaded" | "stopped" } | { readonly at: "listening"; readonly address: string }

const settings = JSON.parse(process.argv[2]!) as Settings

const tell = (report: Report) => Effect.sync(() => void process.send!(report))

/** What a handler takes. */
const work = Effect.sleep("20 millis")

const served = [
  handlers({
    getPlayer: ({ playerId }: { readonly playerId: string }) => Effect.as(work, response(playerId)),
    gainExp: ({ requestId }: { readonly requestId: string }) =>
      Effect.andThen(
        work,
        Effect.sync(() => {
          appendFileSync(settings.file, `${requestId}\n`)
          return { player: player("p1"), levelsGained: 0 }
        })
      )
  }),
  streamHandlers({
    watch: ({ playerId }: { readonly playerId: string }) =>
      Stream.fromEffectSchedule(Effect.succeed(response(playerId)), Schedule.spaced("100 millis"))
  })
] as const

const server = (port: number) =>
  GrpcServer.serve(...served).pipe(
    Layer.provideMerge(
      layerServerLive({
        port,
        env: "test",
        drainDelay: Duration.seconds(settings.drainSeconds),
        grace: Duration.seconds(settings.graceSeconds)
      })
    ),
    Layer.provide(LoggerTest)
  )

const ordered = Effect.callback<void>((resume) => {
  process.once("message", () => resume(Effect.void))
})

const terminated = Effect.callback<void>((resume) => {
  process.once("SIGTERM", () => resume(Effect.void))
})

/** Serves once, on a port that it keeps. */
const serve = (port: number) =>
  Effect.gen(function* () {
    yield* ordered
    const address = yield* Effect.scoped(
      Effect.gen(function* () {
        const context = yield* Layer.build(server(port))
        const address = yield* Context.get(context, GrpcServer).address
        yield* tell({ at: "listening", address })
        yield* terminated
        return address
      })
    )
    yield* tell({ at: "stopped" })
    return Number(address.split(":")[1])
  })

// It does not outlive the test that started it.
process.once("disconnect", () => process.exit())

await Effect.runPromise(
  Effect.gen(function* () {
    yield* tell({ at: "loaded" })
    let port = 0
    for (;;) port = yield* serve(port)
  })
)
