// What calling by name promises: `xdooria call`, on any server with reflection.
import { assert, describe, it } from "@effect/vitest"
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf"
import { BinaryWriter } from "@bufbuild/protobuf/wire"
import {
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FileDescriptorProtoSchema
} from "@bufbuild/protobuf/wkt"
import * as grpc from "@grpc/grpc-js"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import { GrpcReflect } from "xdooria/grpc/live"
import { LoggerTest } from "xdooria/logger"
import { descriptors } from "../../src/gen/descriptors.ts"
import { handlers, live, player, PlayerNotFound, start } from "./Game.ts"

const identity = (bytes: Buffer) => bytes

const calling = (changes: Parameters<typeof handlers>[0] = {}) =>
  Effect.map(
    start(live(), handlers(changes), { descriptors }),
    ({ address }) =>
      (method: string, request: string) =>
        GrpcReflect.call({ address, method, request, deadline: "10 seconds" })
  )

const bytesMethod = (path: string, stream: boolean) => ({
  path,
  requestStream: stream,
  responseStream: stream,
  requestSerialize: identity,
  requestDeserialize: identity,
  responseSerialize: identity,
  responseDeserialize: identity
})

/** A server whose reflection gives one file at a time, and a service that lives in two. */
const inTwoFiles = (answer: (request: Buffer) => Buffer) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<readonly [grpc.Server, string]>((resume) => {
        const server = new grpc.Server()
        server.addService(
          { info: bytesMethod("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", true) },
          {
            info: (stream: grpc.ServerDuplexStream<Buffer, Buffer>) =>
              stream.on("data", (request: Buffer) => stream.write(answer(request)))
          }
        )
        server.addService(
          { echo: bytesMethod("/two.Files/Echo", false) },
          {
            echo: (call: grpc.ServerUnaryCall<Buffer, Buffer>, reply: grpc.sendUnaryData<Buffer>) =>
              reply(null, call.request)
          }
        )
        server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (_, port) =>
          resume(Effect.succeed([server, `127.0.0.1:${port}`]))
        )
      }),
      ([server]) => Effect.sync(() => server.forceShutdown())
    ),
    ([, address]) => address
  )

const echo = (address: string, method = "two.Files/Echo") =>
  GrpcReflect.call({ address, method, request: `{"name":"x"}`, deadline: "10 seconds" })

const methodOf = (name: string, clientStreaming: boolean) => ({
  name,
  inputType: ".two.Message",
  outputType: ".two.Message",
  clientStreaming
})

