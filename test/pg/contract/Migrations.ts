import { assert } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as SqlClient from "effect/sql/SqlClient"
import { ConfigTest } from "xdooria/config"
import { Pg } from "xdooria/pg"
import { eventually, type Part, sessionsThatAre } from "./Contract.ts"

/** The database is the suite's own, and no other test keeps anything in it. */
const empty = SqlClient.SqlClient.use((sql) =>
  Effect.andThen(sql`DROP SCHEMA public CASCADE`, sql`CREATE SCHEMA public`)
)

const steps: ReadonlyArray<Pg.Migration> = [
  {
    id: 1,
    name: "create",
    up: `CREATE TABLE log (step int);
      -- a comment; with 'quotes
      CREATE FUNCTION note(n int) RETURNS void LANGUAGE plpgsql AS $f$ BEGIN INSERT INTO log VALUES (n); END; $f$;
      SELECT note(1);`
  },
  { id: 2, name: "second", up: "SELECT note(2)" },
  { id: 5, name: "effect", up: SqlClient.SqlClient.use((sql) => sql`SELECT note(${5})`) }
]

const log = SqlClient.SqlClient.use((sql) => sql<{ step: number }>`SELECT step FROM log ORDER BY ctid`).pipe(
  Effect.map((rows) => rows.map(({ step }) => step))
)

const refusal = (migrations: ReadonlyArray<Pg.Migration>) =>
  Effect.map(Effect.flip(Pg.migrate(migrations)), ({ reason }) => {
    assert.strictEqual(reason._tag, "MigrationRefused")
    return reason.message
  })

const ids = (migrations: ReadonlyArray<Pg.Migration>) => migrations.map(({ id }) => id)

