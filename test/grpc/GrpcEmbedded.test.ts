// What GrpcEmbedded promises beside the contract: its networks, its clock, and what a service test builds on.
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import { ConfigTest } from "xdooria/config"
import {
  Grpc,
  GrpcEmbedded,
  type GrpcEmbeddedOptions,
  GrpcError,
  GrpcNetwork,
  GrpcServer,
  layerEmbedded
} from "xdooria/grpc"
import { LoggerTest, LogRecorder } from "xdooria/logger"
import { GameApi, handlers, passing, response, start, StreamApi, streamHandlers } from "./Game.ts"

// A client waits a moment before it tries again.
const passes = passing("test")

const reasonOf = <A, E, R>(call: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(call), (error) => {
    assert.instanceOf(error, GrpcError)
    return error.reason
  })

const tagOf = <A, E, R>(call: Effect.Effect<A, E, R>) => Effect.map(reasonOf(call), ({ _tag }) => _tag)

/** Serves until the scope that it gives is closed. */
const serve = Effect.fnUntraced(function* (options: Partial<GrpcEmbeddedOptions>, name: string) {
  const scope = yield* Scope.fork(yield* Effect.scope)
  const { address } = yield* start(
    layerEmbedded(options),
    handlers({ healthCheck: () => Effect.succeed({ status: name }) })
  ).pipe(Scope.provide(scope))
  return { address, stop: Scope.close(scope, Exit.void) }
})

/** A client in a network, of a target. */
const dial = Effect.fnUntraced(function* (network: GrpcNetwork, target: string, options: Grpc.ClientOptions = {}) {
  const context = yield* Layer.build(layerEmbedded({ network }))
  return yield* Grpc.client(GameApi, { target, ...options }).pipe(Effect.provide(context))
})

describe("a network", () => {
  it.effect("lets its services meet by address, and no others", () =>
    Effect.gen(function* () {
      const network = new GrpcNetwork()
      const [a, b] = yield* Effect.all([serve({ network }, "a"), serve({ network }, "b")])
      assert.notStrictEqual(a.address, b.address)
      for (const [{ address }, status] of [
        [a, "a"],
        [b, "b"]
      ] as const) {
        assert.deepStrictEqual(yield* (yield* dial(network, address)).healthCheck({}), { status })
      }
      const outside = yield* dial(new GrpcNetwork(), a.address)
      assert.include(yield* reasonOf(outside.gainExp({ playerId: "p1", requestId: "r1", amount: 1n })), {
        _tag: "Unavailable",
        isSafeToRetry: true
      })
    }).pipe(Effect.provide(LoggerTest))
  )

  it.effect("has the names that its servers listen on, and asks nobody else for them", () =>
    Effect.gen(function* () {
      const network = new GrpcNetwork()
      yield* serve({ network, host: "game-service", port: 50_051 }, "game")
      for (const target of ["game-service:50051", "dns:///game-service:50051"]) {
        assert.deepStrictEqual(yield* (yield* dial(network, target)).healthCheck({}), { status: "game" })
      }
      const other = yield* dial(network, "other-service:50051")
      assert.strictEqual(yield* tagOf(other.healthCheck({})), "Unavailable")
    }).pipe(Effect.provide(LoggerTest))
  )

  it.effect("gives an address to one server at a time", () =>
    Effect.gen(function* () {
      const options = { network: new GrpcNetwork(), port: 50_051 }
      const first = yield* serve(options, "first")
      assert.include(yield* reasonOf(serve(options, "second")), { _tag: "AddressInUse", address: "127.0.0.1:50051" })
      yield* first.stop
      const third = yield* serve(options, "third")
      assert.strictEqual(third.address, first.address)
    }).pipe(Effect.provide(LoggerTest))
  )

  it.effect("takes clients to a server that has come back, and to the one that is left", () =>
    Effect.gen(function* () {
      const network = new GrpcNetwork()
      const [a, b] = [yield* serve({ network, port: 1 }, "a"), yield* serve({ network, port: 2 }, "b")]
      const alone = yield* dial(network, a.address)
      const both = yield* dial(network, `${a.address},${b.address}`)
      const statuses = Effect.map(
        Effect.all(Array.from({ length: 6 }, () => both.healthCheck({}))),
        (answers) => new Set(answers.map(({ status }) => status))
      )
      assert.deepStrictEqual(yield* alone.healthCheck({}), { status: "a" })
      assert.strictEqual((yield* statuses).size, 2)
      yield* a.stop
      assert.deepStrictEqual(yield* passes(statuses), new Set(["b"]))
      assert.strictEqual(yield* passes(tagOf(alone.healthCheck({}))), "Unavailable")
      const waiting = yield* Effect.forkChild(alone.healthCheck({}, { waitForReady: true }))
      yield* serve({ network, port: 1 }, "a again")
      assert.deepStrictEqual(yield* passes(Fiber.join(waiting)), { status: "a again" })
    }).pipe(Effect.provide(LoggerTest))
  )

  it.effect("tells clients that ask for it which servers serve", () =>
    Effect.gen(function* () {
      const network = new GrpcNetwork()
      const { address } = yield* serve({ network }, "a")
      const game = yield* dial(network, address, { onlyServing: true })
      assert.deepStrictEqual(yield* game.healthCheck({}), { status: "a" })
    }).pipe(Effect.provide(LoggerTest))
  )
})

