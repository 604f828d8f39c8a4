// A service that registers itself, and clients that find it: the room with room grpc, without a server.
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { ConfigTest } from "xdooria/config"
import { type Grpc, type GrpcClient, GrpcNetwork, GrpcServer, layerEmbedded as grpcEmbedded } from "xdooria/grpc"
import { type Leader, layerEmbedded, Registry } from "xdooria/registry"
import { GameApi, handlers, passing, response } from "../grpc/Game.ts"
import { addressesOf, heard } from "./RegistryContract.ts"

const name = "game-service"
const config = ConfigTest({ registry: { weight: 3, zone: "eu", version: "1.2" } })

/** One registry and one network, and servers that come and go on it. */
const fleet = Effect.gen(function* () {
  const network = new GrpcNetwork()
  const shared: Layer.Layer<Registry | Leader | GrpcServer | GrpcClient> = Layer.merge(
    layerEmbedded(),
    grpcEmbedded({ network })
  )
  const context = yield* Layer.build(shared)
  const registry = Context.get(context, Registry)
  const serve = (served: Grpc.Handlers<never, never>, port: number, metadata = {}) =>
    Registry.layerSelf(name, metadata).pipe(
      Layer.provideMerge(GrpcServer.serve(served)),
      Layer.provide(Layer.mergeAll(Layer.succeed(Registry, registry), grpcEmbedded({ network, port }), config))
    )
  return { context, registry, serve }
})

const answering = (from: string) => handlers({ getPlayer: () => Effect.succeed(response(from)) })

describe("a service that registers itself", () => {
  it.effect("is called by its name, wherever it is, as soon as it is there and until it leaves", () =>
    Effect.gen(function* () {
      const { context, registry, serve } = yield* fleet
      assert.strictEqual(GameApi.service, name)
      const client = yield* Registry.client(GameApi).pipe(Effect.provide(context))
      const answerOf = Effect.map(client.getPlayer({ playerId: "p1" }), ({ player }) => player?.id)
      // The pool of the client hears of it when our own watcher does, a moment earlier or later.
      const who = passing("test")(
        Effect.retry(answerOf, { while: ({ _tag }) => _tag === "GrpcError", schedule: Schedule.spaced("10 millis") })
      )
      const { next } = yield* heard(registry.watch(name))
      const until = (ports: ReadonlyArray<number>) =>
        Effect.repeat(next, {
          until: (told) => addressesOf(told).join() === ports.map((port) => `127.0.0.1:${port}`).join()
        })
      const one = yield* Scope.make()
      const two = yield* Scope.make()
      yield* Layer.buildWithScope(serve(answering("one"), 7001), one)
      yield* until([7001])
      assert.strictEqual(yield* who, "one")
      yield* Layer.buildWithScope(serve(answering("two"), 7002), two)
      yield* until([7001, 7002])
      yield* passing("test")(Scope.close(one, Exit.void))
      yield* until([7002])
      assert.strictEqual(yield* who, "two")
      yield* passing("test")(Scope.close(two, Exit.void))
    })
  )

  it.effect("says what section registry says of it, that it lets clients ping, and what it is told to", () =>
    Effect.gen(function* () {
      const { registry, serve } = yield* fleet
      const scope = yield* Scope.make()
      yield* Layer.buildWithScope(serve(answering("one"), 7003, { colour: "green" }), scope)
      const [endpoint] = (yield* registry.discover(name)).endpoints
      const { instance, ...metadata } = endpoint!.metadata
      assert.match(instance ?? "", /^[0-9a-f]{16}$/)
      assert.deepStrictEqual(metadata, { weight: "3", zone: "eu", version: "1.2", keepalive: "true", colour: "green" })
      yield* passing("test")(Scope.close(scope, Exit.void))
    })
  )

  it.effect("is gone from the registry before its calls are drained", () =>
    Effect.gen(function* () {
      const { context, registry, serve } = yield* fleet
      const begun = yield* Deferred.make<void>()
      const go = yield* Deferred.make<void>()
      const slow = handlers({
        getPlayer: () =>
          Effect.andThen(Deferred.succeed(begun, undefined), Effect.as(Deferred.await(go), response("slow")))
      })
      const scope = yield* Scope.make()
      yield* Layer.buildWithScope(serve(slow, 7004), scope)
      const client = yield* Registry.client(GameApi).pipe(Effect.provide(context))
      const call = yield* Effect.forkChild(passing("test")(client.getPlayer({ playerId: "p1" })))
      yield* Deferred.await(begun)
      const { next } = yield* heard(registry.watch(name))
      const closing = yield* Effect.forkChild(passing("test")(Scope.close(scope, Exit.void)))
      yield* Effect.repeat(next, { until: ({ endpoints }) => endpoints.length === 0 })
      assert.isUndefined(call.pollUnsafe())
      yield* Deferred.succeed(go, undefined)
      assert.strictEqual((yield* Fiber.join(call)).player?.id, "slow")
      yield* Fiber.join(closing)
    })
  )

  it.effect("does not start when nothing serves", () =>
    Effect.gen(function* () {
      const { registry } = yield* fleet
      const alone = Registry.layerSelf(name).pipe(
        Layer.provide(Layer.mergeAll(Layer.succeed(Registry, registry), grpcEmbedded(), config))
      )
      const { reason } = yield* Effect.flip(Effect.scoped(Layer.build(alone)))
      assert.strictEqual(reason._tag, "NotServing")
    })
  )
})
