import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import * as Config from "../../config/Config.ts"
import type { ConnectRequest, ConnectResponse } from "../../gen/gateway.ts"
import type { Principal } from "../../grpc/Authenticator.ts"
import type { Call } from "../../grpc/Call.ts"
import type { ConnectError } from "./errors.ts"

/** Section `gateway`. */
export const GatewayConfig = Config.section("gateway", {
  maxConnections: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1_000_000 })).pipe(
    Config.withDefault(10_000),
    Schema.annotate({ description: "Players that may be connected to one gateway" })
  ),
  maxMessages: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 10_000 })).pipe(
    Config.withDefault(20),
    Schema.annotate({ description: "Messages that a connected player may send in a second" })
  ),
  drainTime: Config.Seconds.pipe(
    Config.withDefault(1),
    Schema.annotateKey({ description: "Over how long a stopping gateway sends its players elsewhere, in seconds" })
  )
})

/** The players that are connected to this gateway. */
export class Connections extends Context.Service<
  Connections,
  {
    /** The name of this gateway, another one with each start. */
    readonly gateway: string
    /** Connects the caller for as long as the stream runs. See `Connect` in gateway.proto. */
    readonly connect: (
      requests: Stream.Stream<ConnectRequest>
    ) => Stream.Stream<ConnectResponse, ConnectError, Call | Principal>
    /**
     * Sends everybody elsewhere, over `gateway.drain_time`, and lets nobody in any more. The sessions are left to the next
     * connections of their players, who stay online meanwhile.
     */
    readonly drain: Effect.Effect<void>
  }
>()("xdooria/services/gateway/Connections") {
  /** Drains when its scope closes. To be closed after the registry is left and before the server drains. */
  static readonly layerDrain: Layer.Layer<never, never, Connections> = Layer.effectDiscard(
    Effect.flatMap(Connections, ({ drain }) => Effect.addFinalizer(() => drain))
  )
}
