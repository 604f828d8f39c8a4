import type { PgClient } from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { SqlClient } from "effect/sql/SqlClient"
import type { InvalidConfig } from "../config/ConfigError.ts"
import type { Leaderboard } from "../leaderboard/Leaderboard.ts"
import type { PgError } from "../pg/PgError.ts"
import type { RedisFailure } from "../redis/RedisError.ts"

/** What the reference services need of servers: one layer, so that a further room is a line here. */
export type Infra = Layer.Layer<SqlClient | PgClient | Leaderboard, PgError | RedisFailure | InvalidConfig>

/** Where they come from: `live` are the servers of the configuration, `embedded` are started here and end with us. */
export type InfraKind = "embedded" | "live"

/** Loads the layer of a kind; what the other kind needs is not loaded. */
export const loadInfra = (kind: InfraKind): Effect.Effect<Infra> =>
  kind === "embedded"
    ? Effect.map(
        Effect.all([
          Effect.promise(() => import("../pg/PgEmbedded.ts")),
          Effect.promise(() => import("../leaderboard/LeaderboardEmbedded.ts"))
        ]),
        ([{ PgEmbedded }, { LeaderboardEmbedded }]) => Layer.merge(PgEmbedded, LeaderboardEmbedded)
      )
    : Effect.map(
        Effect.all([
          Effect.promise(() => import("../pg/PgLive.ts")),
          Effect.promise(() => import("../redis/RedisLive.ts")),
          Effect.promise(() => import("../leaderboard/LeaderboardLive.ts"))
        ]),
        ([{ PgLive }, { RedisLive }, { LeaderboardLive }]) =>
          Layer.merge(PgLive, Layer.provide(LeaderboardLive, RedisLive))
      )
