// A server that only resets the stream of a call, as one of grpc-go does that is at the deadline before the client is.
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as http2 from "node:http2"
import type { AddressInfo } from "node:net"
import { vi } from "vitest"
import type { GrpcError } from "xdooria/grpc"
import { dial } from "./Game.ts"

/** Resets every call when `before` has run; gives its address. */
const resetting = (before: () => void) =>
  Effect.acquireRelease(
    Effect.callback<http2.Http2Server>((resume) => {
      const server = http2.createServer()
      server.on("stream", (stream) => {
        before()
        stream.close(http2.constants.NGHTTP2_CANCEL)
      })
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.sync(() => server.close())
  ).pipe(Effect.map((server) => `127.0.0.1:${(server.address() as AddressInfo).port}`))

/** The system's clock, which the driver's deadlines are on, in the hands of the test; timers go on. */
const systemClock = Effect.acquireRelease(
  Effect.sync(() => vi.useFakeTimers({ toFake: ["Date"] })),
  () => Effect.sync(() => vi.useRealTimers())
)

describe("a call whose stream is reset", () => {
  for (const [when, millis, tags] of [
    ["after its deadline has exceeded it", 60_000, ["DeadlineExceeded", "OutcomeUnknown DEADLINE_EXCEEDED"]],
    ["before its deadline has not", 0, ["Unavailable", "OutcomeUnknown CANCELLED"]]
  ] as const) {
    it.live(when, () =>
      Effect.gen(function* () {
        yield* systemClock
        const address = yield* resetting(() => vi.setSystemTime(Date.now() + millis))
        const { gainExp, getPlayer } = yield* dial(address, { deadline: Duration.seconds(50), maxAttempts: 1 })
        const reasons = [
          yield* Effect.flip(getPlayer({ playerId: "p1" })),
          yield* Effect.flip(gainExp({ playerId: "p1", requestId: "r1", amount: 1n }))
        ].map((error) => (error as GrpcError).reason)
        assert.deepStrictEqual(
          reasons.map((reason) => ("code" in reason ? `${reason._tag} ${reason.code}` : reason._tag)),
          [...tags]
        )
      })
    )
  }
})
