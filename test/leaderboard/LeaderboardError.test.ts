import { assert, describe, it } from "@effect/vitest"
import {
  Authentication,
  Busy,
  ClusterDown,
  CrossSlot,
  InvalidInput,
  InvalidKey,
  Loading,
  NoScript,
  OutcomeUnknown,
  OutOfMemory,
  PermissionDenied,
  ReadOnly,
  RedisFailure,
  type RedisFailureReason,
  Rejected,
  Timeout,
  TlsFailed,
  Unavailable,
  UnexpectedReply,
  WritesRefused,
  WrongType
} from "xdooria/redis"
import { fromRedis } from "xdooria/leaderboard/live"

type Row = readonly [reason: RedisFailureReason, write: object, read: object]

const same = (reason: RedisFailureReason, expected: object): Row => [reason, expected, expected]

const unavailable = (detail: string) => ({ _tag: "Unavailable", detail })
const refused = (detail: string) => ({ _tag: "Refused", detail })

const table: ReadonlyArray<Row> = [
  same(new OutcomeUnknown({ detail: "connection closed" }), { _tag: "OutcomeUnknown", detail: "connection closed" }),
  [new Timeout(), { _tag: "OutcomeUnknown", detail: "Timeout" }, unavailable("Timeout")],
  [
    new UnexpectedReply({ problem: "not text" }),
    { _tag: "OutcomeUnknown", detail: "not text" },
    { _tag: "Unreadable", problem: "not text" }
  ],
  same(new WrongType(), { _tag: "Unreadable", problem: "it is a value of another type" }),
  same(new Unavailable({ detail: "ECONNREFUSED" }), unavailable("ECONNREFUSED")),
  same(new Busy(), unavailable("Busy")),
  same(new Loading(), unavailable("Loading")),
  same(new ReadOnly(), unavailable("ReadOnly")),
  same(new OutOfMemory(), unavailable("OutOfMemory")),
  same(new WritesRefused({ code: "NOREPLICAS" }), unavailable("WritesRefused")),
  same(new ClusterDown(), unavailable("ClusterDown")),
  same(new NoScript(), unavailable("NoScript")),
  same(new PermissionDenied(), refused("PermissionDenied")),
  same(new Authentication({ code: "NOAUTH" }), refused("Authentication")),
  same(new TlsFailed({ detail: "CERT_HAS_EXPIRED" }), refused("TlsFailed")),
  same(new Rejected({ code: "ERR" }), refused("Rejected")),
  same(new CrossSlot(), refused("CrossSlot")),
  same(new InvalidKey({ part: 1, problem: "it is empty" }), refused("InvalidKey")),
  same(new InvalidInput({ problem: "not finite" }), refused("InvalidInput"))
]

describe("LeaderboardError", () => {
  it("does not know what became of a write that failed on its way", () => {
    const failure = new RedisFailure({ reason: new WrongType(), command: "leaderboard.update", partial: true })
    assert.strictEqual(fromRedis(failure, true).reason._tag, "OutcomeUnknown")
    assert.strictEqual(fromRedis(failure, false).reason._tag, "Unreadable")
  })

  for (const [reason, write, read] of table) {
    it(`is made of ${reason._tag}`, () => {
      const failure = new RedisFailure({ reason, command: "leaderboard.update" })
      for (const [isWrite, expected] of [
        [true, write],
        [false, read]
      ] as const) {
        const error = fromRedis(failure, isWrite)
        assert.include({ ...error.reason }, expected)
        // What may have been applied is never called safe to do again.
        assert.strictEqual(error.isSafeToRetry, error.reason._tag !== "OutcomeUnknown")
        assert.strictEqual(error.isRetryable, ["OutcomeUnknown", "Unavailable"].includes(error.reason._tag))
        assert.match(error.message, /^leaderboard: ./)
      }
    })
  }
})