describe("time", () => {
  it.effect("is TestClock's: a deadline passes when the test says so, and not before", () =>
    Effect.gen(function* () {
      const log = yield* LogRecorder
      const started = yield* Deferred.make<void>()
      const game = yield* start(
        layerEmbedded(),
        handlers({ gainExp: () => Effect.andThen(Deferred.succeed(started, undefined), Effect.never) })
      )
      const call = yield* Effect.forkChild(
        reasonOf(game.gainExp({ playerId: "p1", requestId: "r1", amount: 1n }, { deadline: "5 seconds" }))
      )
      yield* Deferred.await(started)
      yield* TestClock.adjust(4999)
      assert.isUndefined(call.pollUnsafe())
      yield* TestClock.adjust(1)
      assert.include(yield* Fiber.join(call), { _tag: "OutcomeUnknown", code: "DEADLINE_EXCEEDED" })
      assert.include(yield* log.find(({ code }) => code === "DEADLINE_EXCEEDED"), { duration: 5 })
    }).pipe(Effect.provide(LoggerTest))
  )

  it.effect("passes for a handler that sleeps", () =>
    Effect.gen(function* () {
      const started = yield* Deferred.make<void>()
      const sleepy = Effect.andThen(Deferred.succeed(started, undefined), Effect.sleep("3 seconds"))
      const game = yield* start(
        layerEmbedded(),
        handlers({ healthCheck: () => Effect.as(sleepy, { status: "rested" }) })
      )
      const call = yield* Effect.forkChild(game.healthCheck({}))
      yield* Deferred.await(started)
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(yield* Fiber.join(call), { status: "rested" })
    }).pipe(Effect.provide(LoggerTest))
  )

  it.effect("does not have to pass for a server to stop, whatever is open", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const started = yield* Deferred.make<void>()
      const forever = Stream.fromEffect(Effect.andThen(Deferred.succeed(started, undefined), Effect.never))
      const context = yield* Layer.build(layerEmbedded())
      const served = streamHandlers({ watch: () => forever })
      yield* Layer.build(GrpcServer.serve(served).pipe(Layer.provide(Layer.succeedContext(context)))).pipe(
        Scope.provide(scope)
      )
      const target = yield* Context.get(context, GrpcServer).address
      const { watch } = yield* Grpc.client(StreamApi, { target }).pipe(Effect.provide(context))
      const watching = yield* Effect.forkChild(tagOf(Stream.runDrain(watch({ playerId: "p1" }))))
      yield* Deferred.await(started)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(yield* passes(Fiber.join(watching)), "Unavailable")
    }).pipe(Effect.provide(LoggerTest))
  )
})

describe("GrpcEmbedded", () => {
  it.effect("goes by sections server and grpc", () =>
    Effect.gen(function* () {
      const context = yield* Layer.build(
        GrpcServer.serve(handlers({})).pipe(
          Layer.provideMerge(GrpcEmbedded),
          Layer.provide(
            ConfigTest({
              server: { name: "game-service", port: 7 },
              grpc: { target: "127.0.0.1:7", max_message_size: 99 }
            })
          )
        )
      )
      const server = Context.get(context, GrpcServer)
      assert.strictEqual(yield* server.address, "127.0.0.1:7")
      assert.isUndefined(server.native)
      const game = yield* Grpc.client(GameApi).pipe(Effect.provide(context))
      assert.deepStrictEqual(yield* game.getPlayer({ playerId: "p1" }), response("p1"))
      assert.strictEqual(yield* tagOf(game.getPlayer({ playerId: "x".repeat(100) })), "ResourceExhausted")
    }).pipe(Effect.provide(LoggerTest))
  )
})
