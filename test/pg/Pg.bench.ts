// npm run bench -- pg: the room against node-postgres, on the real server and with as many connections.
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as SqlClient from "effect/sql/SqlClient"
import { Pool } from "pg"
import { Pg } from "xdooria/pg"
import { layerLive } from "xdooria/pg/live"
import * as Bench from "../bench/Bench.ts"
import { isMissing, servers } from "../support/Servers.ts"

const fibers = 16
const rows = 1_000

const address = servers.postgres
if (isMissing(address)) throw new Error(address.missing)
const { database, host, password, port, user } = address

const table = `
  CREATE TABLE IF NOT EXISTS bench_players AS
    SELECT id, 'player ' || id AS name, 1 AS level, id::bigint AS exp FROM generate_series(1, ${rows}) AS id;
  CREATE UNIQUE INDEX IF NOT EXISTS bench_players_id ON bench_players (id)`

const nodePostgres: Effect.Effect<Pool, never, Scope.Scope> = Effect.acquireRelease(
  Effect.promise(async () => {
    const pool = new Pool({ host, port, user, password, database, max: fibers })
    await pool
      .query(`SELECT pg_advisory_lock(1)`)
      .then(() => pool.query(table))
      .finally(() => pool.query(`SELECT pg_advisory_unlock_all()`))
    return pool
  }),
  (pool) => Effect.promise(() => pool.end())
)

const room = layerLive({
  host,
  port,
  user,
  password: Redacted.make(password),
  database,
  maxConns: fibers,
  minConns: fibers
})
const driver = PgClient.layer({
  host,
  port,
  username: user,
  password: Redacted.make(password),
  database,
  maxConnections: fibers
})

/** The load that an effect of a client's makes. */
const load = <E>(
  layer: Layer.Layer<SqlClient.SqlClient, E>,
  call: (sql: SqlClient.SqlClient) => Effect.Effect<unknown, unknown>
) =>
  Effect.flatMap(nodePostgres, () =>
    Effect.map(Layer.build(layer), (context) => {
      const sql = Context.get(context, SqlClient.SqlClient)
      return Bench.fibers(fibers, Effect.provide(call(sql), context))
    })
  )

let next = 0
const id = () => (next = (next + 1) % rows) + 1

const selectText = "SELECT id, name, level, exp FROM bench_players WHERE id = $1"
const select = (sql: SqlClient.SqlClient) =>
  Effect.suspend(() => sql`SELECT id, name, level, exp FROM bench_players WHERE id = ${id()}`)

const gain = (sql: SqlClient.SqlClient) =>
  Effect.suspend(() => {
    const player = id()
    return Effect.flatMap(
      sql`SELECT level, exp FROM bench_players WHERE id = ${player} FOR UPDATE`,
      () => sql`UPDATE bench_players SET exp = exp + 1 WHERE id = ${player}`
    )
  })

const gainWith = async (pool: Pool) => {
  const client = await pool.connect()
  const player = id()
  try {
    await client.query("BEGIN")
    await client.query("SELECT level, exp FROM bench_players WHERE id = $1 FOR UPDATE", [player])
    await client.query("UPDATE bench_players SET exp = exp + 1 WHERE id = $1", [player])
    await client.query("COMMIT")
  } catch (error) {
    await client.query("ROLLBACK")
    throw error
  } finally {
    client.release()
  }
}

export default [
  Bench.clients({
    name: `select, ${fibers} at once`,
    baseline: "pg",
    candidates: {
      pg: Effect.map(nodePostgres, (pool) => Bench.promises(fibers, () => pool.query(selectText, [id()]))),
      "pg, named": Effect.map(nodePostgres, (pool) =>
        Bench.promises(fibers, () => pool.query({ name: "select", text: selectText, values: [id()] }))
      ),
      "sql-pg": load(driver, select),
      room: load(room, (sql) => Pg.run(select(sql)))
    },
    targets: { room: { throughput: 0.95 } }
  }),
  Bench.clients({
    name: `transaction of two statements, ${fibers} at once`,
    baseline: "pg",
    candidates: {
      pg: Effect.map(nodePostgres, (pool) => Bench.promises(fibers, () => gainWith(pool))),
      "sql-pg": load(driver, (sql) => sql.withTransaction(gain(sql))),
      room: load(room, (sql) => Pg.transaction(gain(sql)).pipe(Effect.provideService(SqlClient.SqlClient, sql)))
    },
    targets: { room: { throughput: 0.9 } }
  })
]
