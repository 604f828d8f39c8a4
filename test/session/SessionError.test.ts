import { assert, describe, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Schema from "effect/Schema"
import * as Redis from "xdooria/redis"
import { Banned, SessionError, SessionErrorReason } from "xdooria/session"
import { fromRedis } from "xdooria/session/live"

const canary = "canary8f2"

type Row = readonly [reason: Redis.RedisFailureReason, expected: object, retryable: boolean, safe: boolean]

const table: ReadonlyArray<Row> = [
  [new Redis.Unavailable({ detail: "ECONNREFUSED" }), { _tag: "Unavailable", detail: "ECONNREFUSED" }, true, true],
  [new Redis.Timeout(), { _tag: "Unavailable", detail: "Timeout" }, true, true],
  [new Redis.NoScript(), { _tag: "Unavailable", detail: "NoScript" }, true, true],
  [new Redis.Busy(), { _tag: "Unavailable", detail: "Busy" }, true, true],
  [new Redis.Loading(), { _tag: "Unavailable", detail: "Loading" }, true, true],
  [new Redis.ReadOnly(), { _tag: "Unavailable", detail: "ReadOnly" }, true, true],
  [new Redis.OutOfMemory(), { _tag: "Unavailable", detail: "OutOfMemory" }, true, true],
  [new Redis.WritesRefused({ code: "MISCONF" }), { _tag: "Unavailable", detail: "WritesRefused" }, true, true],
  [new Redis.ClusterDown(), { _tag: "Unavailable", detail: "ClusterDown" }, true, true],
  [new Redis.PoolExhausted(), { _tag: "Unavailable", detail: "PoolExhausted" }, true, true],
  [new Redis.Conflict({ attempts: 3 }), { _tag: "Unavailable", detail: "Conflict" }, true, true],
  [new Redis.OutcomeUnknown({ detail: "ECONNRESET" }), { _tag: "OutcomeUnknown", detail: "ECONNRESET" }, true, false],
  [new Redis.UnexpectedReply({ problem: "not text" }), { _tag: "OutcomeUnknown", detail: "not text" }, true, false],
  [new Redis.WrongType(), { _tag: "Unreadable" }, false, true],
  [new Redis.InvalidKey({ part: 1, problem: "p" }), { _tag: "Refused", detail: "InvalidKey" }, false, true],
  [new Redis.InvalidInput({ problem: "p" }), { _tag: "Refused", detail: "InvalidInput" }, false, true],
  [new Redis.CrossSlot(), { _tag: "Refused", detail: "CrossSlot" }, false, true],
  [new Redis.Authentication({ code: "NOAUTH" }), { _tag: "Refused", detail: "Authentication" }, false, true],
  [new Redis.PermissionDenied(), { _tag: "Refused", detail: "PermissionDenied" }, false, true],
  [new Redis.TlsFailed({ detail: "CERT" }), { _tag: "Refused", detail: "TlsFailed" }, false, true],
  [new Redis.Closed(), { _tag: "Refused", detail: "Closed" }, false, true],
  [new Redis.Rejected({ code: "ERR" }), { _tag: "Refused", detail: "Rejected" }, false, true]
]

describe("fromRedis", () => {
  for (const [reason, expected, isRetryable, isSafeToRetry] of table) {
    it(`classifies ${reason._tag}`, () => {
      const error = fromRedis(new Redis.RedisFailure({ reason, command: canary, at: canary }))
      assert.deepInclude({ ...error.reason }, expected)
      assert.deepStrictEqual([error.isRetryable, error.isSafeToRetry], [isRetryable, isSafeToRetry])
      assert.notInclude(`${error.message} ${JSON.stringify(error)}`, canary)
    })
  }

  it("knows every reason of room redis", () => {
    const known = new Set<string>(table.map(([{ _tag }]) => _tag))
    const all = Redis.RedisFailureReason.members.map((member) => member.fields._tag.ast.literal as string)
    assert.deepStrictEqual(
      all.filter((tag) => !known.has(tag)),
      []
    )
  })
})

describe("SessionError", () => {
  it("has reasons that say something, under tags of their own, and cross a wire", () => {
    const until = DateTime.makeUnsafe("2026-11-23T00:31:40Z")
    const samples = { problem: "a sentence about it", field: "token", detail: "d", confirmed: 0, until }
    const tags = new Set<string>()
    for (const reason of SessionErrorReason.members) {
      const fields = Object.fromEntries(Object.entries(samples).filter(([key]) => key in reason.fields))
      const made = new SessionError({
        reason: new (reason as never as new (fields: object) => SessionErrorReason)(fields)
      })
      assert.isAbove(made.reason.message.length, 10)
      assert.isBoolean(made.isRetryable)
      assert.isBoolean(made.isSafeToRetry)
      tags.add(made.reason._tag)
      const wire: unknown = JSON.parse(JSON.stringify(Schema.encodeSync(SessionError)(made)))
      assert.strictEqual(Schema.decodeUnknownSync(SessionError)(wire).message, made.message)
    }
    assert.strictEqual(tags.size, SessionErrorReason.members.length)
  })

  it("says until when a player is banned", () => {
    const until = DateTime.makeUnsafe("2026-11-23T00:31:40Z")
    assert.strictEqual(
      new SessionError({ reason: new Banned({ until }) }).message,
      "session: the player is banned until 2026-11-23T00:31:40.000Z"
    )
    assert.strictEqual(new Banned({}).message, "the player is banned for ever")
  })
})
