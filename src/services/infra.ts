import type { PgClient } from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { SqlClient } from "effect/sql/SqlClient"
import type { Auth } from "../auth/Auth.ts"
import type { AuthError } from "../auth/AuthError.ts"
import type { Lockout } from "../auth/Lockout.ts"
import type { InvalidConfig } from "../config/ConfigError.ts"
import type { Leaderboard } from "../leaderboard/Leaderboard.ts"
import type { PgError } from "../pg/PgError.ts"
import type { RedisFailure } from "../redis/RedisError.ts"
import type { Leader } from "../registry/Leader.ts"
import type { Registry } from "../registry/Registry.ts"
import type { RegistryError } from "../registry/RegistryError.ts"
import type { Session } from "../session/Session.ts"
import type { Push } from "./gateway/Push.ts"

/** What can fail when the servers that a service needs are reached, or started. */
export type InfraError = AuthError | InvalidConfig | PgError | RedisFailure | RegistryError

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
