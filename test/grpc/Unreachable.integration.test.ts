// What a client says of a target that has no instance for a call.
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Grpc, GrpcError, type GrpcErrorReason } from "xdooria/grpc"
import { LoggerTest } from "xdooria/logger"
import * as Fake from "./FakeTransport.ts"
import { dial, GameApi } from "./Game.ts"

const reasonOf = (game: Grpc.Client<typeof GameApi>): Effect.Effect<GrpcErrorReason> =>
  Effect.map(Effect.flip(game.healthCheck({})) as Effect.Effect<unknown>, (error) => {
    assert.instanceOf(error, GrpcError)
    return error.reason
  })

describe("Unavailable", () => {
  it.live("names what was tried, and why it is not reached", () =>
    Effect.gen(function* () {
      // Ports that nobody listens on.
      const two = yield* reasonOf(yield* dial("127.0.0.1:1,127.0.0.1:2"))
      assert.include(two, {
        _tag: "Unavailable",
        details: "no endpoint can be reached or serves: 127.0.0.1:1 ECONNREFUSED, 127.0.0.1:2 ECONNREFUSED"
      })
      assert.notInclude(two.message, "ECONNREFUSED")
      const many = yield* reasonOf(yield* dial("127.0.0.1:1,127.0.0.1:2,127.0.0.1:3,127.0.0.1:4,127.0.0.1:5"))
      assert.match((many as { readonly details: string }).details, /, 127\.0\.0\.1:3 ECONNREFUSED and 2 more$/)
    }).pipe(Effect.provide(LoggerTest))
  )

  it.effect("names who does not serve, and who is not reached for no known reason", () =>
    Effect.gen(function* () {
      const { network, to } = yield* Fake.make()
      network.stateOf = (address) => (address === "10.0.0.1:1" ? "ready" : "failing")
      // NOT_SERVING in answer to a Watch, that goes on.
      network.behaviourOf =
        () =>
        ({ listener }) =>
          listener.onMessage(Buffer.from([8, 2]))
      const target = Grpc.endpoints(["10.0.0.1:1", "10.0.0.2:1"])
      const game = yield* to(GameApi, { target, onlyServing: true })
      assert.include(yield* reasonOf(game), {
        _tag: "Unavailable",
        details: "no endpoint can be reached or serves: 10.0.0.1:1 NOT_SERVING, 10.0.0.2:1 no connection"
      })
    })
  )
})
