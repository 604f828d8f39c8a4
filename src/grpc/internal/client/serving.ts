import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import { HealthCheckResponse_ServingStatus, HealthService } from "../../../gen/grpc/health/v1/health.ts"
import type { Connection } from "../transport.ts"

const { path, requestSerialize, responseDeserialize } = HealthService.watch

const unimplemented = 12

const isServing = (response: Buffer): boolean =>
  Result.getOrElse(
    Result.try(() => responseDeserialize(response).status === HealthCheckResponse_ServingStatus.SERVING),
    () => false
  )

/** Watches until the stream ends; gives its status. */
const watch = (connection: Connection, service: string, said: (serving: boolean) => void): Effect.Effect<number> =>
  Effect.callback((resume) => {
    const call = connection.open(path, [], Infinity, {
      onHeaders: () => {},
      onMessage: (response) => {
        said(isServing(response))
        call.read()
      },
      onEnd: ({ code }) => resume(Effect.succeed(code))
    })
    call.read()
    call.send(requestSerialize({ service }), () => {})
    call.halfClose()
    return Effect.sync(() => call.cancel())
  })

const ready = (connection: Connection): Effect.Effect<void> =>
  Effect.callback((resume) => {
    if (connection.connectivity() === "ready") return resume(Effect.void)
    const stop = connection.onChange((now) => {
      if (now === "ready") resume(Effect.void)
    })
    return Effect.sync(stop)
  })

/** How long after the end of a watch the next one begins, and how long one may say nothing at first. */
const [pause, patience] = [Duration.seconds(1), Duration.seconds(1)]

/** With these a watch ends that may go on elsewhere: OK, CANCELLED, DEADLINE_EXCEEDED, UNAVAILABLE. */
const ends: ReadonlySet<number> = new Set([0, 1, 4, 14])

/**
 * Follows what the health service of an instance says of a service, for ever. One without a health service counts as
 * serving. Its last word holds from the end of a watch to the next, but not over the loss of its connection; one that
 * refuses to tell, or says nothing for a second, counts as not serving.
 */
export const follow = (
  connection: Connection,
  service: string,
  said: (serving: boolean | undefined) => void
): Effect.Effect<never> => {
  let missed = false
  return Effect.forever(
    Effect.gen(function* () {
      yield* ready(connection)
      let heard = false
      const hear = (serving: boolean) => {
        heard = true
        said(serving)
      }
      const mute = Effect.andThen(
        Effect.sleep(patience),
        Effect.suspend(() => {
          if (!heard) said(false)
          return Effect.never
        })
      )
      const code = yield* Effect.raceFirst(watch(connection, service, hear), mute)
      if (code === unimplemented) said(true)
      else if (!ends.has(code) || (!heard && missed)) said(false)
      else if (connection.connectivity() !== "ready") said(undefined)
      missed = !heard
      // It can have one after a restart.
      yield* Effect.sleep(Duration.times(pause, yield* Random.nextBetween(0.8, 1.2)))
    })
  )
}
