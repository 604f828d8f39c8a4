import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import { Command, InvalidKey, OutcomeUnknown, RedisFailure, RedisFailureReason, Script, WrongType } from "xdooria/redis"
import { byScript, classify, lost, redirectionOf, refused } from "../../src/redis/internal/classify.ts"

const canary = "canary8f2"

/** A server's answer as the driver makes it of RESP2 and of RESP3: a simple error, and one of bytes. */
const replies = (message: string): ReadonlyArray<Error> => [
  Object.assign(new Error(message), { name: "ReplyError", command: { name: "auth", args: [canary] } }),
  Object.defineProperty(new Error(message), "name", { get: () => "ReplyError" })
]

const byNode = (code: string): Error => Object.assign(new Error(canary), { code })

const write = { wasSent: true, isIdempotent: false }
const read = { wasSent: true, isIdempotent: true }
const unsent = { wasSent: false, isIdempotent: false }

type Row = readonly [answer: string, reason: object, retryable: boolean, safe: boolean]

const answers: ReadonlyArray<Row> = [
  [`WRONGTYPE Operation against a key ${canary}`, { _tag: "WrongType" }, false, true],
  ["NOSCRIPT No matching script.", { _tag: "NoScript" }, true, true],
  ["BUSY Redis is busy running a script.", { _tag: "Busy" }, true, true],
  ["LOADING Redis is loading the dataset in memory", { _tag: "Loading" }, true, true],
  ["READONLY You can't write against a read only replica.", { _tag: "ReadOnly" }, true, true],
  ["OOM command not allowed when used memory > 'maxmemory'.", { _tag: "OutOfMemory" }, true, true],
  ["MISCONF Redis is configured to save RDB snapshots", { _tag: "WritesRefused", code: "MISCONF" }, true, true],
  ["NOREPLICAS Not enough good replicas to write.", { _tag: "WritesRefused", code: "NOREPLICAS" }, true, true],
  ["CLUSTERDOWN Hash slot not served", { _tag: "ClusterDown" }, true, true],
  ["TRYAGAIN Multiple keys request during rehashing of slot", { _tag: "ClusterDown" }, true, true],
  ["MOVED 3999 127.0.0.1:6381", { _tag: "ClusterDown" }, true, true],
  ["ASK 3999 127.0.0.1:6381", { _tag: "ClusterDown" }, true, true],
  ["CROSSSLOT Keys in request don't hash to the same slot", { _tag: "CrossSlot" }, false, true],
  ["MASTERDOWN Link with MASTER is down", { _tag: "Unavailable", detail: "MASTERDOWN" }, true, true],
  ["NOAUTH Authentication required.", { _tag: "Authentication", code: "NOAUTH" }, false, true],
  ["WRONGPASS invalid username-password pair", { _tag: "Authentication", code: "WRONGPASS" }, false, true],
  [`NOPERM this user has no permissions to access ${canary}`, { _tag: "PermissionDenied" }, false, true],
  ["EXECABORT Transaction discarded because of previous errors.", { _tag: "Rejected", code: "EXECABORT" }, false, true],
  ["EXECABORT Transaction discarded because of: READONLY You can't", { _tag: "ReadOnly" }, true, true],
  [`EXECABORT Transaction discarded because of: NOPERM ${canary}`, { _tag: "PermissionDenied" }, false, true],
  [`ERR unknown command '${canary}'`, { _tag: "Rejected", code: "ERR" }, false, true],
  ["BUSYGROUP Consumer Group name already exists", { _tag: "Rejected", code: "BUSYGROUP" }, false, true],
  [`${canary} of a script of somebody's`, { _tag: "Rejected", code: "ERR" }, false, true],
  ["", { _tag: "Rejected", code: "ERR" }, false, true],
  ["constructor x", { _tag: "Rejected", code: "ERR" }, false, true],
  ["__proto__ x", { _tag: "Rejected", code: "ERR" }, false, true]
]