/** What migrations promise. */
export const migrations: Part = (it) => {
  const onEmpty = <A, E>(name: string, test: Effect.Effect<A, E, SqlClient.SqlClient>) =>
    it.effect(name, () => Effect.andThen(empty, test).pipe(Effect.provideService(References.MinimumLogLevel, "Warn")))

  onEmpty(
    "are applied in the order of their ids, each once",
    Effect.gen(function* () {
      assert.deepStrictEqual(ids(yield* Pg.migrate([steps[1]!, steps[0]!])), [1, 2])
      assert.deepStrictEqual(ids(yield* Pg.migrate(steps)), [5])
      assert.deepStrictEqual(ids(yield* Pg.migrate(steps)), [])
      assert.deepStrictEqual(yield* log, [1, 2, 5])
    })
  )

  onEmpty(
    "are applied by one process when two do so at once",
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const inside = yield* Deferred.make<void>()
      const go = yield* Deferred.make<void>()
      const slow = {
        id: 6,
        name: "slow",
        up: Effect.andThen(Deferred.succeed(inside, undefined), Deferred.await(go))
      }
      const first = yield* Effect.forkChild(Pg.migrate([...steps, slow]))
      yield* Deferred.await(inside)
      const second = yield* Effect.forkChild(Pg.migrate([...steps, slow]))
      yield* eventually(
        sql<{ n: number }>`SELECT count(*)::int AS n FROM pg_stat_activity
          WHERE datname = current_database() AND wait_event = 'advisory'`,
        ([row]) => row!.n === 1
      )
      yield* Deferred.succeed(go, undefined)
      assert.deepStrictEqual(ids(yield* Fiber.join(first)), [1, 2, 5, 6])
      assert.deepStrictEqual(ids(yield* Fiber.join(second)), [])
      assert.deepStrictEqual(yield* log, [1, 2, 5])
    })
  )

  onEmpty(
    "are applied all or none, and the error names the one that failed",
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      for (const up of ["SELECT note(3); SELECT 1 / 0", "SELECT note(3); COMMIT", "VACUUM"]) {
        const error = yield* Effect.flip(Pg.migrate([...steps, { id: 6, name: "bad", up }]))
        assert.strictEqual(error.at, "migration 6 bad")
        assert.deepStrictEqual(yield* sql`SELECT to_regclass('log') AS log`, [{ log: null }])
      }
      yield* Pg.migrate(steps)
      yield* Effect.flip(Pg.migrate([...steps, { id: 6, name: "bad", up: "SELECT note(6); SELECT 1 / 0" }]))
      assert.deepStrictEqual(yield* log, [1, 2, 5])
      assert.strictEqual(yield* sessionsThatAre("idle in transaction"), 0)
    })
  )

  onEmpty(
    "are refused when they contradict what was applied",
    Effect.gen(function* () {
      yield* Pg.migrate(steps)
      const error = yield* Effect.flip(Pg.migrate([{ ...steps[0]!, name: "other" }]))
      const [{ name } = { name: "" }] = yield* SqlClient.SqlClient.use(
        (sql) => sql<{ name: string }>`SELECT current_database() AS name`
      )
      assert.match(error.message, new RegExp(`^pg \\w+ in database ${name}: migration 1 create was changed`))
      const [one, two, five] = steps as [Pg.Migration, Pg.Migration, Pg.Migration]
      assert.include(yield* refusal([one, { ...two, up: "SELECT note(22)" }, five]), "2 second was changed")
      assert.include(yield* refusal([one, { ...two, name: "other" }, five]), "2 second was changed")
      assert.include(yield* refusal([one, five]), "2 second was applied and is no longer in the list")
      assert.include(yield* refusal([...steps, { id: 3, name: "late", up: "" }]), "3 late comes before")
      assert.include(yield* refusal([...steps, { id: 5, name: "twin", up: "" }]), "two migrations have the id 5")
      assert.include(yield* refusal([{ id: 0, name: "zero", up: "" }]), "0 zero")
      assert.deepStrictEqual(yield* log, [1, 2, 5])
      const withOtherLineEnds = { ...one, up: (one.up as string).replaceAll("\n", "\r\n") }
      assert.deepStrictEqual(yield* Pg.migrate([withOtherLineEnds, two, five]), [])
    })
  )

  onEmpty(
    "that are newer than the program do not stop it",
    Effect.gen(function* () {
      yield* Pg.migrate(steps)
      assert.deepStrictEqual(yield* Pg.migrate(steps.slice(0, 2)), [])
      yield* Pg.checkMigrations(steps.slice(0, 2))
    })
  )

  onEmpty(
    "can be checked without applying them",
    Effect.gen(function* () {
      const missing = yield* Effect.flip(Pg.checkMigrations(steps))
      assert.match(missing.message, /^pg \w+ in database \w+: .*migration 1 create, migration 2 second/)
      yield* Pg.migrate(steps)
      yield* Pg.checkMigrations(steps)
    })
  )

  onEmpty(
    "are a layer that applies them, and in prod only checks",
    Effect.gen(function* () {
      const site = { grpc: { allow_insecure: true }, database: { password: "of the site" } }
      const inProd = ConfigTest(site, { env: "prod" })
      const use = Effect.provide(log, Pg.layerMigrations(steps).pipe(Layer.provideMerge(inProd)))
      const refused = yield* Effect.flip(use)
      assert.include(refused.message, "not applied yet: migration 1 create")
      assert.deepStrictEqual(yield* Effect.provide(log, Pg.layerMigrations(steps)), [1, 2, 5])
      assert.deepStrictEqual(yield* use, [1, 2, 5])
    })
  )

  onEmpty(
    "may take longer than other statements",
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      let seen: ReadonlyArray<unknown> = []
      const look = Effect.map(
        sql`SELECT current_setting('statement_timeout') AS statement, current_setting('lock_timeout') AS lock`,
        (rows) => {
          seen = rows
        }
      )
      const lock = yield* sql`SELECT current_setting('lock_timeout') AS lock`
      yield* Pg.migrate([{ id: 1, name: "look", up: look }], { timeout: "2 minutes" })
      assert.deepStrictEqual(seen, [{ statement: "2min", ...(lock[0] as object) }])
    })
  )
}
