// A database of its own on the real PostgreSQL, so that suites that run side by side do not see each other's tables.
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as SqlClient from "effect/sql/SqlClient"
import { randomBytes } from "node:crypto"
import { layerLive } from "xdooria/pg/live"
import type { Addresses } from "./Servers.ts"

type Server = Addresses["postgres"]

/** Creates an empty database; dropped, with the sessions that are still in it, when the scope closes. */
export const make = (server: Server): Effect.Effect<Server, never, Scope.Scope> => {
  const database = `test_${randomBytes(6).toString("hex")}`
  const statement = (text: string) =>
    Effect.flatMap(SqlClient.SqlClient, (sql) => sql.unsafe(text)).pipe(
      Effect.provide(layerLive({ ...server, password: Redacted.make(server.password), maxConns: 1 })),
      Effect.orDie
    )
  return Effect.as(
    Effect.acquireRelease(statement(`CREATE DATABASE ${database}`), () =>
      statement(`DROP DATABASE ${database} WITH (FORCE)`)
    ),
    { ...server, database }
  )
}
