import * as Layer from "effect/Layer"
import { descriptors } from "../../gen/descriptors.ts"
import { GrpcServer } from "../../grpc/GrpcServer.ts"
import * as Pg from "../../pg/Pg.ts"
import { BoardsLive } from "./Boards.ts"
import { GameHandlers } from "./handlers.ts"
import { LevelsLive } from "./Levels.ts"
import { migrations } from "./migrations.ts"
import { PlayersLive } from "./Players.ts"

/** What the game service is, open: it asks for a gRPC server, a database, leaderboards and a file system. */
export const GameApp = GrpcServer.serve(GameHandlers, { descriptors }).pipe(
  Layer.provide(Layer.merge(PlayersLive, BoardsLive)),
  Layer.provide(Layer.mergeAll(LevelsLive, Pg.layerMigrations(migrations)))
)
