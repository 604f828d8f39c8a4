import { GameServiceService } from "../../gen/game.ts"
import * as Grpc from "../../grpc/Grpc.ts"
import {
  InvalidRequest,
  PlayerAlreadyExists,
  PlayerNotFound,
  PlayerNotRanked,
  RequestIdReused,
  StorageUnavailable
} from "./errors.ts"

/** The methods of the game service and the errors that each declares, for its server and for every client. */
export const GameApi = Grpc.api(GameServiceService, {
  healthCheck: { idempotent: true, public: true },
  createPlayer: { errors: [InvalidRequest, PlayerAlreadyExists, StorageUnavailable], public: true },
  getPlayer: { errors: [InvalidRequest, PlayerNotFound, StorageUnavailable], idempotent: true, public: true },
  gainExp: {
    errors: [InvalidRequest, PlayerNotFound, RequestIdReused, StorageUnavailable],
    idempotent: true,
    public: true
  },
  submitScore: { errors: [InvalidRequest, PlayerNotFound, StorageUnavailable], idempotent: true, public: true },
  getTop: { errors: [InvalidRequest, StorageUnavailable], idempotent: true, public: true },
  getRank: { errors: [InvalidRequest, PlayerNotRanked, StorageUnavailable], idempotent: true, public: true },
  getAround: { errors: [InvalidRequest, PlayerNotRanked, StorageUnavailable], idempotent: true, public: true }
})
