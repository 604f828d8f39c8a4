import { assert } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as SqlClient from "effect/sql/SqlClient"
import { Pg } from "xdooria/pg"
import { addressOfClient, again } from "../Database.ts"
import { eventually, type Part, reasonOf, sessionsThatAre, table, tagOf } from "./Contract.ts"

/** Holds a session in a transaction until it is told to go. */
const hold = Effect.gen(function* () {
  const held = yield* Deferred.make<void>()
  const go = yield* Deferred.make<void>()
  const sql = yield* SqlClient.SqlClient
  const fiber = yield* sql`SELECT 1`.pipe(
    Effect.andThen(Deferred.succeed(held, undefined)),
    Effect.andThen(Deferred.await(go)),
    Pg.transaction,
    Effect.forkChild
  )
  yield* Deferred.await(held)
  return { release: Effect.andThen(Deferred.succeed(go, undefined), Fiber.join(fiber)) }
})

/** What the pool of sessions promises. */
export const sessions: Part = (it) => {
  it.effect("has no more sessions than max_conns, and serves those who wait", () =>
    Effect.gen(function* () {
      const small = yield* again({ maxConns: 3 })
      const pids = yield* Effect.forEach(
        Array.from({ length: 60 }, (_, i) => i),
        () => SqlClient.SqlClient.use((sql) => sql<{ pid: number }>`SELECT pg_backend_pid() AS pid`),
        { concurrency: "unbounded" }
      ).pipe(Effect.provide(small))
      assert.isAtMost(new Set(pids.map(([row]) => row!.pid)).size, 3)
    })
  )

  it.effect("fails those who wait too long, and serves the next one at once", () =>
    Effect.gen(function* () {
      const small = yield* again({ maxConns: 1, acquireTimeout: Duration.millis(30) })
      yield* Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const { release } = yield* hold
        assert.include({ ...(yield* reasonOf(sql`SELECT 1`)) }, { _tag: "PoolExhausted", maxConns: 1 })
        assert.strictEqual(yield* tagOf(Pg.transaction(sql`SELECT 1`)), "PoolExhausted")
        yield* release
        yield* sql`SELECT 1`
      }).pipe(Effect.provide(small))
    })
  )

  it.effect("lets go of those who are interrupted while they wait", () =>
    Effect.gen(function* () {
      const small = yield* again({ maxConns: 1 })
      yield* Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const { release } = yield* hold
        const waiting = yield* Effect.forEach([1, 2, 3], () => Effect.forkChild(sql`SELECT 1`))
        const last = yield* Effect.forkChild(sql`SELECT 4 AS n`)
        yield* Effect.yieldNow
        yield* Fiber.interruptAll(waiting)
        yield* release
        assert.deepStrictEqual(yield* Fiber.join(last), [{ n: 4 }])
      }).pipe(Effect.provide(small))
    })
  )

  it.effect("never hands on a session whose statement was cancelled", () =>
    Effect.gen(function* () {
      const small = yield* again({ maxConns: 1 })
      const slow = yield* Effect.forkChild(
        Effect.provide(
          SqlClient.SqlClient.use((sql) => sql`SELECT pg_sleep(4)`),
          small
        )
      )
      yield* eventually(sessionsThatAre("active"), (n) => n === 1)
      const next = yield* Effect.forkChild(
        Effect.provide(
          SqlClient.SqlClient.use((sql) => sql`SELECT 1 AS one`),
          small
        ),
        { startImmediately: true }
      )
      yield* Fiber.interrupt(slow)
      assert.deepStrictEqual(yield* Fiber.join(next), [{ one: 1 }])
    })
  )

  it.effect("waits for a lock no longer than lock_timeout", () =>
    Effect.gen(function* () {
      const hasty = yield* again({ lockTimeout: Duration.millis(20) })
      const sql = yield* SqlClient.SqlClient
      const name = yield* table("id int")
      const locked = yield* Deferred.make<void>()
      const go = yield* Deferred.make<void>()
      const holder = yield* sql`LOCK TABLE ${sql(name)}`.pipe(
        Effect.andThen(Deferred.succeed(locked, undefined)),
        Effect.andThen(Deferred.await(go)),
        Pg.transaction,
        Effect.forkChild
      )
      yield* Deferred.await(locked)
      const read = SqlClient.SqlClient.use((other) => other`SELECT * FROM ${other(name)}`)
      assert.strictEqual(yield* tagOf(Effect.provide(read, hasty)), "LockTimeout")
      yield* Deferred.succeed(go, undefined)
      yield* Fiber.join(holder)
    })
  )

  it.effect("are in UTC, whatever the database is in", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const { database } = yield* addressOfClient
      yield* sql`ALTER DATABASE ${sql(database)} SET timezone TO 'Asia/Tokyo'`
      const zone = SqlClient.SqlClient.use((other) => other`SELECT current_setting('timezone') AS zone`)
      assert.deepStrictEqual(yield* Effect.provide(zone, yield* again({})), [{ zone: "UTC" }])
      yield* sql`ALTER DATABASE ${sql(database)} RESET timezone`
    })
  )

  it.effect("replaces sessions that the server has ended", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const other = yield* again({ maxConns: 4 })
      const ask = Effect.provide(
        SqlClient.SqlClient.use((other) => other<{ pid: number }>`SELECT pg_backend_pid() AS pid`),
        other
      )
      const [before] = yield* ask
      yield* sql`SELECT pg_terminate_backend(${before!.pid})`
      yield* eventually(
        sql<{ n: number }>`SELECT count(*)::int AS n FROM pg_stat_activity WHERE pid = ${before!.pid}`,
        ([row]) => row!.n === 0
      )
      const [after] = yield* Effect.retry(ask, { times: 1 })
      assert.notStrictEqual(after!.pid, before!.pid)
    })
  )

  it.effect("says what became of a statement whose session was ended", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const name = yield* table("id int")
      const other = yield* again({ maxConns: 2 })
      const terminate = Effect.andThen(
        eventually(sessionsThatAre("active"), (n) => n === 1),
        sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND state = 'active' AND pid <> pg_backend_pid()`
      )
      const slow = SqlClient.SqlClient.use((sql) => sql`INSERT INTO ${sql(name)} SELECT 1 FROM pg_sleep(4)`)
      const alone = yield* Effect.forkChild(tagOf(Effect.provide(slow, other)))
      yield* terminate
      assert.strictEqual(yield* Fiber.join(alone), "OutcomeUnknown")
      const inside = yield* Effect.forkChild(tagOf(Effect.provide(Pg.transaction(slow), other)))
      yield* terminate
      assert.strictEqual(yield* Fiber.join(inside), "Unavailable")
      assert.deepStrictEqual(yield* sql`SELECT * FROM ${sql(name)}`, [])
    })
  )

  it.effect("reports a statement that an operator cancelled", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const fiber = yield* Effect.forkChild(tagOf(sql`SELECT pg_sleep(4)`))
      yield* eventually(sessionsThatAre("active"), (n) => n === 1)
      yield* sql`SELECT pg_cancel_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND state = 'active' AND pid <> pg_backend_pid()`
      assert.strictEqual(yield* Fiber.join(fiber), "Cancelled")
    })
  )
}
