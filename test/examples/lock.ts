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

// Read, decide, write: all inside of the guard. With the lock nobody else comes in between; with the guard not even one
// who has lost the lock without knowing it. To read outside would not do: a guard refuses only who comes after a later
// holder has written, so one who had read before that could still undo what the later one is about to do.
const spend = (id: string, price: number) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const [player] = yield* sql<{ gold: number }>`SELECT gold FROM players WHERE id = ${id}`
    if (player === undefined || player.gold < price) return false
    yield* sql`UPDATE players SET gold = ${player.gold - price} WHERE id = ${id}`
    return true
  }).pipe(Fence.guard)

// Runs any effect under the lock of a player. What the acquisition fails with is handled where its type is known, before
// the errors of the effect come in, whatever they are.
const withPlayer =
  (id: string) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.gen(function* () {
      const key = yield* Effect.fromResult(Key.make("lock:player", id))
      const lease = yield* Lock.acquire(key, { ttl: "10 seconds", wait: "5 seconds" }).pipe(
        Effect.catchReason("LockError", "Timeout", () => Effect.fail("busy" as const))
      )
      return yield* lease.whileHeld(effect)
    }).pipe(Effect.scoped)

const buy = (id: string, price: number) => withPlayer(id)(spend(id, price))

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
