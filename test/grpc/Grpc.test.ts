import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Tracer from "effect/Tracer"
import { readFileSync } from "node:fs"
import { Config, ConfigTest } from "xdooria/config"
import * as Errors from "xdooria/grpc"
import { Grpc, layerEmbedded } from "xdooria/grpc"
import { GameServiceService } from "../../src/gen/game.ts"
import { Status } from "../../src/gen/google/rpc/status.ts"
import * as Details from "../../src/grpc/internal/details.ts"
import { isLoopback } from "../../src/grpc/internal/address.ts"
import * as Traceparent from "../../src/grpc/internal/traceparent.ts"
import { Banned, PlayerNotFound } from "./Game.ts"
import { suite } from "./GrpcContract.ts"

suite("GrpcEmbedded", layerEmbedded, "test")

describe("reasons", () => {
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
    const error = new Errors.GrpcError({
      reason: new Errors.OutcomeUnknown({
        method: "game.GameService/GainExp",
        details: "Connection dropped",
        code: "UNAVAILABLE"
      })
    })
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
