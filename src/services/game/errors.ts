import * as Schema from "effect/Schema"
import * as Grpc from "../../grpc/Grpc.ts"

/** There is no player of this id. */
export class PlayerNotFound extends Grpc.TaggedError<PlayerNotFound>()(
  "PlayerNotFound",
  { playerId: Schema.String },
  { status: "NOT_FOUND" }
) {}

/** The id is another player's already. */
export class PlayerAlreadyExists extends Grpc.TaggedError<PlayerAlreadyExists>()(
  "PlayerAlreadyExists",
  { playerId: Schema.String },
  { status: "ALREADY_EXISTS" }
) {}

/** The request id was used before for this player, with other arguments. */
export class RequestIdReused extends Grpc.TaggedError<RequestIdReused>()(
  "RequestIdReused",
  { requestId: Schema.String },
  { status: "FAILED_PRECONDITION" }
) {}

/** The player has no score on the board. */
export class PlayerNotRanked extends Grpc.TaggedError<PlayerNotRanked>()(
  "PlayerNotRanked",
  { playerId: Schema.String, board: Schema.String },
  { status: "NOT_FOUND" }
) {}

/** The wallet has less of the currency than was to be taken. Nothing was taken. */
export class InsufficientFunds extends Grpc.TaggedError<InsufficientFunds>()(
  "InsufficientFunds",
  { currency: Schema.String },
  { status: "FAILED_PRECONDITION" }
) {}

/** The shop does not sell this item. */
export class ItemNotFound extends Grpc.TaggedError<ItemNotFound>()(
  "ItemNotFound",
  { item: Schema.String },
  { status: "NOT_FOUND" }
) {}

/** The auth service has no account of the caller: another service has named the player. */
export class AccountNotFound extends Grpc.TaggedError<AccountNotFound>()(
  "AccountNotFound",
  {},
  { status: "NOT_FOUND" }
) {}

/** The auth service could not be asked. */
export class AccountsUnavailable extends Grpc.TaggedError<AccountsUnavailable>()(
  "AccountsUnavailable",
  {},
  { status: "UNAVAILABLE" }
) {}
