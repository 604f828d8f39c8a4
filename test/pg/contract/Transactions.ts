import { assert } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Ref from "effect/Ref"
import * as SqlClient from "effect/sql/SqlClient"
import { Pg } from "xdooria/pg"
import { again } from "../Database.ts"
import { eventually, type Part, reasonOf, sessionsThatAre, table, tagOf } from "./Contract.ts"

const counter = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const name = yield* table("id int PRIMARY KEY, n int NOT NULL")
  yield* sql`INSERT INTO ${sql(name)} VALUES (1, 0), (2, 0)`
  return {
    add: (id: number, n: number) => sql`UPDATE ${sql(name)} SET n = n + ${n} WHERE id = ${id}`,
    set: (id: number, n: number) => sql`UPDATE ${sql(name)} SET n = ${n} WHERE id = ${id}`,
    get: (id: number) => Effect.map(sql<{ n: number }>`SELECT n FROM ${sql(name)} WHERE id = ${id}`, ([row]) => row!.n)
  }
})

/** A point that nobody passes before so many have arrived there; later ones pass. */
const meeting = (size: number) =>
  Effect.gen(function* () {
    const met = yield* Deferred.make<void>()
    const arrived = yield* Ref.make(0)
    return {
      arrived: Ref.get(arrived),
      arrive: Effect.flatMap(
        Ref.updateAndGet(arrived, (n) => n + 1),
        (n) => (n >= size ? Deferred.succeed(met, undefined) : Deferred.await(met))
      )
    }
  })

const pid = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const [row] = yield* sql<{ pid: number }>`SELECT pg_backend_pid() AS pid`
  return row!.pid
})

