import * as Schema from "effect/Schema"
import { NotAllowed } from "../../auth/Auth.ts"
import { GatewayServiceService } from "../../gen/gateway.ts"
import * as Grpc from "../../grpc/Grpc.ts"
import { StorageUnavailable } from "../errors.ts"
import { PlayerId } from "../PlayerId.ts"
import {
  GatewayDraining,
  GatewayFull,
  SessionEnded,
  TokenRefused,
  TooManyMessages,
  UnexpectedMessage
} from "./errors.ts"
import { Message } from "./Push.ts"

/** A device, or none. */
const Device = Schema.String.check(
  Schema.isPattern(/^[A-Za-z0-9._-]{0,64}$/, { expected: "up to 64 characters of A-Z a-z 0-9 . _ -" })
)

/** The series of a sequence number, or none. */
const Series = Schema.String.check(
  Schema.isPattern(/^[A-Za-z0-9-]{0,64}$/, { expected: "the series of a welcome, or none" })
)

/** A player, or none. */
const PlayerIdOrNone = Schema.Union([Schema.Literal(""), PlayerId])

const Hello = Schema.Struct({
  lastSequence: Schema.BigInt.check(
    Schema.isBetweenBigInt({ minimum: 0n, maximum: BigInt(Number.MAX_SAFE_INTEGER) }, { expected: "0 or more" })
  ),
  device: Device,
  series: Series
})

/** The methods of the gateway itself: what each takes and the errors that it declares, for its server and every client. */
export const GatewayApi = Grpc.api(GatewayServiceService, {
  healthCheck: { idempotent: true, public: true },
  connect: {
    request: Schema.Struct({
      message: Schema.UndefinedOr(
        Schema.Union([
          Schema.Struct({ $case: Schema.Literal("hello"), hello: Hello }),
          Schema.Struct({ $case: Schema.Literal("renew"), renew: Schema.Struct({ accessToken: Schema.String }) }),
          Schema.Struct({ $case: Schema.Literal("ping"), ping: Schema.Struct({ id: Schema.BigInt }) })
        ])
      )
    }),
    errors: [
      SessionEnded,
      GatewayDraining,
      GatewayFull,
      UnexpectedMessage,
      TooManyMessages,
      TokenRefused,
      StorageUnavailable
    ],
    rate: { limit: 10, window: "10 seconds", by: "principal" }
  },
  getPresence: {
    request: Schema.Struct({ playerId: PlayerIdOrNone }),
    errors: [StorageUnavailable],
    idempotent: true
  },
  push: {
    request: Schema.Struct({ playerId: PlayerId, ...Message.fields }),
    errors: [NotAllowed, StorageUnavailable]
  },
  broadcast: { request: Message, errors: [NotAllowed, StorageUnavailable] }
})
