import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Tracer from "effect/Tracer"
import { readFileSync } from "node:fs"
import { Config, ConfigTest } from "xdooria/config"
import * as Errors from "xdooria/grpc"
import { Grpc } from "xdooria/grpc"
import { GameServiceService } from "../../src/gen/game.ts"
import { Status } from "../../src/gen/google/rpc/status.ts"
import * as Details from "../../src/grpc/internal/details.ts"
import { isLoopback } from "../../src/grpc/internal/listener.ts"
import { type Outcome, toReason } from "../../src/grpc/internal/outcome.ts"
import * as Traceparent from "../../src/grpc/internal/traceparent.ts"
import { Banned, PlayerNotFound } from "./Game.ts"

describe("reasons", () => {
  const sent: Outcome = {
    method: "game.GameService/GainExp",
    idempotent: false,
    code: 14,
    details: "Connection dropped",
    statusDetails: [],
    answered: false,
    peer: "127.0.0.1:50051",
    target: "dns:127.0.0.1:50051"
  }
  const unsent = { ...sent, peer: sent.target }
  const answered = { ...sent, answered: true }
  const deadline = (details: string) => ({ ...sent, code: 4, details })

  // [what, driver's outcome, reason, safe to retry]
  const table: ReadonlyArray<readonly [string, Outcome, Errors.GrpcErrorReason["_tag"], boolean]> = [
    ["no connection", { ...unsent, details: "No connection established. Last error: ..." }, "Unavailable", true],
    ["name not resolved", { ...unsent, details: "Name resolution failed for target dns:x" }, "Unavailable", true],
    ["channel closed", { ...unsent, details: "Channel closed before call started" }, "Unavailable", true],
    [
      "stream not started",
      { ...unsent, code: 13, details: "Failed to start HTTP/2 stream with error x" },
      "Unavailable",
      true
    ],
    ["refused by GOAWAY", { ...sent, details: "Stream refused by server" }, "Unavailable", true],
    ["the same as another's text", { ...answered, details: "Stream refused by server" }, "OutcomeUnknown", false],
    ["the same with another code", { ...sent, code: 13, details: "Stream refused by server" }, "Internal", false],
    [
      "the same as a limit of another",
      { ...answered, code: 8, details: "Stream refused by server" },
      "ResourceExhausted",
      false
    ],
    ["an answer before a server was known", { ...unsent, answered: true }, "OutcomeUnknown", false],
    ["connection lost", sent, "OutcomeUnknown", false],
    ["connection lost, idempotent", { ...sent, idempotent: true }, "Unavailable", true],
    [
      "stream reset",
      { ...sent, code: 13, details: "Received RST_STREAM with code 2 (Internal server error)" },
      "OutcomeUnknown",
      false
    ],
    [
      "stream reset, idempotent",
      { ...sent, idempotent: true, code: 13, details: "Received RST_STREAM with code 2" },
      "Unavailable",
      true
    ],
    ["reset with CANCEL", { ...sent, code: 1, details: "Call cancelled" }, "OutcomeUnknown", false],
    ["deadline, no server yet", deadline("Deadline exceeded after 0.1s,Waiting for LB pick"), "DeadlineExceeded", true],
    [
      "deadline, no name yet",
      { ...deadline("Deadline exceeded after 0.1s,name resolution: 0.1s"), peer: "unknown" },
      "DeadlineExceeded",
      true
    ],
    [
      "deadline, sent",
      { ...deadline("Deadline exceeded after 0.1s,remote_addr=127.0.0.1:50051"), peer: "unknown" },
      "OutcomeUnknown",
      false
    ],
    [
      "deadline, told by the server",
      { ...answered, code: 4, details: "Deadline exceeded after all" },
      "OutcomeUnknown",
      false
    ],
    [
      "deadline, told by the server in the driver's words",
      { ...answered, code: 4, details: "Deadline exceeded after 0.5s,waiting for name resolution" },
      "OutcomeUnknown",
      false
    ],
    [
      "deadline, idempotent",
      { ...deadline("Deadline exceeded after 0.1s,remote_addr=x"), idempotent: true },
      "DeadlineExceeded",
      true
    ],
    [
      "request too large to send",
      { ...unsent, code: 8, details: "Attempted to send message with a size larger than 1" },
      "ResourceExhausted",
      true
    ],
    ["limit of the server", { ...answered, code: 8, details: "" }, "ResourceExhausted", false],
    [
      "limit of the server, idempotent",
      { ...answered, idempotent: true, code: 8, details: "" },
      "ResourceExhausted",
      true
    ],
    ["bug of the server", { ...answered, code: 13, details: "internal error" }, "Internal", false],
    ["absent", { ...answered, code: 5, details: "no rows in result set" }, "UnexpectedStatus", false],
    ["a code of the future", { ...answered, code: 42, details: "" }, "UnexpectedStatus", false]
  ]
  for (const [what, outcome, tag, isSafeToRetry] of table) {
    it(`${what}: ${tag}`, () => {
      const reason = toReason(outcome)
      assert.include(reason, { _tag: tag, isSafeToRetry })
      assert.isTrue(outcome.details === "" || !reason.message.includes(outcome.details))
      const error = new Errors.GrpcError({ reason })
      assert.deepStrictEqual(
        [error.message, error.isRetryable, error.isSafeToRetry],
        [reason.message, reason.isRetryable, isSafeToRetry]
      )
    })
  }

  it("carry the error id and the tag that the server sent", () => {
    const info = { reason: "INTERNAL", domain: "game.GameService", metadata: { error_id: "0123456789abcdef" } }
    const internal = toReason({ ...answered, code: 13, statusDetails: [Details.encode(13, "x", { info })] })
    assert.include(internal, { _tag: "Internal", errorId: "0123456789abcdef" })
    assert.include(internal.message, "0123456789abcdef")
    const error = { tag: "PlayerNotFound", json: "{}" }
    const absent = toReason({ ...answered, code: 5, statusDetails: [Details.encode(5, "x", { info, error })] })
    assert.include(absent, { _tag: "UnexpectedStatus", tag: "PlayerNotFound" })
  })

  it("of a server say what to do", () => {
    const address = "127.0.0.1:50051"
    const reasons = [
      new Errors.AddressInUse({ address }),
      new Errors.CannotListen({ address, code: "EACCES" }),
      new Errors.InsecureTransport({ address }),
      new Errors.InvalidService({ problem: "the method /a/b twice" }),
      new Errors.NotServing(),
      new Errors.InvalidTarget({ service: "game.GameService", problem: "none is given" })
    ]
    assert.deepStrictEqual(
      reasons.map(({ isRetryable, isSafeToRetry }) => [isRetryable, isSafeToRetry]),
      [
        [true, true],
        [true, true],
        [false, true],
        [false, true],
        [true, true],
        [false, true]
      ]
    )
    const texts = [address, "EACCES", "grpc.allow_insecure", "/a/b", "GrpcServer.serve", "grpc.target"]
    for (const [i, reason] of reasons.entries()) assert.include(reason.message, texts[i]!)
  })

  it("survive being stored", () => {
    const error = new Errors.GrpcError({ reason: toReason(sent) })
    const codec = Schema.toCodecJson(Errors.GrpcError)
    assert.deepStrictEqual(Schema.decodeSync(codec)(Schema.encodeSync(codec)(error)), error)
  })
})

