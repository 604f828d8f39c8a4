import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Config from "../../config/Config.ts"
import { descriptors } from "../../gen/descriptors.ts"
import { GrpcServer } from "../../grpc/GrpcServer.ts"
import * as Pg from "../../pg/Pg.ts"
import { GameHandlers } from "./handlers.ts"
import { LevelsLive } from "./Levels.ts"
import { migrations } from "./migrations.ts"
import { PlayersLive } from "./Players.ts"

/**
 * The tables of {@link migrations}. In prod only checked: the role that serves may not change tables, so an operator
 * runs `xdooria migrate` first.
 */
const Tables = Layer.effectDiscard(
  Effect.gen(function* () {
    const { env } = yield* Config.Current
    yield* env === "prod" ? Pg.checkMigrations(migrations) : Pg.migrate(migrations)
  })
)

/** What the game service is, open: it asks for a gRPC server, a database and a file system. */
export const GameApp = GrpcServer.serve(GameHandlers, { descriptors }).pipe(
  Layer.provide(PlayersLive),
  Layer.provide(Layer.mergeAll(LevelsLive, Tables))
)
