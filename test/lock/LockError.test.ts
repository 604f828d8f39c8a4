import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as Lock from "xdooria/lock"
import * as Pg from "xdooria/pg"
import * as Redis from "xdooria/redis"

const { LockError, LockErrorReason } = Lock

type Row = readonly [reason: Redis.RedisFailureReason, becomes: object, retryable: boolean, safe: boolean]

const refused = (detail: string) => ({ _tag: "Refused", detail })
const unavailable = (detail: string) => ({ _tag: "Unavailable", detail })
const unknown = (detail: string) => ({ _tag: "OutcomeUnknown", detail })

const table: ReadonlyArray<Row> = [
  [
    new Redis.InvalidKey({ part: 1, problem: "it is empty" }),
    { _tag: "InvalidInput", problem: "it is empty" },
    false,
    true
  ],
  [
    new Redis.InvalidInput({ problem: "a lone surrogate" }),
    { _tag: "InvalidInput", problem: "a lone surrogate" },
    false,
    true
  ],
  [new Redis.CrossSlot(), refused("CrossSlot"), false, true],
  [new Redis.WrongType(), refused("WrongType"), false, true],
  [new Redis.NoScript(), unavailable("NoScript"), true, true],
  [new Redis.Busy(), unavailable("Busy"), true, true],
  [new Redis.Loading(), unavailable("Loading"), true, true],
  [new Redis.ReadOnly(), unavailable("ReadOnly"), true, true],
  [new Redis.OutOfMemory(), unavailable("OutOfMemory"), true, true],
  [new Redis.WritesRefused({ code: "NOREPLICAS" }), unavailable("NOREPLICAS"), true, true],
  [new Redis.ClusterDown(), unavailable("ClusterDown"), true, true],
  [new Redis.Authentication({ code: "WRONGPASS" }), refused("WRONGPASS"), false, true],
  [new Redis.PermissionDenied(), refused("PermissionDenied"), false, true],
  [new Redis.TlsFailed({ detail: "CERT_HAS_EXPIRED" }), refused("CERT_HAS_EXPIRED"), false, true],
  [new Redis.Unavailable({ detail: "ECONNREFUSED" }), unavailable("ECONNREFUSED"), true, true],
  [new Redis.Timeout(), unavailable("Timeout"), true, true],
  [new Redis.OutcomeUnknown({ detail: "ECONNRESET" }), unknown("ECONNRESET"), true, false],
  [new Redis.Conflict({ attempts: 3 }), unavailable("Conflict"), true, true],
  [new Redis.PoolExhausted(), unavailable("PoolExhausted"), true, true],
  [new Redis.UnexpectedReply({ problem: "not 1 or 0" }), unknown("an unexpected reply"), true, false],
  [new Redis.Closed(), { _tag: "Closed" }, false, true],
  [new Redis.Rejected({ code: "ERR" }), refused("ERR"), false, true]
]

describe("LockError.fromRedis", () => {
  for (const [reason, becomes, isRetryable, isSafeToRetry] of table) {
    it(`classifies ${reason._tag}`, () => {
      const error = LockError.fromRedis(new Redis.RedisFailure({ reason, command: "lock.claim" }))
      assert.deepInclude({ ...error.reason }, becomes)
      assert.deepStrictEqual([error.isRetryable, error.isSafeToRetry], [isRetryable, isSafeToRetry])
    })
  }

  it("knows every reason that the room redis has", () => {
    assert.sameMembers(
      table.map(([{ _tag }]) => _tag),
      Redis.RedisFailureReason.members.map(
        (reason) => (reason.fields as { _tag: { schema: { literal: string } } })._tag.schema.literal
      )
    )
  })
})

describe("LockError.fromPg", () => {
  it("says whether another try may work", () => {
    const from = (reason: Pg.PgErrorReason): object => LockError.fromPg(new Pg.PgError({ reason })).reason
    assert.deepInclude({ ...from(new Pg.Unavailable({ detail: "57P01" })) }, unavailable("Unavailable"))
    assert.deepInclude({ ...from(new Pg.OutcomeUnknown({ detail: "ECONNRESET" })) }, unavailable("OutcomeUnknown"))
    assert.deepInclude({ ...from(new Pg.Syntax({ code: "42P01" })) }, refused("42P01"))
    assert.deepInclude({ ...from(new Pg.PermissionDenied()) }, refused("PermissionDenied"))
  })
})

describe("LockError", () => {
  it("has reasons that say something, under tags of their own, and crosses a wire", () => {
    const samples: Record<string, unknown> = { millis: 1, how: "expired", problem: "p", detail: "d" }
    const tags = new Set<string>()
    for (const reason of LockErrorReason.members) {
      const fields = Object.fromEntries(
        Object.keys(reason.fields).flatMap((key) => (key in samples ? [[key, samples[key]]] : []))
      )
      const made = new LockError({
        reason: new (reason as never as new (fields: object) => Lock.LockErrorReason)(fields)
      })
      assert.match(made.message, /^lock: .{10}/)
      tags.add(made.reason._tag)
      assert.strictEqual(Schema.decodeSync(LockError)(Schema.encodeSync(LockError)(made)).message, made.message)
    }
    assert.strictEqual(tags.size, LockErrorReason.members.length)
  })
})
