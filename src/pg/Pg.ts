import * as Duration from "effect/Duration"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Config from "../config/Config.ts"
import { longestMillis } from "./internal/StatementTimeout.ts"

export { checkMigrations, layerMigrations, migrate, type Migration } from "./internal/migrations.ts"
export { builder, query } from "./internal/query.ts"
export { run, transaction, type TransactionOptions } from "./internal/transaction.ts"

const seconds = (value: number, description: string) =>
  Config.Seconds.pipe(Config.withDefault(value), Schema.annotateKey({ description }))

const connections = (minimum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum: 10_000 }))

/** Section `database`. Every time but `max_idle_time` must be more than 0. */
export const PgConfig = Config.section(
  "database",
  {
    host: Schema.NonEmptyString.pipe(
      Config.withDefault("localhost"),
      Schema.annotate({ description: "Name or address of the server, or the folder of its Unix socket" })
    ),
    port: Config.Port.pipe(Config.withDefault(5432), Schema.annotate({ description: "Port of the server" })),
    user: Schema.NonEmptyString.pipe(
      Config.withDefault("xdooria"),
      Schema.annotate({ description: "Role that statements run as" })
    ),
    password: Config.Secret.pipe(
      Config.withDefault(""),
      Schema.annotateKey({ description: "Password of the role; empty for none" })
    ),
    database: Schema.NonEmptyString.pipe(
      Config.withDefault("xdooria_game"),
      Schema.annotate({ description: "Name of the database" })
    ),
    maxConns: connections(1).pipe(
      Config.withDefault(20),
      Schema.annotate({ description: "Most connections that exist at any time" })
    ),
    minConns: connections(0).pipe(
      Config.withDefault(1),
      Schema.annotate({ description: "Connections that are kept when there is nothing to do" })
    ),
    maxIdleTime: seconds(300, "How long a connection above min_conns may be idle, in seconds"),
    maxConnLifetime: seconds(
      1800,
      "How long a connection is used before a new one takes its place, in seconds, +-10 %"
    ),
    connectTimeout: seconds(2, "How long connecting and authenticating may take, in seconds"),
    acquireTimeout: seconds(3, "How long a call waits for a connection when all are in use, in seconds"),
    statementTimeout: seconds(
      5,
      "How long a statement may take, in seconds, up to 2147483; see Pg.transaction for an exception"
    ),
    lockTimeout: seconds(3, "How long a statement waits for a lock, in seconds, up to 2147483"),
    idleInTransactionTimeout: seconds(
      10,
      "How long a transaction may do nothing before the server ends it, in seconds, up to 2147483"
    ),
    startTimeout: seconds(8, "How long the start waits for the server, in seconds"),
    tls: Schema.Literals(["disable", "require", "verify-full"]).pipe(
      Config.withDefault("disable"),
      Schema.annotate({ description: "No TLS, TLS with any certificate, or TLS with a certificate for the host" })
    ),
    tlsCaFile: Schema.String.pipe(
      Config.withDefault(""),
      Schema.annotate({ description: "PEM file with the authorities for verify-full; empty for those of Node" })
    )
  },
  (values, env) => [
    ...positive.filter((field) => Duration.isZero(values[field])).map((field) => ({ field, expected: "more than 0" })),
    ...keptByServer
      .filter((field) => Duration.toMillis(values[field]) > longestMillis)
      .map((field) => ({ field, expected: "at most 2147483 seconds" })),
    // A server that lets a user in by a Unix socket knows it from the system.
    ...(env === "prod" && !values.host.startsWith("/") && Redacted.value(values.password) === ""
      ? [{ field: "password" as const, expected: "a password in prod", hint: "set XDOORIA_DATABASE_PASSWORD" }]
      : []),
    ...(values.minConns > values.maxConns
      ? [{ field: "minConns" as const, expected: `at most max_conns (${values.maxConns})` }]
      : [])
  ]
)

const keptByServer = ["statementTimeout", "lockTimeout", "idleInTransactionTimeout"] as const

const positive = [
  "maxConnLifetime",
  "connectTimeout",
  "acquireTimeout",
  "statementTimeout",
  "lockTimeout",
  "idleInTransactionTimeout",
  "startTimeout"
] as const

/** The values of {@link PgConfig}. */
export type PgOptions = typeof PgConfig.schema.Type
