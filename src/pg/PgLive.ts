import * as PgClient from "@effect/sql-pg/PgClient"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Reactivity from "effect/reactivity/Reactivity"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import * as Statement from "effect/sql/Statement"
import * as Config from "../config/Config.ts"
import type { InvalidConfig } from "../config/ConfigError.ts"
import * as Health from "../health/Health.ts"
import { tlsOf } from "../utils/Tls.ts"
import { Pool } from "./internal/Pool.ts"
import { Restore, restored } from "./internal/Restore.ts"
import type { Session } from "./internal/Session.ts"
import { serverMillis } from "./internal/StatementTimeout.ts"
import { PgConfig, type PgOptions } from "./Pg.ts"
import { PgError } from "./PgError.ts"
import { Unavailable } from "./PgErrorReason.ts"

/** How long nothing may have succeeded before the server is pinged; a failure is followed by a ping within a second. */
const quietPeriod = Duration.toMillis("5 seconds")

/** How long a ping may take. */
const pingTimeout = "2 seconds"

const startBackoff = Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("1 second")]).pipe(
  Schedule.jittered
)

const defaults: PgOptions = Schema.decodeSync(PgConfig.schema)({})

/** As a session parameter: a number without a unit is milliseconds. */
const millis = (duration: Duration.Duration): string => String(serverMillis(duration))

const makePool = Effect.fnUntraced(function* (options: PgOptions) {
  const { service } = yield* Config.Current
  const { host, port } = options
  return yield* Pool.make({
    connection: {
      host,
      port,
      ssl: yield* tlsOf(options, "database.tls_ca_file"),
      database: options.database,
      username: options.user,
      password: Redacted.value(options.password) === "" ? undefined : options.password,
      connectTimeout: options.connectTimeout,
      applicationName: service,
      startupParameters: {
        statement_timeout: millis(options.statementTimeout),
        lock_timeout: millis(options.lockTimeout),
        idle_in_transaction_session_timeout: millis(options.idleInTransactionTimeout),
        // A Date is an instant; with another zone, one written to a `timestamp` column would not come back the same.
        timezone: "UTC"
      }
    },
    address: host.startsWith("/") ? { path: `${host}/.s.PGSQL.${port}` } : { host, port },
    maxConns: options.maxConns,
    minConns: options.minConns,
    maxIdleMillis: Duration.toMillis(options.maxIdleTime),
    maxLifetimeMillis: Duration.toMillis(options.maxConnLifetime),
    acquireMillis: Duration.toMillis(options.acquireTimeout),
    statementMillis: Duration.toMillis(options.statementTimeout)
  })
})

const ping = (pool: Pool): Effect.Effect<unknown, SqlError> => pool.use((session) => session.executeRaw("SELECT 1", []))

/** Waits for the server to answer for the first time. What another try cannot mend fails at once. */
const awaitServer = (pool: Pool, at: string, startTimeout: Duration.Duration): Effect.Effect<void, PgError> =>
  Effect.suspend(() => {
    let last = new PgError({ reason: new Unavailable({ detail: "no answer" }), at })
    return ping(pool).pipe(
      Effect.mapError((error) => (last = new PgError({ reason: PgError.fromSql(error).reason, at }))),
      Effect.tapError((error) => (error.isRetryable ? Effect.logInfo(`waiting for ${error.message}`) : Effect.void)),
      Effect.retry({ while: (error) => error.isRetryable, schedule: startBackoff }),
      Effect.timeoutOrElse({ duration: startTimeout, orElse: () => Effect.fail(last) }),
      Effect.asVoid
    )
  })

/** Tells `health` and the log when the server goes and comes back. Looks once a second. */
const watch = Effect.fnUntraced(function* (pool: Pool, at: string) {
  const reporter = yield* Health.Reporter
  let isUp = true
  const tell = (problem: string | undefined): Effect.Effect<void> => {
    const changed = isUp !== (problem === undefined)
    isUp = problem === undefined
    const state: Health.HealthState = problem === undefined ? { status: "up" } : { status: "down", detail: problem }
    const line = isUp ? Effect.logInfo(`pg ${at}: up again`) : Effect.logWarning(`pg ${at}: down: ${problem}`)
    return Effect.andThen(reporter.report("pg", state), changed ? line : Effect.void)
  }
  const look = Effect.gen(function* () {
    if (pool.now() - pool.successAt <= quietPeriod && pool.failureAt <= pool.successAt) return yield* tell(undefined)
    // All sessions are at work: what becomes of their statements will tell.
    if (!pool.hasRoom) return
    const answer = yield* ping(pool).pipe(
      Effect.as(undefined),
      Effect.catch((error) => Effect.succeed(PgError.fromSql(error).reason.message)),
      Effect.timeoutOrElse({ duration: pingTimeout, orElse: () => Effect.succeed("no answer to a ping") })
    )
    yield* tell(answer)
  })
  yield* Effect.addFinalizer(() => reporter.forget("pg"))
  yield* tell(undefined)
  yield* Effect.forkScoped(Effect.schedule(look, Schedule.spaced("1 second")))
})

