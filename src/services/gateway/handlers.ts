import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import { requireRole } from "../../auth/Auth.ts"
import { Principal } from "../../grpc/Authenticator.ts"
import * as Grpc from "../../grpc/Grpc.ts"
import { Session } from "../../session/Session.ts"
import { GatewayApi } from "./api.ts"
import { Connections } from "./Connections.ts"
import { toUnavailable } from "./errors.ts"
import { Push } from "./Push.ts"

/** The methods of the gateway itself, on {@link Connections}, {@link Push} and room session. */
export const GatewayHandlers = Grpc.handlers(
  GatewayApi,
  Effect.gen(function* () {
    const connections = yield* Connections
    const push = yield* Push
    const session = yield* Session
    return {
      healthCheck: () => Effect.succeed({ status: "SERVING" }),
      connect: connections.connect,
      getPresence: Effect.fnUntraced(
        function* ({ playerId }) {
          const { lastSeen, online } = yield* session.presence(playerId || (yield* Principal).playerId)
          return {
            online,
            lastSeen: BigInt(lastSeen === undefined ? 0 : Math.floor(DateTime.toEpochMillis(lastSeen) / 1000))
          }
        },
        Effect.catchTag("SessionError", toUnavailable)
      ),
      push: Effect.fnUntraced(
        function* ({ payload, playerId, topic }) {
          yield* requireRole("admin")
          return { sequence: BigInt(yield* push.send(playerId, { topic, payload })) }
        },
        Effect.catchTag("PushError", toUnavailable)
      ),
      broadcast: Effect.fnUntraced(
        function* (message) {
          yield* requireRole("admin")
          yield* push.broadcast(message)
          return {}
        },
        Effect.catchTag("PushError", toUnavailable)
      )
    }
  })
)
