import * as Schema from "effect/Schema"
import * as Grpc from "../../grpc/Grpc.ts"

/** Another account has the name already, or an earlier try of this call whose answer was lost has made it. */
export class AccountTaken extends Grpc.TaggedError<AccountTaken>()("AccountTaken", {}, { status: "ALREADY_EXISTS" }) {}

/** There is no account of this name with this password. Which of them is wrong nobody is told. */
export class WrongCredentials extends Grpc.TaggedError<WrongCredentials>()(
  "WrongCredentials",
  {},
  { status: "UNAUTHENTICATED" }
) {}

/**
 * Too many logins of this account, or from this address, have failed.
 *
 * - `retryAfterMillis`: when to come again
 */
export class TooManyFailures extends Grpc.TaggedError<TooManyFailures>()(
  "TooManyFailures",
  { retryAfterMillis: Schema.Finite },
  { status: "RESOURCE_EXHAUSTED" }
) {}

/**
 * The player is banned.
 *
 * - `until`: when that ends, in milliseconds of the epoch; absent for ever
 */
export class AccountBanned extends Grpc.TaggedError<AccountBanned>()(
  "AccountBanned",
  { until: Schema.optionalKey(Schema.Finite) },
  { status: "PERMISSION_DENIED" }
) {}

/** The refresh token is none of ours, has expired, was used before or was ended: the player has to log in. */
export class RefreshRejected extends Grpc.TaggedError<RefreshRejected>()(
  "RefreshRejected",
  {},
  { status: "UNAUTHENTICATED" }
) {}
