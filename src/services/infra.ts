import type { PgClient } from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { SqlClient } from "effect/sql/SqlClient"
import type { Auth } from "../auth/Auth.ts"
import type { AuthError } from "../auth/AuthError.ts"
import type { Lockout } from "../auth/Lockout.ts"
import * as Config from "../config/Config.ts"
import type { InvalidConfig } from "../config/ConfigError.ts"
import type { Leaderboard } from "../leaderboard/Leaderboard.ts"
import * as Pg from "../pg/Pg.ts"
import type { PgError } from "../pg/PgError.ts"
import type { RedisFailure } from "../redis/RedisError.ts"
import type { Leader } from "../registry/Leader.ts"
import type { Registry } from "../registry/Registry.ts"
import type { RegistryError } from "../registry/RegistryError.ts"
import type { Session } from "../session/Session.ts"
import type { SessionError } from "../session/SessionError.ts"
import type { Push } from "./gateway/Push.ts"

/** What can fail when the servers that a service needs are reached, or started. */
export type InfraError = AuthError | InvalidConfig | PgError | RedisFailure | RegistryError | SessionError

/** A part of {@link Infra}. */
export type InfraLayer<A> = Layer.Layer<A, InfraError>

/**
 * What the reference services need of servers, a layer for each room: a service takes those that it uses, and what it
 * does not take is not started.
 */
export interface Infra {
  readonly pg: InfraLayer<SqlClient | PgClient>
  readonly leaderboard: InfraLayer<Leaderboard>
  readonly session: InfraLayer<Session>
  readonly auth: InfraLayer<Auth | Lockout>
  readonly push: InfraLayer<Push>
  readonly registry: InfraLayer<Registry | Leader>
}

/** Where they come from: `live` are the servers of the configuration, `embedded` are started here and end with us. */
export type InfraKind = "embedded" | "live"

/** The servers of the configuration: each service has connections of its own, which its rooms share. */
const loadLive: Effect.Effect<() => Infra> = Effect.map(
  Effect.all([
    Effect.promise(() => import("../pg/PgLive.ts")),
    Effect.promise(() => import("../redis/RedisLive.ts")),
    Effect.promise(() => import("../leaderboard/LeaderboardLive.ts")),
    Effect.promise(() => import("../session/SessionLive.ts")),
    Effect.promise(() => import("../auth/AuthLive.ts")),
    Effect.promise(() => import("./gateway/PushLive.ts")),
    Effect.promise(() => import("../registry/RegistryLive.ts"))
  ]),
  ([{ PgLive }, { RedisLive }, { LeaderboardLive }, { SessionLive }, { AuthLive }, { PushLive }, { RegistryLive }]) =>
    () => ({
      pg: PgLive,
      leaderboard: Layer.provide(LeaderboardLive, RedisLive),
      session: Layer.provide(SessionLive, RedisLive),
      auth: Layer.provide(AuthLive, RedisLive),
      push: Layer.provide(PushLive, RedisLive),
      registry: RegistryLive
    })
)

/** Servers of our own: one set for all services of the process, of which each has a database of its own. */
const loadEmbedded: Effect.Effect<() => Infra> = Effect.map(
  Effect.all([
    Effect.promise(() => import("../pg/PgEmbedded.ts")),
    Effect.promise(() => import("../leaderboard/LeaderboardEmbedded.ts")),
    Effect.promise(() => import("../session/SessionEmbedded.ts")),
    Effect.promise(() => import("../auth/AuthEmbedded.ts")),
    Effect.promise(() => import("./gateway/PushEmbedded.ts")),
    Effect.promise(() => import("../registry/RegistryEmbedded.ts")),
    Layer.makeMemoMap
  ]),
  ([
    { PgServer, PgServerEmbedded },
    { LeaderboardEmbedded },
    { SessionEmbedded },
    { AuthEmbedded },
    { PushEmbedded },
    { RegistryEmbedded },
    memoMap
  ]) => {
    // The first service that takes a room starts it, with its configuration; it ends with the last.
    const shared = <A, E>(room: Layer.Layer<A, E>): Layer.Layer<A, E> =>
      Layer.effectContext(Effect.flatMap(Effect.scope, (scope) => Layer.buildWithMemoMap(room, memoMap, scope)))
    const database = Effect.gen(function* () {
      const { layerDatabase } = yield* PgServer
      return layerDatabase(`xdooria_${(yield* Config.Current).service}`, yield* Config.get(Pg.PgConfig))
    })
    return () => ({
      pg: Layer.unwrap(database).pipe(Layer.provide(shared(PgServerEmbedded))),
      leaderboard: shared(LeaderboardEmbedded),
      session: shared(SessionEmbedded),
      auth: shared(AuthEmbedded),
      push: shared(PushEmbedded),
      registry: shared(RegistryEmbedded)
    })
  }
)

/**
 * Loads what makes the layers of a kind for one service after the other; what the other kind needs is not loaded. The
 * embedded rooms of services that were made by one are the same.
 */
export const loadInfra = (kind: InfraKind): Effect.Effect<() => Infra> =>
  kind === "embedded" ? loadEmbedded : loadLive
