import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as SqlClient from "effect/sql/SqlClient"
import { isSqlError, type SqlError } from "effect/sql/SqlError"
import { PgError } from "../PgError.ts"
import { StatementTimeout } from "./StatementTimeout.ts"

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
  /** How long each of its statements may take, in place of `statement_timeout`. Costs a round trip. */
  readonly statementTimeout?: Duration.Input
}

/** How often a transaction that lost against another one is run again. */
const retries = 5

const backoff = Schedule.min([Schedule.exponential("10 millis"), Schedule.spaced("500 millis")]).pipe(Schedule.jittered)

const lostToAnother = (error: unknown): boolean =>
  error instanceof PgError && (error.reason._tag === "SerializationFailure" || error.reason._tag === "Deadlock")

const beginStatement = ({ isolation, readOnly }: TransactionOptions): string | undefined =>
  isolation === undefined && readOnly === undefined
    ? undefined
    : `BEGIN${isolation === undefined ? "" : ` ISOLATION LEVEL ${isolation.toUpperCase()}`}${readOnly === true ? " READ ONLY" : ""}`

/**
 * Runs all statements of an effect in one transaction: committed when it succeeds, rolled back when it fails, dies or
 * is interrupted. Inside of another transaction it is a savepoint, and its options are without effect.
 *
 * An effect that lost against another transaction (SerializationFailure, Deadlock) is run again as a whole, up to 5
 * times after a jittered pause of 10 to 500 ms; nothing else is retried. So it should do nothing outside of the
 * database; `sql.afterCommit` registers what comes after. When the reply to the COMMIT is lost, it fails with
 * OutcomeUnknown. A statement that is interrupted ends the transaction, even if the interrupt is caught.
 */
export const transaction = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  options: TransactionOptions = {}
): Effect.Effect<A, Exclude<E, SqlError> | PgError, R | SqlClient.SqlClient> =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const outer = yield* Effect.serviceOption(sql.transactionService)
    if (Option.isSome(outer)) return yield* run(sql.withTransaction(effect))
    const begin = beginStatement(options)
    const limit =
      options.statementTimeout === undefined ? undefined : Math.ceil(Duration.toMillis(options.statementTimeout))
    const limited =
      limit === undefined
        ? effect
        : Effect.andThen(sql`SELECT set_config('statement_timeout', ${String(limit)}, true)`, effect)
    const once = sql
      // Reset inside: a transaction that the effect starts on another client or in another fiber is not meant.
      .withTransaction(Effect.provideService(limited, SqlClient.BeginTransaction, undefined))
      .pipe(Effect.provideService(SqlClient.BeginTransaction, begin), Effect.provideService(StatementTimeout, limit))
    return yield* Effect.retry(run(once), { while: lostToAnother, times: retries, schedule: backoff })
  })
