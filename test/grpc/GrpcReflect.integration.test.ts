// What calling by name promises: `xdooria call`, on any server with reflection.
import { assert, describe, it } from "@effect/vitest"
import { create, fromBinary, toBinary } from "@bufbuild/protobuf"
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Grpc } from "xdooria/grpc"
import { GrpcReflect } from "xdooria/grpc/live"
import { LoggerTest } from "xdooria/logger"
import { descriptors } from "../../src/gen/descriptors.ts"
import { handlers, live, player, PlayerNotFound, PlayerService, response, start, streamHandlers } from "./Game.ts"
import * as Reflected from "./Reflected.ts"

const calling = (changes: Parameters<typeof handlers>[0] = {}) =>
  Effect.map(
    start(live(), handlers(changes), { descriptors }),
    ({ address }) =>
      (method: string, request: string) =>
        Reflected.callOne({ address, method, request, deadline: "10 seconds" })
  )

/** The game's files, and one that defines game.StreamService of Game.ts. */
const streamDescriptors = (() => {
  const set = fromBinary(FileDescriptorSetSchema, Buffer.from(descriptors, "base64"))
  const [inputType, outputType] = [".game.GetPlayerRequest", ".game.GetPlayerResponse"]
  const method = (name: string, clientStreaming: boolean, serverStreaming: boolean) => ({
    name,
    inputType,
    outputType,
    clientStreaming,
    serverStreaming
  })
  const file = create(FileDescriptorProtoSchema, {
    name: "stream.proto",
    package: "game",
    syntax: "proto3",
    dependency: ["game.proto"],
    service: [
      {
        name: "StreamService",
        method: [method("Watch", false, true), method("Sum", true, false), method("Talk", true, true)]
      }
    ]
  })
  const all = create(FileDescriptorSetSchema, { file: [...set.file, file] })
  return Buffer.from(toBinary(FileDescriptorSetSchema, all)).toString("base64")
})()

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

  it.live("tell what each field of a request should be that does not fit", () =>
    Effect.gen(function* () {
      const { getPlayer } = PlayerService
      const request = Schema.Struct({ playerId: Schema.NonEmptyString })
      const served = Grpc.handlers(
        Grpc.api({ getPlayer }, { getPlayer: { public: true, request } }),
        Effect.succeed({ getPlayer: () => Effect.succeed({ player: undefined }) })
      )
      const { address } = yield* start(live(), served, { descriptors })
      const error = yield* Effect.flip(
        Reflected.callOne({ address, method: "game.GameService/GetPlayer", request: "{}" })
      )
      assert.include(error, { code: "INVALID_ARGUMENT", details: "invalid player_id" })
      const [violation, ...others] = error.violations ?? []
      assert.deepStrictEqual([violation?.field, others], ["player_id", []])
      assert.match(violation!.description, /length of at least 1/)
      assert.strictEqual(error.message, `INVALID_ARGUMENT invalid player_id\n  player_id: ${violation!.description}`)
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
      const violations = [
        { field: evil, description: evil },
        { field: "", description: "b" }
      ]
      const invalid = new GrpcReflect.ReflectError({ code: "INVALID_ARGUMENT", details: "a", violations })
      assert.strictEqual(invalid.message, `INVALID_ARGUMENT a\n  ${shown}: ${shown}\n  b`)
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
        Effect.map(Effect.flip(Reflected.callOne({ address, method, request: "{}", deadline })), ({ code }) => code)
      assert.strictEqual(yield* codeOf("127.0.0.1:1"), "UNAVAILABLE")
      assert.strictEqual(yield* codeOf("\n"), "INVALID_ARGUMENT")
      const { address } = yield* start(live(), handlers({}))
      assert.strictEqual(yield* codeOf(address), "UNIMPLEMENTED")
      const served = yield* start(live(), handlers({ getPlayer: () => Effect.never }), { descriptors })
      assert.strictEqual(yield* codeOf(served.address, "200 millis"), "DEADLINE_EXCEEDED")
      const metadata = yield* Effect.flip(
        Reflected.callOne({ address, method, request: "{}", deadline: 1000, metadata: [["not a name", ""]] })
      )
      assert.strictEqual(metadata.code, "INVALID_ARGUMENT")
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("are answered when the deadline is far away", () =>
    Effect.gen(function* () {
      const { address } = yield* start(live(), handlers({}), { descriptors })
      const method = "game.GameService/HealthCheck"
      for (const deadline of ["24 days", 0x7fffffff - 50, "30 days", "20000000 weeks", Infinity] as const) {
        const answer = yield* Reflected.callOne({ address, method, request: "", deadline })
        assert.deepStrictEqual(answer, { status: "SERVING" })
      }
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("have streams, and errors behind them", () =>
    Effect.gen(function* () {
      const served = streamHandlers({
        watch: ({ playerId }: { readonly playerId: string }) =>
          Stream.concat(
            Stream.make(response("a"), response("b")),
            Stream.fail(new PlayerNotFound({ playerId, at: new Date(0), seen: 7n }))
          ),
        sum: (requests: Stream.Stream<{ readonly playerId: string }>) =>
          Effect.map(Stream.runCollect(requests), (all) => response(all.map(({ playerId }) => playerId).join("")))
      })
      const { address } = yield* start(live(), served, { descriptors: streamDescriptors })
      const call = (method: string, request: string) =>
        GrpcReflect.call({ address, method: `game.StreamService/${method}`, requests: Stream.succeed(request) })
      const idsOf = (all: ReadonlyArray<unknown>) =>
        (all as ReadonlyArray<{ readonly player: { readonly id: string } }>).map(({ player }) => player.id)
      const three = `{"player_id":"a"}\n{"player_id":"b"}\n{"player_id":"c"}`

      const summed = yield* call("Sum", three)
      assert.isFalse(summed.stream)
      assert.deepStrictEqual(idsOf(yield* Stream.runCollect(summed.responses)), ["abc"])
      const talked = yield* call("Talk", three)
      assert.isTrue(talked.stream)
      assert.deepStrictEqual(idsOf(yield* Stream.runCollect(talked.responses)), ["a", "b", "c"])
      const watched = yield* call("Watch", `{"player_id":"p1"}`)
      const seen: Array<unknown> = []
      const error = yield* Effect.flip(Stream.runForEach(watched.responses, (one) => Effect.sync(() => seen.push(one))))
      assert.deepStrictEqual(idsOf(seen), ["a", "b"])
      assert.include(error, { code: "NOT_FOUND" })
      assert.deepInclude(error.error, { tag: "PlayerNotFound" })
      assert.deepStrictEqual(
        (yield* GrpcReflect.list({ address })).map(({ name }) => name),
        ["game.StreamService", "grpc.health.v1.Health"]
      )
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("of a stream end when the server stops, and tell it", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const begun = yield* Deferred.make<void>()
      const served = streamHandlers({ watch: () => Stream.concat(Stream.make(response("a")), Stream.never) })
      const { address } = yield* start(live(), served, { descriptors: streamDescriptors }).pipe(Scope.provide(scope))
      const { responses } = yield* GrpcReflect.call({
        address,
        method: "game.StreamService/Watch",
        requests: Stream.succeed("{}")
      })
      const watching = yield* Effect.forkScoped(
        Effect.flip(Stream.runForEach(responses, () => Deferred.succeed(begun, undefined)))
      )
      yield* Deferred.await(begun)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* Fiber.join(watching)).code, "UNAVAILABLE")
    }).pipe(Effect.provide(LoggerTest))
  )
})
