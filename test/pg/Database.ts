// Databases for tests: each suite has one of its own, so that none sees what another does.
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as SqlClient from "effect/sql/SqlClient"
import { randomUUID } from "node:crypto"
import type { Pg } from "xdooria/pg"
import { layerLive } from "xdooria/pg/live"
import type { Addresses } from "../support/Servers.ts"

/** Where a server is, as the options of PgLive. */
export type Address = Pick<Pg.PgOptions, "host" | "port" | "user" | "password" | "database">

/** The address of a real server. */
export const addressOf = ({ password, ...rest }: Addresses["postgres"]): Address => ({
  ...rest,
  password: Redacted.make(password)
})

/** A new, empty database on the server, dropped with the scope together with every connection that is still open. */
export const fresh = (server: Address) =>
  Effect.gen(function* () {
    const sql = Context.get(yield* Layer.build(layerLive({ ...server, maxConns: 1 })), SqlClient.SqlClient)
    const database = `test_${randomUUID().replaceAll("-", "")}`
    yield* Effect.acquireRelease(Effect.orDie(sql`CREATE DATABASE ${sql(database)}`), () =>
      Effect.orDie(sql`DROP DATABASE ${sql(database)} WITH (FORCE)`)
    )
    return { ...server, database }
  })

/** The address that a client is connected to. */
export const addressOfClient = Effect.map(PgClient.PgClient, ({ config }): Address => ({
  host: config.host!,
  port: config.port!,
  user: config.username!,
  password: config.password as Redacted.Redacted,
  database: config.database!
}))

/** A second client on the database of the first, with options of its own. */
export const again = (options: Partial<Pg.PgOptions>) =>
  Effect.flatMap(addressOfClient, (address) => Layer.build(layerLive({ ...address, ...options })))
