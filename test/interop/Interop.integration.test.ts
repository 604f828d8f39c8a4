// The cases of gRPC's official interop client (grpc-go's), on ours and on bare grpc-js. Those that are not here need
// credentials or a load balancer of the client's own. The compression of single messages is not among the cases of this
// client: grpc-js cannot compress a response, nor tell whether a request was compressed.
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { LoggerTest } from "xdooria/logger"
import * as RealServer from "../support/RealServer.ts"
import * as Bare from "./bare.ts"
import * as Peer from "./Peer.ts"
import * as TestService from "./TestService.ts"

const cases = [
  "empty_unary",
  "large_unary",
  "client_streaming",
  "server_streaming",
  "ping_pong",
  "empty_stream",
  "timeout_on_sleeping_server",
  "cancel_after_begin",
  "cancel_after_first_response",
  "custom_metadata",
  "status_code_and_message",
  "special_status_message",
  "unimplemented_method",
  "unimplemented_service"
]

const servers = {
  ours: Effect.map(TestService.serve(), ({ address }) => address),
  "bare grpc-js": Bare.serve
}

RealServer.suite("goPeer", "the official interop client", ({ program }) => {
  for (const [name, serve] of Object.entries(servers)) {
    for (const one of cases) {
      it.live(`${one} passes on ${name}`, () =>
        Effect.gen(function* () {
          const { code, errors } = yield* Peer.run(program, ["interop", one, yield* serve])
          assert.strictEqual(code, 0, errors)
        }).pipe(Effect.provide(LoggerTest))
      )
    }
  }

  it.live("fails a server that is not one", () =>
    Effect.gen(function* () {
      const { code, errors } = yield* Peer.run(program, ["interop", "empty_unary", "127.0.0.1:1"])
      assert.deepStrictEqual([code, /connection refused/.test(errors)], [1, true])
    })
  )
})
