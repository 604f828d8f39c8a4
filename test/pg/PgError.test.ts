import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as SqlError from "effect/sql/SqlError"
import { OutcomeUnknown, PgError, PgErrorReason, PoolExhausted } from "xdooria/pg"

const canary = "canary8f2"

/** What the driver makes of an ErrorResponse: its fields ride on the cause. */
const byServer = (code: string, fields: object = {}): SqlError.SqlError => {
  const text = { message: `refused "${canary}"`, detail: `Key (name)=(${canary})`, where: canary, hint: canary }
  const cause = Object.assign(new Error(text.message), text, { code }, fields)
  return new SqlError.SqlError({ reason: new SqlError.UnknownError({ cause, message: canary, operation: "query" }) })
}

/** What it makes of a lost or refused connection. */
const byLink = (operation: string, message: string, cause: object = new Error(canary)): SqlError.SqlError =>
  new SqlError.SqlError({ reason: new SqlError.ConnectionError({ cause, message, operation }) })

const byNode = (code: string): Error => Object.assign(new Error(canary), { code })

const byDriver = (message: string): SqlError.SqlError =>
  new SqlError.SqlError({
    reason: new SqlError.UnknownError({ cause: new Error(canary), message, operation: "query" })
  })

const unauthenticated = new SqlError.SqlError({
  reason: new SqlError.AuthenticationError({ cause: new Error(canary), message: canary, operation: "connect" })
})

type Row = readonly [what: string, error: SqlError.SqlError, reason: object, retryable: boolean, safe: boolean]

const table: ReadonlyArray<Row> = [
  ["23505", byServer("23505", { constraint: "one" }), { _tag: "UniqueViolation", constraint: "one" }, false, true],
  ["23505 without a name", byServer("23505"), { _tag: "UniqueViolation", constraint: "unknown" }, false, true],
  [
    "23502",
    byServer("23502", { column: "n" }),
    { _tag: "ConstraintViolation", kind: "notNull", constraint: "n" },
    false,
    true
  ],
  [
    "23503",
    byServer("23503", { constraint: "fk" }),
    { _tag: "ConstraintViolation", kind: "foreignKey", constraint: "fk" },
    false,
    true
  ],
  [
    "23001",
    byServer("23001", { constraint: "fk" }),
    { _tag: "ConstraintViolation", kind: "foreignKey", constraint: "fk" },
    false,
    true
  ],
  [
    "23514",
    byServer("23514", { constraint: "c" }),
    { _tag: "ConstraintViolation", kind: "check", constraint: "c" },
    false,
    true
  ],
  [
    "23P01",
    byServer("23P01", { constraint: "x" }),
    { _tag: "ConstraintViolation", kind: "exclusion", constraint: "x" },
    false,
    true
  ],
  ["23000", byServer("23000"), { _tag: "ConstraintViolation", kind: "other", constraint: "unknown" }, false, true],
  ["40001", byServer("40001"), { _tag: "SerializationFailure" }, true, true],
  ["40P01", byServer("40P01"), { _tag: "Deadlock" }, true, true],
  ["40003", byServer("40003"), { _tag: "OutcomeUnknown", detail: "40003" }, true, false],
  ["08007", byServer("08007"), { _tag: "OutcomeUnknown", detail: "08007" }, true, false],
  ["08006", byServer("08006"), { _tag: "Unavailable", detail: "08006" }, true, true],
  ["55P03", byServer("55P03"), { _tag: "LockTimeout" }, true, true],
  [
    "57014",
    byServer("57014", { message: "canceling statement due to statement timeout" }),
    { _tag: "StatementTimeout" },
    false,
    true
  ],
  [
    "57014 by request",
    byServer("57014", { message: "canceling statement due to user request" }),
    { _tag: "Cancelled" },
    true,
    true
  ],
  ["57P01", byServer("57P01"), { _tag: "Unavailable", detail: "57P01" }, true, true],
  ["57P02", byServer("57P02"), { _tag: "Unavailable", detail: "57P02" }, true, true],
  ["57P03", byServer("57P03"), { _tag: "Unavailable", detail: "57P03" }, true, true],
  ["57P05", byServer("57P05"), { _tag: "Unavailable", detail: "57P05" }, true, true],
  ["57P04", byServer("57P04"), { _tag: "DatabaseNotFound" }, false, true],
  ["53300", byServer("53300"), { _tag: "Unavailable", detail: "53300" }, true, true],
  ["22003", byServer("22003"), { _tag: "NumericOverflow" }, false, true],
  ["22001", byServer("22001"), { _tag: "StringTooLong" }, false, true],
  ["22P02", byServer("22P02"), { _tag: "InvalidInput", problem: "22P02" }, false, true],
  ["25P02", byServer("25P02"), { _tag: "TransactionAborted" }, false, true],
  ["25P03", byServer("25P03"), { _tag: "TransactionAborted" }, false, true],
  ["25P04", byServer("25P04"), { _tag: "TransactionAborted" }, false, true],
  ["28P01", byServer("28P01"), { _tag: "Authentication", code: "28P01" }, false, true],
  ["28000", byServer("28000"), { _tag: "Authentication", code: "28000" }, false, true],
  ["3D000", byServer("3D000"), { _tag: "DatabaseNotFound" }, false, true],
  ["42501", byServer("42501"), { _tag: "PermissionDenied" }, false, true],
  ["42P01", byServer("42P01"), { _tag: "Syntax", code: "42P01" }, false, true],
  ["3F000", byServer("3F000"), { _tag: "Syntax", code: "3F000" }, false, true],
  ["0A000", byServer("0A000"), { _tag: "Syntax", code: "0A000" }, false, true],
  ["a stale plan", byServer("0A000", { routine: "RevalidateCachedQuery" }), { _tag: "StalePlan" }, true, true],
  ["P0001", byServer("P0001"), { _tag: "Unclassified", code: "P0001" }, false, true],
  ["XX000", byServer("XX000"), { _tag: "Unclassified", code: "XX000" }, false, true],
  [
    "refused",
    byLink("connect", canary, byNode("ECONNREFUSED")),
    { _tag: "Unavailable", detail: "ECONNREFUSED" },
    true,
    true
  ],
  [
    "not found",
    byLink("connect", canary, byNode("ENOTFOUND")),
    { _tag: "Unavailable", detail: "ENOTFOUND" },
    true,
    true
  ],
  [
    "closed at start",
    byLink("connect", canary),
    { _tag: "Unavailable", detail: "closed while connecting" },
    true,
    true
  ],
  [
    "too slow",
    byLink("connect", "PgConnection: Connection timed out"),
    { _tag: "Unavailable", detail: "no answer within connect_timeout" },
    true,
    true
  ],
  [
    "a certificate",
    byLink("connect", canary, byNode("CERT_HAS_EXPIRED")),
    { _tag: "TlsFailed", detail: "CERT_HAS_EXPIRED" },
    false,
    true
  ],
  [
    "no TLS",
    byLink("connect", "PgConnection: Server refused TLS"),
    { _tag: "TlsFailed", detail: "the server does not offer it" },
    false,
    true
  ],
  ["lost", byLink("query", canary), { _tag: "OutcomeUnknown", detail: "connection closed" }, true, false],
  [
    "reset",
    byLink("query", canary, byNode("ECONNRESET")),
    { _tag: "OutcomeUnknown", detail: "ECONNRESET" },
    true,
    false
  ],
  ["no password", unauthenticated, { _tag: "Authentication", code: "28000" }, false, true],
  ["not encodable", byDriver("PgConnection: Failed to encode query"), { _tag: "InvalidInput" }, false, true],
  ["not decodable", byDriver("PgConnection: Failed to decode row"), { _tag: "OutcomeUnknown" }, true, false],
  ["no code at all", byDriver(canary), { _tag: "OutcomeUnknown", detail: "connection closed" }, true, false],
  [
    "a cause that is no object",
    new SqlError.SqlError({ reason: new SqlError.UnknownError({ cause: canary }) }),
    { _tag: "OutcomeUnknown" },
    true,
    false
  ],
  [
    "what the room knew itself",
    byLink("query", canary, new PoolExhausted({ maxConns: 3 })),
    { _tag: "PoolExhausted", maxConns: 3 },
    true,
    true
  ]
]

