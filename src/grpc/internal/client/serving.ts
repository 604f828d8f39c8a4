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

/** How long after the end of a watch the next one begins. */
const pause = Duration.seconds(1)

/**
 * Follows what the health service of an instance says of a service, for ever. One without a health service counts as
 * serving; as long as one does not say anything, nothing is known of it.
 */
export const follow = (
  connection: Connection,
  service: string,
  said: (serving: boolean | undefined) => void
): Effect.Effect<never> =>
  Effect.forever(
    Effect.gen(function* () {
      yield* ready(connection)
      const code = yield* watch(connection, service, said)
      said(code === unimplemented || undefined)
      // It can have one after a restart.
      yield* Effect.sleep(Duration.times(pause, yield* Random.nextBetween(0.8, 1.2)))
    })
  )