describe("details", () => {
  const info = { reason: "PLAYER_NOT_FOUND", domain: "game.GameService", metadata: { playerId: "p1" } }
  const error = { tag: "PlayerNotFound", json: `{"playerId":"p1"}` }

  it("come back, ErrorInfo first", () => {
    const bytes = Details.encode(5, "no player", { info, error })
    assert.deepStrictEqual(Details.decode([bytes], 5), { info, error })
    const { code, details, message } = Status.decode(bytes)
    assert.deepStrictEqual([code, message], [5, "no player"])
    assert.deepStrictEqual(
      details.map(({ typeUrl }) => typeUrl),
      ["type.googleapis.com/google.rpc.ErrorInfo", "type.googleapis.com/xdooria.errors.v1.DomainError"]
    )
  })

  it("are ignored when they are twice, of another code, or none", () => {
    const bytes = Details.encode(5, "no player", { info, error })
    for (const values of [[], [bytes, bytes], ["text"], [Buffer.from("garbage")], [bytes.subarray(0, -3)]]) {
      assert.deepStrictEqual(Details.decode(values, 5), {})
    }
    assert.deepStrictEqual(Details.decode([bytes], 6), {})
    assert.deepStrictEqual(Details.decode([Details.encode(5, "", { info })], 5), { info })
  })
})

