import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as SqlClient from "effect/sql/SqlClient"
import { Fence, Lock, LockEmbedded } from "xdooria/lock"
import { Pg } from "xdooria/pg"
import { PgEmbedded } from "xdooria/pg/embedded"
import { Key } from "xdooria/redis"

const migrations: ReadonlyArray<Pg.Migration> = [
  Fence.migration(1),
  { id: 2, name: "create_players", up: "CREATE TABLE players (id text PRIMARY KEY, gold int NOT NULL)" }
]

// A write that a holder who has lost the lock without knowing it cannot make. It asks for a lease: it runs under a lock.
const setGold = (id: string, gold: number) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => sql`UPDATE players SET gold = ${gold} WHERE id = ${id}`).pipe(
    Fence.guard
  )

// Read, think, write: with the lock, nobody else comes in between.
const buy = (id: string, price: number) =>
  Effect.gen(function* () {
    const key = yield* Effect.fromResult(Key.make("lock:player", id))
    const sql = yield* SqlClient.SqlClient
    yield* Effect.gen(function* () {
      const [player] = yield* sql<{ gold: number }>`SELECT gold FROM players WHERE id = ${id}`
      yield* setGold(id, player!.gold - price)
    }).pipe(Lock.withLock(key, { ttl: "10 seconds", wait: "5 seconds" }))
  })

const program = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* Pg.migrate(migrations)
  yield* sql`INSERT INTO players VALUES ('ann', 100)`

  // Ten at once, one after the other.
  const purchases = Array.from({ length: 10 }, () => buy("ann", 7))
  yield* Effect.all(purchases, { concurrency: "unbounded" })
  yield* Console.log(yield* sql`SELECT * FROM players`)

  // One who does not wait is told at once that another has it.
  const key = yield* Effect.fromResult(Key.make("lock:player", "ann"))
  const held = yield* Effect.forkChild(Lock.withLock(key)(Effect.sleep("1 second")))
  yield* Effect.yieldNow
  yield* Lock.withLock(key, { wait: 0 })(Console.log("mine")).pipe(
    Effect.catchReason("LockError", "Held", ({ message }) => Console.log(`refused: ${message}`))
  )
  yield* Fiber.interrupt(held)
})

// A service has LockLive, RedisLive and PgLive here.
await Effect.runPromise(Effect.provide(program, Layer.mergeAll(LockEmbedded, PgEmbedded)))