describe("a server's answer", () => {
  for (const [answer, reason, retryable, safe] of answers) {
    it(`${answer.split(" ")[0] || "of nothing"} is ${JSON.stringify(reason)}`, () => {
      for (const error of replies(answer)) {
        for (const sent of [write, read]) {
          const found = classify(error, sent)
          assert.deepStrictEqual({ ...found }, reason)
          assert.deepStrictEqual([found.isRetryable, found.isSafeToRetry], [retryable, safe])
          const failure = new RedisFailure({ reason: found, command: "SET" })
          assert.notInclude(failure.message + String(failure.stack) + JSON.stringify(failure), canary)
        }
      }
    })
  }
})

describe("an answer to a script", () => {
  const script = Script.make({ name: "s", lua: "", keys: [], args: () => [], reply: Command.ok })([])
  const at = " script: 6f1ed002ab5595859014ebf0951522d9a3d3b2a1, on @user_script:1."

  it("is the server's, word by word, or the script's", () => {
    for (const text of [
      "MOVED 3999 127.0.0.1:6381",
      "ASK 3999 ::1:6381",
      "NOSCRIPT No matching script. Please use EVAL.",
      "NOSCRIPT No matching script.",
      "LOADING Redis is loading the dataset in memory",
      "LOADING Valkey is loading the dataset in memory",
      "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
      "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.",
      "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
      "MASTERDOWN Link with MASTER is down, replica-serve-stale-data is set to 'no' and 'allow-stale' flag is not set on the script.",
      "READONLY You can't write against a read only replica.",
      `READONLY You can't write against a read only replica.${at}`,
      "READONLY Can not run script with write flag on readonly replica",
      `NOREPLICAS Not enough good replicas to write.${at}`,
      `MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. And so on${at}`,
      `MISCONF Errors writing to the AOF file: No space left on device${at}`,
      "NOAUTH Authentication required.",
      "NOPERM this user has no permissions to run the 'eval' command",
      "NOPERM User u has no permissions to run the 'eval' command",
      "NOPERM No permissions to access a key",
      "CROSSSLOT Keys in request don't hash to the same slot",
      "TRYAGAIN Multiple keys request during rehashing of slot",
      "CLUSTERDOWN The cluster is down",
      "CLUSTERDOWN The cluster is down and only accepts read commands",
      "CLUSTERDOWN Hash slot not served"
    ]) {
      for (const error of replies(text)) assert.isUndefined(byScript(script, error), text)
      for (const error of replies(`${text} x`)) {
        if (!/^(MISCONF|NOPERM this|NOPERM User|MASTERDOWN)/.test(text)) assert.isDefined(byScript(script, error), text)
      }
    }
    assert.isUndefined(byScript(script, byNode("ECONNRESET")))
    assert.isUndefined(byScript(Command.make("GET", [], Command.text), replies("LOADING x")[0]))
    assert.isDefined(byScript(Command.make("EVALSHA", [], Command.text), replies("LOADING x")[0]))
  })

  it("that is the script's is never one that passes by itself", () => {
    for (const [answer] of answers) {
      const found = byScript(script, replies(`${answer} x`)[0])
      if (found !== undefined && found._tag !== "OutOfMemory" && found._tag !== "WritesRefused") {
        assert.isFalse(found.isRetryable, answer)
      }
    }
    const raised = byScript(script, replies(`OOM command not allowed when used memory > 'maxmemory'.${at}`)[0])
    assert.deepStrictEqual({ ...raised }, { _tag: "OutOfMemory" })
  })
})

describe("no answer", () => {
  const errors: ReadonlyArray<readonly [unknown, string]> = [
    [new Error("Connection is closed."), "connection closed"],
    [byNode("ECONNRESET"), "ECONNRESET"],
    [undefined, "connection closed"],
    ["text", "connection closed"]
  ]

  it("to what was not sent is Unavailable", () => {
    for (const [error, detail] of errors) assert.deepInclude(classify(error, unsent), { _tag: "Unavailable", detail })
  })

  it("to what may be repeated is Timeout", () => {
    for (const [error] of errors) assert.deepInclude(classify(error, read), { _tag: "Timeout" })
  })

  it("to any other operation is OutcomeUnknown, which is not safe to repeat", () => {
    for (const [error, detail] of errors) {
      const reason = classify(error, write)
      assert.deepInclude(reason, { _tag: "OutcomeUnknown", detail })
      assert.deepStrictEqual([reason.isRetryable, reason.isSafeToRetry], [true, false])
    }
    assert.deepInclude(lost("no reply in time", write), { _tag: "OutcomeUnknown", detail: "no reply in time" })
  })
})

