import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Grpc from "../../grpc/Grpc.ts"
import { KickReason } from "../../session/Session.ts"
import type { SessionError } from "../../session/SessionError.ts"
import { StorageUnavailable } from "../errors.ts"
import type { PushError } from "./Push.ts"

/**
 * The session of the connection has ended.
 *
 * - `reason`: as {@link KickReason}, or `expired`: the access token is over, and no newer one came
 * - `to`: the gateway where the session goes on, when it was `moved`
 */
export class SessionEnded extends Grpc.TaggedError<SessionEnded>()(
  "SessionEnded",
  { reason: Schema.Literals([...KickReason.literals, "expired"]), to: Schema.optionalKey(Schema.String) },
  { status: "FAILED_PRECONDITION" }
) {}

/** The gateway stops: connect to another one, at once. */
export class GatewayDraining extends Grpc.TaggedError<GatewayDraining>()(
  "GatewayDraining",
  {},
  { status: "UNAVAILABLE", message: () => "the gateway is stopping" }
) {}

/** The gateway has as many connections as it takes: connect to another one, or later. */
export class GatewayFull extends Grpc.TaggedError<GatewayFull>()(
  "GatewayFull",
  {},
  { status: "RESOURCE_EXHAUSTED", message: () => "the gateway is full" }
) {}

/**
 * The client sent what does not belong there.
 *
 * - `expected`: what does
 */
export class UnexpectedMessage extends Grpc.TaggedError<UnexpectedMessage>()(
  "UnexpectedMessage",
  { expected: Schema.Literals(["hello", "renew or ping"]) },
  { status: "INVALID_ARGUMENT", message: ({ expected }) => `expected ${expected}` }
) {}

/** The client sent more messages in a second than a connection may. */
export class TooManyMessages extends Grpc.TaggedError<TooManyMessages>()(
  "TooManyMessages",
  {},
  { status: "RESOURCE_EXHAUSTED", message: () => "too many messages" }
) {}

/** The token of a `renew` is not good, or another player's. */
export class TokenRefused extends Grpc.TaggedError<TokenRefused>()(
  "TokenRefused",
  {},
  { status: "UNAUTHENTICATED", message: () => "the caller is not authenticated" }
) {}

/** How a connection ends, beside the client's own leave. */
export type ConnectError =
  | SessionEnded
  | GatewayDraining
  | GatewayFull
  | UnexpectedMessage
  | TooManyMessages
  | TokenRefused
  | StorageUnavailable

/** What a store could not do leaves as StorageUnavailable, and the log says why; any other of its errors is a bug of ours. */
export const toUnavailable = (error: SessionError | PushError): Effect.Effect<never, StorageUnavailable> => {
  if (!error.isRetryable && error.reason._tag !== "Refused") return Effect.die(error)
  const outcome = error.isSafeToRetry ? "not_applied" : "unknown"
  return Effect.andThen(Effect.logWarning(error.message), Effect.fail(new StorageUnavailable({ outcome })))
}
