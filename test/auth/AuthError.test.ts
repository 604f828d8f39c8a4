import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import { AuthError, AuthErrorReason } from "xdooria/auth"
import { fromRedis } from "xdooria/auth/live"
import * as Redis from "xdooria/redis"

const canary = "canary8f2"

type Row = readonly [reason: Redis.RedisFailureReason, expected: "Unavailable" | "Refused"]

const table: ReadonlyArray<Row> = [
  [new Redis.Unavailable({ detail: canary }), "Unavailable"],
  [new Redis.Timeout(), "Unavailable"],
  [new Redis.NoScript(), "Unavailable"],
  [new Redis.Busy(), "Unavailable"],
  [new Redis.Loading(), "Unavailable"],
  [new Redis.ReadOnly(), "Unavailable"],
  [new Redis.OutOfMemory(), "Unavailable"],
  [new Redis.WritesRefused({ code: "MISCONF" }), "Unavailable"],
  [new Redis.ClusterDown(), "Unavailable"],
  [new Redis.PoolExhausted(), "Unavailable"],
  [new Redis.Conflict({ attempts: 3 }), "Unavailable"],
  [new Redis.OutcomeUnknown({ detail: canary }), "Unavailable"],
  [new Redis.UnexpectedReply({ problem: canary }), "Refused"],
  [new Redis.WrongType(), "Refused"],
  [new Redis.InvalidKey({ part: 1, problem: canary }), "Refused"],
  [new Redis.InvalidInput({ problem: canary }), "Refused"],
  [new Redis.CrossSlot(), "Refused"],
  [new Redis.Authentication({ code: "NOAUTH" }), "Refused"],
  [new Redis.PermissionDenied(), "Refused"],
  [new Redis.TlsFailed({ detail: "CERT" }), "Refused"],
  [new Redis.Closed(), "Refused"],
  [new Redis.Rejected({ code: "ERR" }), "Refused"]
]

describe("fromRedis", () => {
  for (const [reason, expected] of table) {
    it(`classifies ${reason._tag}`, () => {
      const error = fromRedis(new Redis.RedisFailure({ reason, command: canary, at: canary }))
      assert.deepInclude({ ...error.reason }, { _tag: expected, detail: `the store of tokens (${reason._tag})` })
      assert.deepStrictEqual([error.isRetryable, error.isSafeToRetry], [expected === "Unavailable", true])
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

describe("AuthError", () => {
  it("has reasons that say something, under tags of their own, and cross a wire", () => {
    const samples = {
      problem: "a sentence about it",
      claim: "aud",
      how: "used",
      until: 1_800_000_000_000,
      of: "account",
      retryAfterMillis: 1_000,
      detail: "Timeout"
    }
    const tags = new Set<string>()
    for (const reason of AuthErrorReason.members) {
      const fields = Object.fromEntries(Object.entries(samples).filter(([key]) => key in reason.fields))
      const made = new AuthError({ reason: new (reason as never as new (fields: object) => AuthErrorReason)(fields) })
      assert.isAbove(made.reason.message.length, 10)
      assert.isBoolean(made.isRetryable)
      assert.isTrue(made.isSafeToRetry)
      tags.add(made.reason._tag)
      const wire: unknown = JSON.parse(JSON.stringify(Schema.encodeSync(AuthError)(made)))
      assert.strictEqual(Schema.decodeUnknownSync(AuthError)(wire).message, made.message)
    }
    assert.strictEqual(tags.size, AuthErrorReason.members.length)
  })
})
