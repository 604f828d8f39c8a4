// What the driver does by itself that the room must not: grpc-js and protobufjs are looked at one habit at a time, each
// by the number that it has in the list of what they do under faults.
import { assert, describe, it } from "@effect/vitest"
import * as grpc from "@grpc/grpc-js"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { createRequire } from "node:module"
import { Grpc, GrpcError } from "xdooria/grpc"
import { layerClientLive } from "xdooria/grpc/live"
import { LoggerTest, LogRecorder } from "xdooria/logger"
import * as FaultProxy from "../support/FaultProxy.ts"
import { GetPlayerRequest } from "../../src/gen/game.ts"
import { dial, GameApi, handlers, live, response, start } from "./Game.ts"
import * as Raw from "./Raw.ts"

const path = "/game.GameService/GetPlayer"
const request = Raw.frame(GetPlayerRequest.encode({ playerId: "p1" }).finish())

const reasonOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(effect), (error) => {
    assert.instanceOf(error, GrpcError)
    return error.reason
  })

describe("the driver's habit", () => {
  it.live("G1: a stop that waits for ever while a call is open, is bounded by the grace", () =>
    Effect.gen(function* () {
      const started = yield* Deferred.make<void>()
      const scope = yield* Scope.make()
      const getPlayer = () => Effect.andThen(Deferred.succeed(started, undefined), Effect.never)
      const { address } = yield* start(live({ grace: Duration.millis(50) }), handlers({ getPlayer })).pipe(
        Scope.provide(scope)
      )
      const raw = yield* Raw.connect(address)
      const call = yield* Effect.forkChild(raw.call(path, request))
      const watch = yield* Effect.forkChild(raw.call("/grpc.health.v1.Health/Watch", Raw.frame(Buffer.alloc(0))))
      yield* Deferred.await(started)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* Fiber.join(call)).status, grpc.status.UNAVAILABLE)
      assert.strictEqual((yield* Fiber.join(watch)).status, grpc.status.UNAVAILABLE)
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("G2: a handler whose promise is rejected, which ends the process, is an INTERNAL with an id", () =>
    Effect.gen(function* () {
      const getPlayer = () => Promise.reject(new Error("pg: password=hunter2"))
      const game = yield* start(live(), handlers({ getPlayer }))
      const reason = yield* reasonOf(game.getPlayer({ playerId: "p1" }))
      assert.strictEqual(reason._tag, "Internal")
      assert.isString("errorId" in reason ? reason.errorId : undefined)
      assert.strictEqual((yield* game.healthCheck({})).status, "SERVING")
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("G3: the text of an error, which it sends to the caller, stays in the log", () =>
    Effect.gen(function* () {
      const log = yield* LogRecorder
      const getPlayer = () => Effect.die(new Error("pg: password=hunter2"))
      const { address } = yield* start(live(), handlers({ getPlayer }))
      const reply = yield* (yield* Raw.connect(address)).call(path, request)
      assert.strictEqual(reply.status, grpc.status.INTERNAL)
      const details = reply.details.map((text) => Buffer.from(text, "base64").toString("latin1")).join()
      assert.notInclude([reply.message, details, reply.body.toString("latin1")].join(), "hunter2")
      const id = /[0-9a-f]{16}/.exec(reply.message!)![0]
      assert.include(JSON.stringify(yield* log.find(({ error_id }) => error_id === id)), "hunter2")
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("G4: a call that is answered twice, whose client hangs, has one status", () =>
    Effect.gen(function* () {
      const getPlayer = () =>
        Effect.callback<unknown>((resume) => {
          resume(Effect.succeed(response("p1")))
          resume(Effect.die(new Error("again")))
        })
      const game = yield* start(live(), handlers({ getPlayer }))
      assert.deepStrictEqual(yield* game.getPlayer({ playerId: "p1" }), response("p1"))
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("G5: 70 KB of metadata, a response of any size and a message of 5 MiB are taken by no side", () =>
    Effect.gen(function* () {
      const large = handlers({ getPlayer: () => Effect.succeed(response("x".repeat(5 << 20))) })
      const game = yield* start(live(), large)
      const metadata = { note: "x".repeat(70_000) }
      const [header, received, sent] = yield* Effect.all([
        reasonOf(game.healthCheck({}, { metadata })),
        reasonOf(game.getPlayer({ playerId: "p1" })),
        reasonOf(game.createPlayer({ playerId: "p1", name: "x".repeat(5 << 20) }))
      ])
      const all = [header._tag, received._tag, sent._tag]
      assert.deepStrictEqual(all, ["ResourceExhausted", "ResourceExhausted", "ResourceExhausted"])
    }).pipe(Effect.provide(LoggerTest))
  )

  it.live("G6: a dead peer that nobody notices, is left by the keepalive, and a call has a deadline by itself", () =>
    Effect.gen(function* () {
      const { address } = yield* start(live(), handlers({ getPlayer: () => Effect.never }))
      const [host, port] = address.split(":") as [string, string]
      const proxy = yield* FaultProxy.make({ host, port: Number(port), seed: 1 })
      const target = Grpc.endpoints([`127.0.0.1:${proxy.port}`], { keepalive: "true" })
      const settings = { keepaliveTime: Duration.seconds(1), keepaliveTimeout: Duration.millis(100) }
      const context = yield* Layer.build(layerClientLive(settings))
      const game = yield* Grpc.client(GameApi, { target }).pipe(Effect.provide(context))
      yield* game.healthCheck({})
      const call = yield* Effect.forkChild(reasonOf(game.gainExp({ playerId: "p1", requestId: "r1", amount: 1n })))
      yield* proxy.blackhole
      const lost = yield* reasonOf(
        game.gainExp({ playerId: "p1", requestId: "r2", amount: 1n }, { deadline: "1 minute" })
      )
      assert.include(["OutcomeUnknown", "Unavailable"], lost._tag)
      yield* Fiber.interrupt(call)
      const bounded = yield* dial(address, { deadline: Duration.millis(100) })
      assert.strictEqual((yield* reasonOf(bounded.getPlayer({ playerId: "p1" })))._tag, "DeadlineExceeded")
    }).pipe(Effect.provide(LoggerTest))
  )

  it("G7: the holes that were found in it are closed in the versions that run", () => {
    const versionOf = (name: string, from: string) => {
      const require = createRequire(from)
      return (require(`${name}/package.json`) as { readonly version: string }).version
    }
    const isAtLeast = (version: string, floor: string) => {
      const [left, right] = [version, floor].map((text) => text.split(".").map(Number)) as [number[], number[]]
      const at = left.findIndex((part, i) => part !== right[i])
      return at < 0 || left[at]! > right[at]!
    }
    const grpcJs = createRequire(import.meta.url).resolve("@grpc/grpc-js/package.json")
    const found = {
      "@grpc/grpc-js": versionOf("@grpc/grpc-js", import.meta.url),
      protobufjs: versionOf("protobufjs", createRequire(grpcJs).resolve("@grpc/proto-loader/package.json")),
      node: process.versions.node
    }
    const floors = { "@grpc/grpc-js": "1.14.5", protobufjs: "7.6.3", node: "24.14.1" }
    for (const [name, floor] of Object.entries(floors)) {
      const version = found[name as keyof typeof found]
      assert.isTrue(isAtLeast(version, floor), `${name} ${version} is older than ${floor}`)
    }
  })
})
