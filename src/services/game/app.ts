import * as Layer from "effect/Layer"
import { descriptors } from "../../gen/descriptors.ts"
import { GrpcServer } from "../../grpc/GrpcServer.ts"
import * as Pg from "../../pg/Pg.ts"
import { GameHandlers } from "./handlers.ts"
import { LevelsLive } from "./Levels.ts"
import { migrations } from "./migrations.ts"
import { PlayersLive } from "./Players.ts"

/** What the game service is, open: it asks for a gRPC server, a database and a file system. */
export const GameApp = GrpcServer.serve(GameHandlers, { descriptors }).pipe(
  Layer.provide(PlayersLive),
  Layer.provide(Layer.mergeAll(LevelsLive, Pg.layerMigrations(migrations)))
)
