import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Health } from "xdooria/health"
import { HealthLive } from "xdooria/health/live"

// What a room does: it reports its own state, whoever reads it.
const room = Effect.gen(function* () {
  yield* Health.report("pg", { status: "down", detail: "localhost:5432 does not answer" })
  yield* Health.report("redis", { status: "up" })
})

// What a reader does: it gets the states now, and again after every change.
const reader = Effect.gen(function* () {
  const { changes } = yield* Health.Reporter
  const [states] = yield* Stream.runCollect(Stream.take(changes, 1))
  yield* Console.log(Health.isUp(states!) ? "SERVING" : "NOT_SERVING", [...states!.keys()].join(" "))
})

await Effect.runPromise(Effect.andThen(room, reader).pipe(Effect.provide(HealthLive)))
