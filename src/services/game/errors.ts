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

/** The request id was used before for this player, with another amount. */
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

/**
 * The database or the store of the boards could not be asked, or its answer was lost.
 *
 * - `outcome`: `not_applied` when surely nothing was changed; `unknown` when it may have been: ask before you repeat
 *   what is not idempotent
 */
export class StorageUnavailable extends Grpc.TaggedError<StorageUnavailable>()(
  "StorageUnavailable",
  { outcome: Schema.Literals(["not_applied", "unknown"]) },
  { status: "UNAVAILABLE" }
) {}
