import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as SqlClient from "effect/sql/SqlClient"
import { isSqlError, type SqlError } from "effect/sql/SqlError"
import { createHash } from "node:crypto"
import * as Config from "../../config/Config.ts"
import { PgError } from "../PgError.ts"
import { MigrationRefused } from "../PgErrorReason.ts"
import { run, transaction } from "./transaction.ts"

/**
 * A step of the schema. Once it was applied anywhere that matters it is never edited: a further step corrects it.
 *
 * - `id`: its place in the order, from 1
 * - `name`: what it does, such as `create_players`
 * - `up`: SQL text with one statement or more, or an effect. It runs in a transaction, so what PostgreSQL refuses
 *   there, such as CREATE INDEX CONCURRENTLY, COMMIT or VACUUM, has no place in it. A change of the text is noticed
 *   later on, a change of an effect is not
 */
export interface Migration {
  readonly id: number
  readonly name: string
  readonly up: string | Effect.Effect<unknown, SqlError | PgError, SqlClient.SqlClient>
}

/** What is kept of an applied migration. */
interface Applied {
  readonly id: number
  readonly name: string
  readonly checksum: string
}

/** The key of the advisory lock that only one migrating process holds: "xdooria" in ASCII. */
const lockKey = 0x78_64_6f_6f_72_69_61n

/** How long a migration may wait for another process, and each of its statements may take. */
const defaultTimeout = "10 minutes"

const titleOf = ({ id, name }: Pick<Migration, "id" | "name">): string => `migration ${id} ${name}`

/** Line ends are left out: git changes them. */
const checksumOf = ({ up }: Migration): string =>
  typeof up === "string" ? createHash("sha256").update(up.replaceAll("\r\n", "\n")).digest("hex") : "effect"

const refuse = (problem: string): Effect.Effect<never, PgError> =>
  Effect.fail(new PgError({ reason: new MigrationRefused({ problem }) }))

/** What is left to apply, in order; refused when the two lists contradict each other. */
const pendingOf = (
  migrations: ReadonlyArray<Migration>,
  applied: ReadonlyArray<Applied>
): Effect.Effect<ReadonlyArray<Migration>, PgError> => {
  const known = new Map<number, Migration>()
  for (const migration of migrations) {
    if (!Number.isSafeInteger(migration.id) || migration.id < 1) return refuse(`${titleOf(migration)}: ids start at 1`)
    if (known.has(migration.id)) return refuse(`two migrations have the id ${migration.id}`)
    known.set(migration.id, migration)
  }
  const last = Math.max(0, ...known.keys())
  for (const row of applied) {
    const migration = known.get(row.id)
    if (migration === undefined) {
      // A newer version of the program has been here; an older one must still start.
      if (row.id > last) continue
      return refuse(`${titleOf(row)} was applied and is no longer in the list`)
    }
    if (migration.name !== row.name || checksumOf(migration) !== row.checksum) {
      return refuse(
        `${titleOf(row)} was changed after it was applied, or is of another service: each has a database of its own`
      )
    }
    known.delete(row.id)
  }
  const pending = [...known.values()].toSorted((a, b) => a.id - b.id)
  const late = pending.find(({ id }) => applied.some((row) => row.id > id))
  return late === undefined ? Effect.succeed(pending) : refuse(`${titleOf(late)} comes before one that was applied`)
}

/** Tells whose list does not fit which database: the two are often not the ones that were meant. */
const withPlace =
  (sql: SqlClient.SqlClient) =>
  (error: PgError): Effect.Effect<never, PgError | SqlError> =>
    Effect.gen(function* () {
      const { service } = yield* Effect.service(Config.Current)
      const [row] = yield* sql<{ name: string }>`SELECT current_database() AS name`
      return yield* new PgError({ reason: error.reason, at: `${service} in database ${row?.name}` })
    })

const readApplied = (sql: SqlClient.SqlClient): Effect.Effect<ReadonlyArray<Applied> | undefined, SqlError> =>
  Effect.flatMap(sql<{ found: boolean }>`SELECT to_regclass('xdooria_migrations') IS NOT NULL AS found`, ([row]) =>
    row?.found === true ? sql<Applied>`SELECT id, name, checksum FROM xdooria_migrations ORDER BY id` : Effect.undefined
  )