describe("PgError.fromSql", () => {
  for (const [what, error, reason, isRetryable, isSafeToRetry] of table) {
    it(`classifies ${what}`, () => {
      const classified = PgError.fromSql(error)
      assert.include({ ...classified.reason }, reason)
      assert.deepStrictEqual([classified.isRetryable, classified.isSafeToRetry], [isRetryable, isSafeToRetry])
      const said = [classified.message, String(classified.stack), JSON.stringify(classified)].join("\n")
      assert.notInclude(said, canary)
    })
  }
})

describe("PgError", () => {
  it("does not say that the connection was lost when it was not", () => {
    const { message } = PgError.fromSql(byDriver("PgConnection: Failed to decode row"))
    assert.strictEqual(message, "pg: nobody knows whether the statement was applied (its result could not be read)")
  })

  it("says where, when that is known", () => {
    const reason = new OutcomeUnknown({ detail: "no reply" })
    assert.strictEqual(new PgError({ reason }).message, "pg: nobody knows whether the statement was applied (no reply)")
    assert.include(new PgError({ reason, at: "db:5432/game" }).message, "pg db:5432/game: ")
  })

  it("has reasons that say something, under tags of their own, and cross a wire", () => {
    const samples: Record<string, unknown> = {
      constraint: "c",
      kind: "check",
      problem: "a sentence about it",
      maxConns: 1,
      detail: "d"
    }
    Object.assign(samples, { code: "XX000", package: "p", path: "/p", step: "s" })
    const tags = new Set<string>()
    for (const reason of PgErrorReason.members) {
      const fields = Object.fromEntries(
        Object.keys(reason.fields).flatMap((key) => (key in samples ? [[key, samples[key]]] : []))
      )
      const made = new PgError({ reason: new (reason as never as new (fields: object) => PgErrorReason)(fields) })
      assert.isAbove(made.reason.message.length, 10)
      assert.isBoolean(made.isRetryable)
      assert.isBoolean(made.isSafeToRetry)
      tags.add(made.reason._tag)
      const received = Schema.decodeSync(PgError)(Schema.encodeSync(PgError)(made))
      assert.strictEqual(received.message, made.message)
    }
    assert.strictEqual(tags.size, PgErrorReason.members.length)
  })
})
