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
  healthCheck: { idempotent: true },
  createPlayer: { errors: [InvalidRequest, PlayerAlreadyExists, StorageUnavailable] },
  getPlayer: { errors: [InvalidRequest, PlayerNotFound, StorageUnavailable], idempotent: true },
  gainExp: { errors: [InvalidRequest, PlayerNotFound, RequestIdReused, StorageUnavailable], idempotent: true },
  submitScore: { errors: [InvalidRequest, PlayerNotFound, StorageUnavailable], idempotent: true },
  getTop: { errors: [InvalidRequest, StorageUnavailable], idempotent: true },
  getRank: { errors: [InvalidRequest, PlayerNotRanked, StorageUnavailable], idempotent: true },
  getAround: { errors: [InvalidRequest, PlayerNotRanked, StorageUnavailable], idempotent: true }
})