describe("traceparent", () => {
  const [traceId, spanId] = ["0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"]

  it("comes back", () => {
    for (const sampled of [true, false]) {
      const span = Tracer.externalSpan({ traceId, spanId, sampled })
      assert.deepStrictEqual(Traceparent.decode(Traceparent.encode(span)), span)
    }
  })

  it("of a later version is read as far as it is known", () => {
    assert.include(Traceparent.decode(`cc-${traceId}-${spanId}-03-what`), { traceId, spanId, sampled: true })
    assert.include(Traceparent.decode(`cc-${traceId}-${spanId}-02`), { sampled: false })
  })

  const invalid = [
    undefined,
    Buffer.from("00"),
    "",
    "00",
    `00-${traceId}-${spanId}`,
    `00-${traceId}-${spanId}-01-more`,
    `ff-${traceId}-${spanId}-01`,
    `00-${"0".repeat(32)}-${spanId}-01`,
    `00-${traceId}-${"0".repeat(16)}-01`,
    `00-${traceId.toUpperCase()}-${spanId}-01`,
    `cc-${traceId}-${spanId}-01x`
  ]
  for (const value of invalid) {
    it(`is not ${String(value)}`, () => {
      assert.isUndefined(Traceparent.decode(value))
    })
  }
})

describe("declared errors", () => {
  it("have a tag, fields, a status and a message; the tag when none is given", () => {
    const error = new PlayerNotFound({ playerId: "p1", at: new Date(0), seen: 1n })
    assert.strictEqual(error._tag, "PlayerNotFound")
    assert.strictEqual(error.message, "no player p1")
    assert.strictEqual(new Banned({ until: 5 }).message, "Banned")
    assert.deepStrictEqual(PlayerNotFound.grpc, { tag: "PlayerNotFound", status: "NOT_FOUND" })
    assert.throws(() => new Banned({ until: 0.5 }))
  })

  it("are schemas of themselves", () => {
    const error = new PlayerNotFound({ playerId: "p1", at: new Date(0), seen: 1n })
    const codec = Schema.toCodecJson(PlayerNotFound)
    const decoded = Schema.decodeOption(codec)(Schema.encodeSync(codec)(error))
    assert.instanceOf(Option.getOrThrow(decoded), PlayerNotFound)
    assert.strictEqual(Option.getOrThrow(decoded).seen, 1n)
  })
})

describe("an api", () => {
  it("knows its service's name", () => {
    assert.strictEqual(Grpc.api(GameServiceService, {}).name, "game.GameService")
    assert.strictEqual(Grpc.api({}, {}).name, "")
  })
})

describe("loopback", () => {
  it("is what only this machine reaches", () => {
    for (const host of ["localhost", "127.0.0.1", "127.255.0.3", "::1"]) assert.isTrue(isLoopback(host), host)
    for (const host of ["0.0.0.0", "::", "10.0.0.1", "127.0.0.1.example", "game"])
      assert.isFalse(isLoopback(host), host)
  })
})

const load = (grpc: Record<string, unknown>, env: Config.Environment = "test") =>
  Config.get(Grpc.GrpcConfig).pipe(
    Effect.provide(ConfigTest({ grpc, database: { password: "grpc-test-canary" } }, { env }))
  )

describe("the configuration", () => {
  it.effect("has bounds", () =>
    Effect.gen(function* () {
      for (const grpc of [
        { max_deadline: 0 },
        { max_message_size: 0 },
        { max_metadata_size: 10 },
        { max_concurrent_streams: 0 },
        { max_connection_age: 3_000_000 },
        { grace: -1 },
        { deadline: 0 }
      ]) {
        const error = yield* Effect.flip(load(grpc))
        assert.include(error.message, `grpc.${Object.keys(grpc)[0]}`)
      }
    })
  )

  it.effect("does not let prod speak plain text unless it is told to", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(load({}, "prod"))
      assert.include(error.message, "grpc.allow_insecure")
      assert.isTrue((yield* load({ allow_insecure: true }, "prod")).allowInsecure)
    })
  )
})

describe("the drivers", () => {
  const floors: Readonly<Record<string, readonly [number, number, number]>> = {
    "@grpc/grpc-js": [1, 14, 5],
    protobufjs: [7, 6, 3]
  }

  it("are not older than their last known holes", () => {
    const lock = JSON.parse(readFileSync("package-lock.json", "utf8")) as {
      readonly packages: Readonly<Record<string, { readonly version: string }>>
    }
    for (const [name, floor] of Object.entries(floors)) {
      const installed = Object.entries(lock.packages).filter(([path]) => path.endsWith(`node_modules/${name}`))
      assert.isNotEmpty(installed)
      for (const [path, { version }] of installed) {
        const parts = version.split(".").map(Number)
        const first = floor.findIndex((least, i) => parts[i] !== least)
        assert.isTrue(first === -1 || parts[first]! > floor[first]!, `${path} is ${version}`)
      }
    }
  })
})