let clients = 0

/** Effect's transactions on our sessions: what they do when the connection is lost, or a statement is interrupted. */
const transactionsOn = (pool: Pool, spanAttributes: ReadonlyArray<readonly [string, unknown]>) => {
  // Effect counts its own clients by number in the same name, so ours has another one.
  const transactionService = Context.Service<SqlClient.TransactionConnection, readonly [Session, number]>(
    `xdooria/pg/Transaction/${clients++}`
  )
  const base = SqlClient.makeWithTransaction({
    transactionService,
    spanAttributes,
    acquireConnection: () => pool.lease(restored),
    begin: (session, statement) => session.begin(statement ?? "BEGIN"),
    savepoint: (session, id) => session.savepoint(`effect_sql_${id}`),
    releaseSavepoint: (session, id) => session.releaseSavepoint(`effect_sql_${id}`),
    commit: (session) => session.commit,
    rollback: (session) => session.rollback,
    rollbackSavepoint: (session, id) => session.rollbackSavepoint(`effect_sql_${id}`)
  })
  const withTransaction: typeof base = (effect) =>
    Effect.uninterruptibleMask((restore) => Effect.provideService(base(restore(effect)), Restore, restore))
  return { transactionService, withTransaction }
}

const json = Statement.custom<PgClient.PgCustom>("PgJson")

const makeClient = Effect.fnUntraced(function* (pool: Pool, options: PgOptions) {
  const { database, host, password, port, user } = options
  const spanAttributes = [
    ["db.system.name", "postgresql"],
    ["db.namespace", database],
    ["server.address", host],
    ["server.port", port]
  ] as const
  const { transactionService, withTransaction } = transactionsOn(pool, spanAttributes)
  const session = Effect.uninterruptibleMask((restore) => pool.lease(restore))
  const sql = yield* SqlClient.make({
    acquirer: session,
    transactionAcquirer: session,
    borrower: pool.use,
    compiler: PgClient.makeCompiler(),
    driver: "pg",
    spanAttributes,
    // Every connection of this client is a Session: the same key, with the type that SqlClient knows it by.
    transactionService: transactionService as never
  })
  return Object.assign(sql, {
    withTransaction,
    [PgClient.TypeId]: PgClient.TypeId,
    config: { host, port, database, username: user, password },
    json: (value: unknown) => Statement.fragment([json(value)]),
    listen: (channel: string) => Effect.flatMap(session, (session) => session.listen(channel)),
    notify: (channel: string, payload: string) => Effect.asVoid(sql`SELECT pg_notify(${channel}, ${payload})`)
  }) satisfies PgClient.PgClient
})

/**
 * Connects to a server; what is not given has the default of PgConfig.
 *
 * Fails with PgError, `at` naming the server, when it cannot be reached for `startTimeout`, and at once when it refuses
 * the user, the password, the database or TLS; with InvalidConfig when `tlsCaFile` cannot be read. Afterwards it
 * reconnects for ever and reports `pg` to health. The connections end with the scope.
 */
export const makeLive = (
  options: Partial<PgOptions> = {}
): Effect.Effect<
  Context.Context<SqlClient.SqlClient | PgClient.PgClient>,
  PgError | InvalidConfig,
  Scope.Scope | Reactivity.Reactivity
> =>
  Effect.gen(function* () {
    const values = { ...defaults, ...options }
    const at = `${values.host}:${values.port}/${values.database}`
    const pool = yield* makePool(values)
    yield* awaitServer(pool, at, values.startTimeout)
    yield* watch(pool, at)
    const client = yield* makeClient(pool, values)
    return Context.make(SqlClient.SqlClient, client as SqlClient.SqlClient).pipe(Context.add(PgClient.PgClient, client))
  })

/** As {@link PgLive}, with options in place of the configuration. See {@link makeLive}. */
export const layerLive = (
  options: Partial<PgOptions> = {}
): Layer.Layer<SqlClient.SqlClient | PgClient.PgClient, PgError | InvalidConfig> =>
  Layer.effectContext(makeLive(options)).pipe(Layer.provide(Reactivity.layer))

/** Effect's SqlClient and PgClient on the server of section `database`. See {@link makeLive}. */
export const PgLive: Layer.Layer<SqlClient.SqlClient | PgClient.PgClient, PgError | InvalidConfig> =
  Layer.effectContext(Effect.flatMap(Config.get(PgConfig), makeLive)).pipe(Layer.provide(Reactivity.layer))
