import * as BigDecimal from "effect/BigDecimal"
import * as Schema from "effect/Schema"
import { NotAllowed } from "../../auth/Auth.ts"
import { GameServiceService } from "../../gen/game.ts"
import * as Grpc from "../../grpc/Grpc.ts"
import { StorageUnavailable } from "../errors.ts"
import { BoardName } from "./Boards.ts"
import {
  AccountNotFound,
  AccountsUnavailable,
  InsufficientFunds,
  ItemNotFound,
  PlayerAlreadyExists,
  PlayerNotFound,
  PlayerNotRanked,
  RequestIdReused
} from "./errors.ts"
import { Quantity } from "./Inventory.ts"
import { ChangeReason, RequestId } from "./ledger.ts"
import { Money } from "./Money.ts"
import { ExpAmount, PlayerName } from "./Players.ts"
import { ItemName } from "./Shop.ts"

/** Whose: as PlayerId, and empty for the caller's own. */
const playerId = Schema.String.check(
  Schema.isPattern(/^(?!\.+$)[A-Za-z0-9._-]{0,64}$/, {
    expected: "1 to 64 characters of A-Z a-z 0-9 . _ -, not dots alone, or none"
  })
)

const upTo = (maximum: number) =>
  Schema.Int.check(Schema.isBetween({ minimum: 0, maximum }, { expected: `0 to ${maximum}` }))

const most = BigDecimal.fromBigInt(1_000_000_000n)

/** What one call may give or take: far from what a wallet cannot hold. */
const Change = Money.check(
  Schema.makeFilter(
    ({ amount }) => !BigDecimal.isZero(amount) && BigDecimal.isLessThanOrEqualTo(BigDecimal.abs(amount), most),
    { expected: "an amount of at most 1000000000, not 0" }
  )
)

/** The methods of the game service: what each takes and the errors that it declares, for its server and every client. */
export const GameApi = Grpc.api(GameServiceService, {
  healthCheck: { idempotent: true, public: true },
  createPlayer: {
    request: Schema.Struct({ playerId, name: PlayerName }),
    errors: [NotAllowed, PlayerAlreadyExists, StorageUnavailable]
  },
  getPlayer: {
    request: Schema.Struct({ playerId }),
    errors: [NotAllowed, PlayerNotFound, StorageUnavailable],
    idempotent: true
  },
  gainExp: {
    request: Schema.Struct({ playerId, requestId: RequestId, amount: ExpAmount }),
    errors: [NotAllowed, PlayerNotFound, RequestIdReused, StorageUnavailable],
    idempotent: true
  },
  submitScore: {
    request: Schema.Struct({ playerId, board: BoardName, score: Schema.BigInt }),
    errors: [NotAllowed, PlayerNotFound, StorageUnavailable],
    idempotent: true,
    // A score is the end of a round: whoever has more of them does not play.
    rate: { limit: 60, window: "10 seconds", by: "principal" }
  },
  getTop: {
    request: Schema.Struct({ board: BoardName, limit: upTo(100) }),
    errors: [StorageUnavailable],
    idempotent: true
  },
  getRank: {
    request: Schema.Struct({ playerId, board: BoardName }),
    errors: [NotAllowed, PlayerNotRanked, StorageUnavailable],
    idempotent: true
  },
  getAround: {
    request: Schema.Struct({ playerId, board: BoardName, distance: upTo(49) }),
    errors: [NotAllowed, PlayerNotRanked, StorageUnavailable],
    idempotent: true
  },
  getProfile: { errors: [PlayerNotFound, AccountNotFound, AccountsUnavailable, StorageUnavailable], idempotent: true },
  getWallet: {
    request: Schema.Struct({ playerId }),
    errors: [NotAllowed, PlayerNotFound, StorageUnavailable],
    idempotent: true
  },
  listLedger: {
    request: Schema.Struct({
      playerId,
      before: Schema.BigInt.check(Schema.isGreaterThanOrEqualToBigInt(0n)),
      limit: upTo(100)
    }),
    errors: [NotAllowed, PlayerNotFound, StorageUnavailable],
    idempotent: true
  },
  changeWallet: {
    request: Schema.Struct({ playerId, requestId: RequestId, change: Change, reason: ChangeReason }),
    errors: [NotAllowed, PlayerNotFound, InsufficientFunds, RequestIdReused, StorageUnavailable],
    idempotent: true
  },
  getInventory: {
    request: Schema.Struct({ playerId }),
    errors: [NotAllowed, PlayerNotFound, StorageUnavailable],
    idempotent: true
  },
  buy: {
    request: Schema.Struct({ playerId, requestId: RequestId, item: ItemName, quantity: Quantity }),
    errors: [NotAllowed, PlayerNotFound, ItemNotFound, InsufficientFunds, RequestIdReused, StorageUnavailable],
    idempotent: true
  }
})
