import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as SqlClient from "effect/sql/SqlClient"
import { isSqlError, type SqlError } from "effect/sql/SqlError"
import { PgError } from "../PgError.ts"
import { serverMillis, StatementTimeout } from "./StatementTimeout.ts"

const toPgError = <E>(error: E): Exclude<E, SqlError> | PgError =>
  isSqlError(error) ? PgError.fromSql(error) : (error as Exclude<E, SqlError>)

/**
 * Runs an effect of SqlClient's, a statement as a rule, and classifies its SqlError; every other error passes.
 *
 * The deadline, the release of an interrupted caller and the bound of the wait for a connection are properties of the
 * client that PgLive and PgEmbedded provide, so they hold without this function too.
 */
export const run = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, Exclude<E, SqlError> | PgError, R> =>
  Effect.mapError(effect, toPgError)

/** How a transaction is run. */
export interface TransactionOptions {
  /** What it sees of others; PostgreSQL's default is `read committed`. */
  readonly isolation?: "read committed" | "repeatable read" | "serializable"
  /** Whether its statements must not write. */
  readonly readOnly?: boolean
  /**
   * How long each of its statements may take, in place of `statement_timeout`: 1 ms to 24 days, to which what is less
   * or more is brought. Costs a round trip.
   */
  readonly statementTimeout?: Duration.Input
}

/** How often a transaction that lost against another one is run again. */
const retries = 5

const backoff = Schedule.min([Schedule.exponential("10 millis"), Schedule.spaced("500 millis")]).pipe(Schedule.jittered)

const lostTags: ReadonlySet<string> = new Set(["SerializationFailure", "Deadlock", "StalePlan"])

const lostToAnother = (error: unknown): error is PgError => error instanceof PgError && lostTags.has(error.reason._tag)

const beginStatement = ({ isolation, readOnly }: TransactionOptions): string | undefined =>
  isolation === undefined && readOnly === undefined
    ? undefined
    : `BEGIN${isolation === undefined ? "" : ` ISOLATION LEVEL ${isolation.toUpperCase()}`}${readOnly === true ? " READ ONLY" : ""}`

/** The options as what Effect's withTransaction and the session read. */
const withOptions = <A, E, R>(
  sql: SqlClient.SqlClient,
  effect: Effect.Effect<A, E, R>,
  options: TransactionOptions
): Effect.Effect<A, E | SqlError, R> => {
  const limit = options.statementTimeout === undefined ? undefined : serverMillis(options.statementTimeout)
  const limited =
    limit === undefined
      ? effect
      : Effect.andThen(sql`SELECT set_config('statement_timeout', ${String(limit)}, true)`, effect)
  return (
    sql
      // Reset inside: a transaction that the effect starts on another client or in another fiber is not meant.
      .withTransaction(Effect.provideService(limited, SqlClient.BeginTransaction, undefined))
      .pipe(
        Effect.provideService(SqlClient.BeginTransaction, beginStatement(options)),
        Effect.provideService(StatementTimeout, limit)
      )
  )
}

/** Runs again what has just failed so. The first try is not part of it: a schedule costs, and is rarely needed. */
const runAgain = <A, E, R>(once: Effect.Effect<A, E, R>, failure: PgError): Effect.Effect<A, E | PgError, R> => {
  let isFirst = true
  const next = Effect.suspend((): Effect.Effect<A, E | PgError, R> => {
    if (!isFirst) return once
    isFirst = false
    return Effect.fail(failure)
  })
  return Effect.retry(next, { while: lostToAnother, times: retries, schedule: backoff })
}

/**
 * Runs all statements of an effect in one transaction: committed when it succeeds, rolled back when it fails, dies or
 * is interrupted. Inside of another transaction it is a savepoint, and its options are without effect.
 *
 * An effect that lost against another transaction (SerializationFailure, Deadlock, StalePlan) is run again as a whole, up to 5
 * times after a jittered pause of 10 to 500 ms; nothing else is retried. So it should do nothing outside of the
 * database; `sql.afterCommit` registers what comes after. When the reply to the COMMIT is lost, it fails with
 * OutcomeUnknown. A statement that is interrupted ends the transaction, even if the interrupt is caught.
 */
export const transaction = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  options?: TransactionOptions
): Effect.Effect<A, Exclude<E, SqlError> | PgError, R | SqlClient.SqlClient> =>
  Effect.flatMap(SqlClient.SqlClient, (sql) =>
    Effect.flatMap(Effect.serviceOption(sql.transactionService), (outer) => {
      type Once = Effect.Effect<A, Exclude<E, SqlError> | PgError, R>
      if (Option.isSome(outer)) return run(sql.withTransaction(effect)) as Once
      const once = run(options === undefined ? sql.withTransaction(effect) : withOptions(sql, effect, options)) as Once
      return Effect.catchIf(once, lostToAnother, (failure) => runAgain(once, failure)) as Once
    })
  )