describe("a refused connection", () => {
  it("is Unavailable by Node's code, TlsFailed, or the server's answer", () => {
    assert.deepInclude(refused(byNode("ECONNREFUSED")), { _tag: "Unavailable", detail: "ECONNREFUSED" })
    assert.deepInclude(refused(new Error(canary)), { _tag: "Unavailable", detail: "connection closed" })
    for (const code of [
      "CERT_HAS_EXPIRED",
      "DEPTH_ZERO_SELF_SIGNED_CERT",
      "SELF_SIGNED_CERT_IN_CHAIN",
      "ERR_TLS_CERT_ALTNAME_INVALID",
      "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
      "ERR_SSL_WRONG_VERSION_NUMBER",
      "EPROTO"
    ]) {
      assert.deepInclude(refused(byNode(code)), { _tag: "TlsFailed", detail: code })
    }
    for (const error of replies("WRONGPASS invalid username-password pair or user is disabled.")) {
      assert.deepInclude(refused(error), { _tag: "Authentication", code: "WRONGPASS" })
    }
  })
})

describe("a redirection", () => {
  const of = (message: string) => redirectionOf(replies(message)[0])

  it("says whether it holds from now on, of which slot, and where", () => {
    assert.deepStrictEqual(of("MOVED 3999 127.0.0.1:6381"), { isMoved: true, slot: 3999, address: "127.0.0.1:6381" })
    assert.deepStrictEqual(of("ASK 1 ::1:6381"), { isMoved: false, slot: 1, address: "[::1]:6381" })
    assert.deepStrictEqual(of("MOVED 1 :6381"), { isMoved: true, slot: 1, address: ":6381" })
  })

  it("is nothing else", () => {
    for (const message of [
      "MOVED __proto__ a:1",
      "MOVED 1",
      "ERR MOVED 1 a:1",
      "MOVED 1 a:b",
      "MOVED -1 a:1",
      "MOVED 1 a:0",
      "ASK 1 a:65536"
    ]) {
      assert.isUndefined(of(message))
    }
    assert.isUndefined(redirectionOf(new Error("MOVED 1 a:1")))
  })
})

describe("RedisFailure", () => {
  it("says where and what, and answers as its reason does", () => {
    const failure = new RedisFailure({ reason: new OutcomeUnknown({ detail: "x" }), command: "SET", at: "h:1" })
    assert.strictEqual(failure.message, "redis SET h:1: the reply was lost (x), the operation may have been applied")
    assert.deepStrictEqual([failure.isRetryable, failure.isSafeToRetry], [true, false])
    const invalid = new RedisFailure({ reason: new InvalidKey({ part: 0, problem: "p" }) })
    assert.strictEqual(invalid.message, "redis: a key cannot be built: p")
  })

  it("is not safe to retry where a part is done", () => {
    const whole = new RedisFailure({ reason: new WrongType() })
    const part = new RedisFailure({ reason: new WrongType(), partial: true })
    assert.deepStrictEqual([whole.isSafeToRetry, part.isSafeToRetry, part.isRetryable], [true, false, false])
  })

  it("has a sentence for each of its reasons, and goes over the wire", () => {
    for (const member of RedisFailureReason.members) {
      const fields = Object.keys(member.fields).filter((name) => name !== "_tag")
      const values = Object.fromEntries(fields.map((name) => [name, /part|attempts/.test(name) ? 1 : "x"]))
      const reason = new (member as unknown as new (values: object) => RedisFailureReason)(values)
      const failure = new RedisFailure({ reason })
      assert.match(failure.message, /^redis: \S/)
      const codec = Schema.toCodecJson(RedisFailure)
      const back = Schema.decodeUnknownSync(codec)(JSON.parse(JSON.stringify(Schema.encodeSync(codec)(failure))))
      assert.strictEqual(back.reason._tag, reason._tag)
    }
  })
})