/** What a transaction promises. */
export const transactions: Part = (it) => {
  it.effect("commits when the effect succeeds, and rolls back when it fails, dies or is interrupted", () =>
    Effect.gen(function* () {
      const { add, get } = yield* counter
      yield* Pg.transaction(add(1, 1))
      assert.strictEqual(yield* Effect.flip(Pg.transaction(Effect.andThen(add(1, 10), Effect.fail("mine")))), "mine")
      assert.isTrue(Exit.isFailure(yield* Effect.exit(Pg.transaction(Effect.andThen(add(1, 100), Effect.die("bug"))))))
      const inside = yield* Deferred.make<void>()
      const fiber = yield* add(1, 1000).pipe(
        Effect.andThen(Deferred.succeed(inside, undefined)),
        Effect.andThen(Effect.never),
        Pg.transaction,
        Effect.forkChild
      )
      yield* Deferred.await(inside)
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(yield* get(1), 1)
      assert.strictEqual(yield* sessionsThatAre("idle in transaction"), 0)
    })
  )

  it.effect("is run to its end by the finalizer of an interrupted fiber, a savepoint and a slow commit included", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const { add, get } = yield* counter
      const name = yield* table("id int UNIQUE DEFERRABLE INITIALLY DEFERRED")
      // Its check is made by the COMMIT, which so takes longer than an interrupted caller's is given.
      const slow = sql`CREATE FUNCTION ${sql(`${name}_slow`)}() RETURNS trigger LANGUAGE plpgsql
        AS ${sql.literal("$$ BEGIN PERFORM pg_sleep(0.2); RETURN NULL; END $$")}`
      yield* slow
      yield* sql`CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON ${sql(name)} DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION ${sql(`${name}_slow`)}()`
      const last = Pg.transaction(
        Effect.gen(function* () {
          yield* add(1, 1)
          yield* Pg.transaction(add(1, 10))
          yield* sql`INSERT INTO ${sql(name)} VALUES (1)`
        })
      )
      const fiber = yield* Effect.forkChild(Effect.ensuring(Effect.never, Effect.orDie(last)), {
        startImmediately: true
      })
      yield* Fiber.interrupt(fiber)
      yield* sql`DROP FUNCTION ${sql(`${name}_slow`)} CASCADE`
      assert.strictEqual(yield* get(1), 11)
    })
  )

  it.effect("is a savepoint inside of another one", () =>
    Effect.gen(function* () {
      const { add, get } = yield* counter
      yield* Pg.transaction(
        Effect.gen(function* () {
          yield* add(1, 1)
          yield* Effect.ignore(Pg.transaction(Effect.andThen(add(1, 10), Effect.fail("inner"))))
          yield* Pg.transaction(add(1, 100))
        })
      )
      assert.strictEqual(yield* get(1), 101)
      yield* Effect.ignore(Pg.transaction(Effect.andThen(Pg.transaction(add(1, 1000)), Effect.fail("outer"))))
      assert.strictEqual(yield* get(1), 101)
    })
  )

  it.effect("has the isolation and the access that were asked for, and only where they were", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const { add } = yield* counter
      const modes = Effect.map(
        sql<{ level: string; read_only: string }>`SELECT current_setting('transaction_isolation') AS level,
          current_setting('transaction_read_only') AS read_only`,
        ([row]) => `${row!.level} ${row!.read_only}`
      )
      assert.strictEqual(yield* Pg.transaction(modes), "read committed off")
      assert.strictEqual(yield* Pg.transaction(modes, { isolation: "serializable" }), "serializable off")
      const both = { isolation: "repeatable read", readOnly: true } as const
      assert.strictEqual(yield* Pg.transaction(modes, both), "repeatable read on")
      assert.strictEqual(yield* Pg.transaction(Pg.transaction(modes, both)), "read committed off")
      assert.strictEqual(yield* tagOf(Pg.transaction(add(1, 1), { readOnly: true })), "Unclassified")
    })
  )

  it.effect("runs again as a whole when it lost against another, until all have succeeded", () =>
    Effect.gen(function* () {
      const { get, set } = yield* counter
      const meet = yield* meeting(3)
      const bump = Effect.gen(function* () {
        const n = yield* get(1)
        yield* meet.arrive
        yield* set(1, n + 1)
      })
      yield* Effect.all(
        Array.from({ length: 3 }, () => Pg.transaction(bump, { isolation: "serializable" })),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(yield* get(1), 3)
      assert.isAbove(yield* meet.arrived, 3)
    })
  )

  it.effect("runs again after a deadlock", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const { add, get } = yield* counter
      const meet = yield* meeting(2)
      const notice = sql`SELECT set_config('deadlock_timeout', '20ms', true)`
      const cross = (first: number, second: number) =>
        Pg.transaction(
          notice.pipe(Effect.andThen(add(first, 1)), Effect.andThen(meet.arrive), Effect.andThen(add(second, 1)))
        )
      yield* Effect.all([cross(1, 2), cross(2, 1)], { concurrency: "unbounded" })
      assert.deepStrictEqual([yield* get(1), yield* get(2)], [2, 2])
      assert.isAbove(yield* meet.arrived, 2)
    })
  )

  it.effect("runs again when a table was changed since its statement was prepared, once on each session", () =>
    Effect.gen(function* () {
      const name = yield* table("n int")
      yield* Effect.gen(function* () {
        const other = yield* SqlClient.SqlClient
        const tries = yield* Ref.make(0)
        const read = Ref.update(tries, (n) => n + 1).pipe(Effect.andThen(other`SELECT n FROM ${other(name)}`))
        yield* other`INSERT INTO ${other(name)} VALUES (1)`
        assert.deepStrictEqual(yield* Pg.transaction(read), [{ n: 1 }])
        yield* other`ALTER TABLE ${other(name)} ALTER COLUMN n TYPE text`
        yield* Ref.set(tries, 0)
        const before = yield* pid
        assert.deepStrictEqual(yield* Pg.transaction(read), [{ n: "1" }])
        assert.strictEqual(yield* Ref.getAndSet(tries, 0), 2)
        assert.deepStrictEqual(yield* Pg.transaction(read), [{ n: "1" }])
        assert.strictEqual(yield* Ref.get(tries), 1)
        assert.strictEqual(yield* pid, before)
      }).pipe(Effect.provide(yield* again({ maxConns: 1 })))
    })
  )

  it.effect("gives up after five more tries, and retries nothing else", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const tries = yield* Ref.make(0)
      const raise = (code: string) =>
        Effect.andThen(
          Ref.update(tries, (n) => n + 1),
          sql.unsafe(`DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '${code}'; END $$`)
        )
      assert.strictEqual(yield* tagOf(Pg.transaction(raise("40001"))), "SerializationFailure")
      assert.strictEqual(yield* Ref.getAndSet(tries, 0), 6)
      // A savepoint cannot be tried again by itself: its snapshot is that of the whole.
      assert.strictEqual(yield* tagOf(Pg.transaction(Pg.transaction(raise("40001")))), "SerializationFailure")
      assert.strictEqual(yield* Ref.getAndSet(tries, 0), 6)
      for (const code of ["23505", "57014", "55P03", "P0001", "53300"]) {
        yield* Effect.flip(Pg.transaction(raise(code)))
        assert.strictEqual(yield* Ref.getAndSet(tries, 0), 1, code)
      }
    })
  )

  it.effect("does not succeed when the failure of a statement was swallowed", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const { add, get } = yield* counter
      const careless = Effect.andThen(add(1, 1), Effect.ignore(sql`SELECT 1 / 0`))
      assert.strictEqual(yield* tagOf(Pg.transaction(careless)), "TransactionAborted")
      assert.strictEqual(yield* tagOf(Pg.transaction(Effect.andThen(careless, add(1, 1)))), "TransactionAborted")
      assert.strictEqual(yield* get(1), 0)
    })
  )

  it.effect("ends with a statement that is interrupted, and its session with it", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const { add, get } = yield* counter
      const used = yield* Ref.make(0)
      const caught = Effect.gen(function* () {
        yield* add(1, 1)
        yield* Ref.set(used, yield* pid)
        const slow = yield* Effect.forkChild(sql`SELECT pg_sleep(4)`)
        yield* Effect.repeat(Effect.yieldNow, { times: 20 })
        yield* Fiber.interrupt(slow)
        yield* add(1, 1)
      })
      assert.strictEqual(yield* tagOf(Pg.transaction(caught)), "TransactionAborted")
      assert.strictEqual(yield* get(1), 0)
      const old = yield* Ref.get(used)
      yield* eventually(
        sql<{ n: number }>`SELECT count(*)::int AS n FROM pg_stat_activity WHERE pid = ${old}`,
        ([row]) => row!.n === 0
      )
    })
  )

  it.effect("runs callbacks after the commit and drops them with a rollback", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const { add } = yield* counter
      const ran = yield* Ref.make<ReadonlyArray<string>>([])
      const note = (what: string) => sql.afterCommit(Ref.update(ran, (all) => [...all, what]))
      yield* Pg.transaction(add(1, 1).pipe(Effect.andThen(note("committed"))))
      yield* Effect.ignore(Pg.transaction(note("rolled back").pipe(Effect.andThen(Effect.fail("no")))))
      assert.deepStrictEqual(yield* Ref.get(ran), ["committed"])
    })
  )

  it.effect("reports what the COMMIT found, and leaves the session usable", () =>
    Effect.gen(function* () {
      const parent = yield* table("id int PRIMARY KEY")
      const child = yield* table(`id int CONSTRAINT late REFERENCES ${parent} DEFERRABLE INITIALLY DEFERRED`)
      yield* Effect.gen(function* () {
        const before = yield* pid
        const other = yield* SqlClient.SqlClient
        const reason = yield* reasonOf(Pg.transaction(other`INSERT INTO ${other(child)} VALUES (1)`))
        assert.include({ ...reason }, { _tag: "ConstraintViolation", constraint: "late" })
        assert.strictEqual(yield* pid, before)
      }).pipe(Effect.provide(yield* again({ maxConns: 1 })))
    })
  )

  it.effect("gives its statements another time limit when asked to", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const limit = Effect.map(sql<{ s: string }>`SELECT current_setting('statement_timeout') AS s`, ([row]) => row!.s)
      const outside = yield* limit
      assert.strictEqual(yield* Pg.transaction(limit, { statementTimeout: "90 seconds" }), "90s")
      assert.strictEqual(yield* limit, outside)
      for (const statementTimeout of [Duration.infinity, Duration.days(30)]) {
        assert.strictEqual(yield* Pg.transaction(limit, { statementTimeout }), "2147483647ms")
      }
      for (const statementTimeout of [Duration.millis(20), Duration.zero, Duration.millis(-1)]) {
        assert.strictEqual(
          yield* tagOf(Pg.transaction(sql`SELECT pg_sleep(4)`, { statementTimeout })),
          "StatementTimeout"
        )
      }
    })
  )
}
