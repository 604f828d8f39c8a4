import * as Schema from "effect/Schema"
import { GameServiceService } from "../../gen/game.ts"
import * as Grpc from "../../grpc/Grpc.ts"
import { BoardName } from "./Boards.ts"
import { PlayerAlreadyExists, PlayerNotFound, PlayerNotRanked, RequestIdReused, StorageUnavailable } from "./errors.ts"
import { ExpAmount, PlayerId, PlayerName, RequestId } from "./Players.ts"

const upTo = (maximum: number) =>
  Schema.Int.check(Schema.isBetween({ minimum: 0, maximum }, { expected: `0 to ${maximum}` }))

/** The methods of the game service: what each takes and the errors that it declares, for its server and every client. */
export const GameApi = Grpc.api(GameServiceService, {
  healthCheck: { idempotent: true, public: true },
  createPlayer: {
    request: Schema.Struct({ playerId: PlayerId, name: PlayerName }),
    errors: [PlayerAlreadyExists, StorageUnavailable],
    public: true
  },
  getPlayer: {
    request: Schema.Struct({ playerId: PlayerId }),
    errors: [PlayerNotFound, StorageUnavailable],
    idempotent: true,
    public: true
  },
  gainExp: {
    request: Schema.Struct({ playerId: PlayerId, requestId: RequestId, amount: ExpAmount }),
    errors: [PlayerNotFound, RequestIdReused, StorageUnavailable],
    idempotent: true,
    public: true
  },
  submitScore: {
    request: Schema.Struct({ playerId: PlayerId, board: BoardName, score: Schema.BigInt }),
    errors: [PlayerNotFound, StorageUnavailable],
    idempotent: true,
    public: true
  },
  getTop: {
    request: Schema.Struct({ board: BoardName, limit: upTo(100) }),
    errors: [StorageUnavailable],
    idempotent: true,
    public: true
  },
  getRank: {
    request: Schema.Struct({ playerId: PlayerId, board: BoardName }),
    errors: [PlayerNotRanked, StorageUnavailable],
    idempotent: true,
    public: true
  },
  getAround: {
    request: Schema.Struct({ playerId: PlayerId, board: BoardName, distance: upTo(49) }),
    errors: [PlayerNotRanked, StorageUnavailable],
    idempotent: true,
    public: true
  },
  getProfile: { public: true },
  getWallet: { public: true },
  listLedger: { public: true },
  changeWallet: { public: true },
  getInventory: { public: true },
  buy: { public: true }
})