describe("calls by name", () => {
  it.live("take and give JSON", () =>
    Effect.gen(function* () {
      const seen = yield* Queue.unbounded<unknown>()
      const call = yield* calling({
        gainExp: (request: object) => Effect.as(Queue.offer(seen, request), { player: player("p1"), levelsGained: 0 })
      })
      const expected = { player: { id: "p1", name: "Ann", level: 7, exp: "300" } }
      assert.deepStrictEqual(yield* call("game.GameService/GetPlayer", `{"player_id":"p1"}`), expected)
      assert.deepStrictEqual(yield* call("/game.GameService/GetPlayer", `{"playerId":"p1"}`), expected)
      assert.deepStrictEqual(yield* call("game.GameService/HealthCheck", ""), { status: "SERVING" })
      for (const amount of [`"9007199254740993"`, "12"]) {
        const request = `{"player_id":"p1","request_id":"r1","amount":${amount}}`
        assert.deepStrictEqual(yield* call("game.GameService/GainExp", request), { ...expected, levels_gained: 0 })
        assert.deepStrictEqual(yield* Queue.take(seen), {
          playerId: "p1",
          requestId: "r1",
          amount: BigInt(amount.replaceAll('"', ""))
        })
      }
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("tell a declared error by its tag and its fields", () =>
    Effect.gen(function* () {
      const call = yield* calling({
        getPlayer: () => new PlayerNotFound({ playerId: "p1", at: new Date(0), seen: 7n }),
        gainExp: () => Effect.die(new Error("hunter2"))
      })
      const error = yield* Effect.flip(call("game.GameService/GetPlayer", "{}"))
      assert.include(error, { code: "NOT_FOUND", details: "no player p1" })
      assert.deepStrictEqual(error.error, {
        tag: "PlayerNotFound",
        fields: { playerId: "p1", at: "1970-01-01T00:00:00.000Z", seen: "7" }
      })
      const fields = `{"playerId":"p1","at":"1970-01-01T00:00:00.000Z","seen":"7"}`
      assert.strictEqual(error.message, `NOT_FOUND PlayerNotFound ${fields}`)
      const defect = yield* Effect.flip(call("game.GameService/GainExp", "{}"))
      assert.match(defect.message, /^INTERNAL internal error [\da-f]{16}$/)
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("show nothing of a server's text that controls a terminal", () =>
    Effect.gen(function* () {
      const evil = "\u001b]0;title\u0007\r\n\u009b2J\u202eab ł 🎮"
      const shown = String.raw`\u001b]0;title\u0007\u000d\u000a\u009b2J\u202eab ł 🎮`
      assert.strictEqual(GrpcReflect.printable(evil), shown)
      assert.strictEqual(JSON.parse(`"${shown}"`), evil)
      const call = yield* calling({
        getPlayer: () => new PlayerNotFound({ playerId: evil, at: new Date(0), seen: 7n })
      })
      const declared = yield* Effect.flip(call("game.GameService/GetPlayer", "{}"))
      assert.strictEqual(declared.details, `no player ${evil}`)
      assert.notMatch(declared.message, /[\p{Cc}\u202e]/u)
      const plain = new GrpcReflect.ReflectError({ code: "ABORTED", details: evil })
      assert.strictEqual(plain.message, `ABORTED ${shown}`)
    }).pipe(Effect.provide(LoggerTest))
  )

  const refused = [
    ["game.GameService/GetPlayer", `{"playre_id":"p1"}`, "INVALID_ARGUMENT", "playre_id"],
    ["game.GameService/GetPlayer", `{"player_id":1}`, "INVALID_ARGUMENT", "player_id"],
    ["game.GameService/GetPlayer", `{"player_id"`, "INVALID_ARGUMENT", "JSON"],
    ["game.GameService/GainExp", `{"amount":"many"}`, "INVALID_ARGUMENT", "amount"],
    ["game.GameService/GetPlayers", "{}", "UNIMPLEMENTED", "has no method GetPlayers"],
    ["game.Game/GetPlayer", "{}", "UNIMPLEMENTED", "has no service game.Game"],
    ["GetPlayer", "{}", "INVALID_ARGUMENT", "package.Service/Method"]
  ] as const
  for (const [method, request, code, text] of refused) {
    it.live(`refuse ${method} ${request}`, () =>
      Effect.gen(function* () {
        const call = yield* calling()
        const error = yield* Effect.flip(call(method, request))
        assert.strictEqual(error.code, code)
        assert.include(error.message, text)
      }).pipe(Effect.provide(LoggerTest))
    )
  }

  it.live("fail when there is no server, no address, no reflection, or a deadline passes", () =>
    Effect.gen(function* () {
      const method = "game.GameService/GetPlayer"
      const codeOf = (address: string, deadline: Duration.Input = "10 seconds") =>
        Effect.map(Effect.flip(GrpcReflect.call({ address, method, request: "{}", deadline })), ({ code }) => code)
      assert.strictEqual(yield* codeOf("127.0.0.1:1"), "UNAVAILABLE")
      assert.strictEqual(yield* codeOf("\n"), "INVALID_ARGUMENT")
      const { address } = yield* start(live(), handlers({}))
      assert.strictEqual(yield* codeOf(address), "UNIMPLEMENTED")
      const served = yield* start(live(), handlers({ getPlayer: () => Effect.never }), { descriptors })
      assert.strictEqual(yield* codeOf(served.address, "200 millis"), "DEADLINE_EXCEEDED")
      const metadata = yield* Effect.flip(
        GrpcReflect.call({ address, method, request: "{}", deadline: 1000, metadata: { "not a name": "" } })
      )
      assert.strictEqual(metadata.code, "INVALID_ARGUMENT")
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("are answered when the deadline is far away", () =>
    Effect.gen(function* () {
      const { address } = yield* start(live(), handlers({}), { descriptors })
      const method = "game.GameService/HealthCheck"
      for (const deadline of ["24 days", 0x7fffffff - 50, "30 days", "20000000 weeks", Infinity] as const) {
        const answer = yield* GrpcReflect.call({ address, method, request: "", deadline })
        assert.deepStrictEqual(answer, { status: "SERVING" })
      }
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("fetch the files that a service's file imports, over v1alpha where there is no v1", () =>
    Effect.gen(function* () {
      const files: Record<string, MessageInitShape<typeof FileDescriptorProtoSchema>> = {
        "service.proto": {
          name: "service.proto",
          package: "two",
          syntax: "proto3",
          dependency: ["message.proto"],
          service: [{ name: "Files", method: [methodOf("Echo", false), methodOf("Send", true)] }]
        },
        "message.proto": {
          name: "message.proto",
          package: "two",
          syntax: "proto3",
          messageType: [
            {
              name: "Message",
              field: [
                {
                  name: "name",
                  number: 1,
                  type: FieldDescriptorProto_Type.STRING,
                  label: FieldDescriptorProto_Label.OPTIONAL
                }
              ]
            }
          ]
        }
      }
      const asked: Array<string> = []
      const address = yield* inTwoFiles((request) => {
        // A field of text: its tag, its length, the text.
        const what = request.subarray(2).toString()
        asked.push(what)
        const file = files[what] ?? files["service.proto"]!
        const bytes = toBinary(FileDescriptorProtoSchema, create(FileDescriptorProtoSchema, file))
        return Buffer.from(
          new BinaryWriter().tag(4, 2).fork().tag(1, 2).bytes(bytes).join().tag(99, 0).uint32(1).finish()
        )
      })
      assert.deepStrictEqual(yield* echo(address), { name: "x" })
      assert.deepStrictEqual(asked, ["two.Files", "message.proto"])
      assert.include((yield* Effect.flip(echo(address, "two.Files/Send"))).message, "streams")
    })
  )

  it.live("tell when what reflection says is nonsense", () =>
    Effect.gen(function* () {
      const garbage = yield* inTwoFiles(() => Buffer.from([0xff]))
      assert.strictEqual((yield* Effect.flip(echo(garbage))).code, "INTERNAL")
      const nothing = yield* inTwoFiles(() => Buffer.alloc(0))
      assert.strictEqual((yield* Effect.flip(echo(nothing))).code, "UNIMPLEMENTED")
      const file = create(FileDescriptorProtoSchema, { name: "a.proto", syntax: "proto9" })
      const bytes = toBinary(FileDescriptorProtoSchema, file)
      const invalid = yield* inTwoFiles(() =>
        Buffer.from(new BinaryWriter().tag(4, 2).fork().tag(1, 2).bytes(bytes).join().finish())
      )
      assert.strictEqual((yield* Effect.flip(echo(invalid))).code, "INTERNAL")
    })
  )
})
