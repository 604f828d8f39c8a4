import * as Layer from "effect/Layer"
import { descriptors } from "../../gen/descriptors.ts"
import { GrpcServer } from "../../grpc/GrpcServer.ts"
import * as Pg from "../../pg/Pg.ts"
import { Registry } from "../../registry/Registry.ts"
import { GameApi } from "./api.ts"
import { BoardsLive } from "./Boards.ts"
import { GameHandlers } from "./handlers.ts"
import { InventoryLive } from "./Inventory.ts"
import { LevelsLive } from "./Levels.ts"
import { LevelUpsLive } from "./LevelUps.ts"
import { migrations } from "./migrations.ts"
import { PlayersLive } from "./Players.ts"
import { ProfilesLive } from "./Profiles.ts"
import { ShopLive } from "./Shop.ts"
import { WalletsLive } from "./Wallets.ts"

/**
 * What the game service is, open: it asks for a gRPC server and client, who callers are, a database, leaderboards, pushes,
 * the registry and a file system.
 */
export const GameApp = Registry.layerSelf(GameApi.service).pipe(
  Layer.provideMerge(GrpcServer.serve(GameHandlers, { descriptors })),
  Layer.provide(Layer.mergeAll(PlayersLive, LevelUpsLive, BoardsLive, ProfilesLive, WalletsLive, InventoryLive)),
  Layer.provide(Layer.mergeAll(LevelsLive, ShopLive, Pg.layerMigrations(migrations)))
)