/**
 * PL/pgSQL's EXECUTE takes a text of several statements, which the wire protocol of parameters does not, splits it as
 * only the server can, and refuses COMMIT.
 */
const execute = (sql: SqlClient.SqlClient, text: string): Effect.Effect<unknown, SqlError> =>
  Effect.andThen(
    sql`SELECT set_config('xdooria.migration', ${text}, true)`,
    sql`DO $$ BEGIN EXECUTE current_setting('xdooria.migration'); END $$`
  )

const apply = Effect.fnUntraced(function* (sql: SqlClient.SqlClient, migration: Migration) {
  const { id, name, up } = migration
  yield* Effect.mapError(typeof up === "string" ? execute(sql, up) : up, (error) => {
    const { reason } = isSqlError(error) ? PgError.fromSql(error) : error
    return new PgError({ reason, at: titleOf(migration) })
  })
  yield* sql`INSERT INTO xdooria_migrations (id, name, checksum) VALUES (${id}, ${name}, ${checksumOf(migration)})`
  yield* Effect.logInfo("applied a migration").pipe(Effect.annotateLogs({ migration: `${id} ${name}` }))
})

/**
 * Brings a database to the newest of these migrations, in the order of their ids, in one transaction: all of them or
 * none. Processes that do so at the same time wait for each other, and each migration is applied once. What was
 * applied is kept in the table `xdooria_migrations`.
 *
 * Gives the migrations that it applied. Fails with MigrationRefused when the list contradicts what was applied: one
 * was changed, or is missing, or comes too late; with the error of the statement, and the migration as `at`, when one
 * fails.
 *
 * - `timeout`: how long it may wait for another process, and each statement may take; 10 minutes by default
 */
export const migrate = (
  migrations: ReadonlyArray<Migration>,
  options: { readonly timeout?: Duration.Input } = {}
): Effect.Effect<ReadonlyArray<Migration>, PgError, SqlClient.SqlClient> =>
  transaction(
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      // Waiting for another process is no fault; waiting long for a table that is in use is one.
      yield* sql`SELECT set_config('lock_timeout', '0', true)`
      yield* sql`SELECT pg_advisory_xact_lock(${lockKey})`
      yield* sql`SET LOCAL lock_timeout TO DEFAULT`
      const applied = yield* readApplied(sql)
      if (applied === undefined) {
        yield* sql`CREATE TABLE xdooria_migrations (
          id int PRIMARY KEY, name text NOT NULL, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now()
        )`
      }
      const pending = yield* Effect.catch(pendingOf(migrations, applied ?? []), withPlace(sql))
      yield* Effect.forEach(pending, (migration) => apply(sql, migration), { discard: true })
      return pending
    }),
    { statementTimeout: options.timeout ?? defaultTimeout }
  )

/**
 * Checks that a database has all of these migrations, without changing it, for a role that may not. Fails with
 * MigrationRefused when some are not applied, or contradict what was applied.
 */
export const checkMigrations = (
  migrations: ReadonlyArray<Migration>
): Effect.Effect<void, PgError, SqlClient.SqlClient> =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const applied = (yield* run(readApplied(sql))) ?? []
    yield* pendingOf(migrations, applied).pipe(
      Effect.flatMap((pending) =>
        pending.length === 0 ? Effect.void : refuse(`not applied yet: ${pending.map(titleOf).join(", ")}`)
      ),
      Effect.catch((error) => run(withPlace(sql)(error)))
    )
  })

/**
 * The tables of a service, ready before what is provided with this layer: {@link migrate}, and in prod
 * {@link checkMigrations}, since the role that serves there may not change tables: an operator migrates first.
 */
export const layerMigrations = (
  migrations: ReadonlyArray<Migration>
): Layer.Layer<never, PgError, SqlClient.SqlClient> =>
  Layer.effectDiscard(
    Effect.flatMap(Effect.service(Config.Current), ({ env }) =>
      env === "prod" ? checkMigrations(migrations) : migrate(migrations)
    )
  )
