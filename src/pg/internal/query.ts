import * as Effect from "effect/Effect"
import * as SqlClient from "effect/sql/SqlClient"
import type * as Library from "kysely"
import { createRequire } from "node:module"
import { PgError } from "../PgError.ts"

/** Loaded when the first builder is made: it takes longer to load than the rest of the room. */
const kysely = () => createRequire(import.meta.url)("kysely") as typeof Library

/** A builder that is asked to run a query by itself would answer with no rows; this one says what to do. */
const compileOnly = (): Promise<never> =>
  Promise.reject(new Error("this builder only builds: run the query with Pg.query"))

const driver: Library.Driver = {
  init: () => Promise.resolve(),
  acquireConnection: compileOnly,
  beginTransaction: compileOnly,
  commitTransaction: compileOnly,
  rollbackTransaction: compileOnly,
  releaseConnection: () => Promise.resolve(),
  destroy: () => Promise.resolve()
}

/**
 * Makes a typed builder of statements, kysely's. `DB` names the tables and the types of their columns. It needs no
 * connection: {@link query} runs what it builds.
 */
export const builder = <DB>(): Library.Kysely<DB> => {
  const { Kysely, PostgresAdapter, PostgresIntrospector, PostgresQueryCompiler } = kysely()
  return new Kysely<DB>({
    dialect: {
      createAdapter: () => new PostgresAdapter(),
      createDriver: () => driver,
      createIntrospector: (db) => new PostgresIntrospector(db),
      createQueryCompiler: () => new PostgresQueryCompiler()
    }
  })
}

interface Result {
  readonly rows: ReadonlyArray<unknown>
  readonly rowCount: number
}

/** What kysely's types promise: rows where there are any, else one object with the number of rows that were touched. */
const resultOf = ({ query }: Library.CompiledQuery, { rowCount, rows }: Result): ReadonlyArray<unknown> => {
  if ("returning" in query && query.returning !== undefined) return rows
  const { DeleteResult, InsertResult, MergeResult, UpdateResult } = kysely()
  const touched = BigInt(rowCount)
  switch (query.kind) {
    case "InsertQueryNode":
      return [new InsertResult(undefined, touched)]
    case "UpdateQueryNode":
      return [new UpdateResult(touched, undefined)]
    case "DeleteQueryNode":
      return [new DeleteResult(touched)]
    case "MergeQueryNode":
      return [new MergeResult(touched)]
    default:
      return rows
  }
}

/**
 * Runs a statement of {@link builder}'s, in the transaction of the caller where there is one.
 *
 * Rows are what PostgreSQL returns: `int8`, and so `count(*)`, is a bigint, `numeric` is a string. Fails with PgError.
 */
export const query = <C extends Library.Compilable<unknown>>(
  compilable: C
): Effect.Effect<Library.InferResult<C>, PgError, SqlClient.SqlClient> =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => {
    const compiled = compilable.compile()
    return Effect.mapBoth(sql.unsafe(compiled.sql, compiled.parameters).raw, {
      onSuccess: (result) => resultOf(compiled, result as Result) as Library.InferResult<C>,
      onFailure: PgError.fromSql
    })
  })
