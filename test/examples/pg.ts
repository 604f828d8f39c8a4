import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as SqlClient from "effect/sql/SqlClient"
import { Pg } from "xdooria/pg"
import { PgEmbedded } from "xdooria/pg/embedded"

const migrations: ReadonlyArray<Pg.Migration> = [
  {
    id: 1,
    name: "create_players",
    up: "CREATE TABLE players (id text PRIMARY KEY, gold int NOT NULL CONSTRAINT no_debt CHECK (gold >= 0))"
  }
]

// A statement: its parameters are sent apart from its text.
const create = (id: string, gold: number) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* Pg.run(sql`INSERT INTO players ${sql.insert({ id, gold })}`)
  })

// A transaction: all of it or nothing, and again as a whole when it lost against another one.
const pay = (from: string, to: string, amount: number) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* sql`UPDATE players SET gold = gold - ${amount} WHERE id = ${from}`
    yield* sql`UPDATE players SET gold = gold + ${amount} WHERE id = ${to}`
  }).pipe(Pg.transaction)

// The same with types from the tables, by kysely's builder.
const db = Pg.builder<{ players: { id: string; gold: number } }>()
const richest = Pg.query(db.selectFrom("players").selectAll().orderBy("gold", "desc").limit(1))

const program = Effect.gen(function* () {
  yield* Pg.migrate(migrations)
  yield* create("ann", 100)
  yield* create("bob", 0)
  yield* pay("ann", "bob", 70)
  yield* pay("ann", "bob", 70).pipe(
    Effect.catchReason("PgError", "ConstraintViolation", ({ constraint }) => Console.log(`refused: ${constraint}`))
  )
  yield* Console.log(yield* richest)
})

// A service has PgLive here, and a test PgEmbedded: a real server that lives as long as the layer.
await Effect.runPromise(Effect.provide(program, PgEmbedded))
