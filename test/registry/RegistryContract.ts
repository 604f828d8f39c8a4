// The promises of room registry, for a layer on a store that nobody else uses.
import { assert, layer as layerTest } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import { randomUUID } from "node:crypto"
import { type Endpoints, type Instance, Leader, Registry, RegistryError } from "xdooria/registry"

/** A name that no other test uses. */
const newName = Effect.sync(() => `service-${randomUUID()}`)

/** The tag of the reason that an effect fails with. */
export const tagOf = <A, R>(effect: Effect.Effect<A, RegistryError, R>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => reason._tag)

const register = (instance: Instance) => Effect.flatMap(Registry, (registry) => registry.register(instance))

const discover = (name: string) => Effect.flatMap(Registry, (registry) => registry.discover(name))

const addressesOf = ({ endpoints }: Endpoints) => endpoints.map(({ address }) => address)

/** What a stream tells, one by one, until the scope ends. */
export const heard = <A, E, R>(stream: Stream.Stream<A, E, R>) =>
  Effect.gen(function* () {
    const queue = yield* Queue.unbounded<A>()
    const hearing = yield* Effect.forkScoped(Stream.runForEach(stream, (value) => Queue.offer(queue, value)))
    return { next: Queue.take(queue), rest: Queue.clear(queue), ended: Fiber.await(hearing) }
  })

/** What a watcher is told, until it is as wanted. */
const watched = (name: string) =>
  Effect.gen(function* () {
    const registry = yield* Registry
    const { next } = yield* heard(registry.watch(name))
    const until = (addresses: ReadonlyArray<string>): Effect.Effect<Endpoints> =>
      Effect.flatMap(next, (told) =>
        addressesOf(told).join() === addresses.join() ? Effect.succeed(told) : until(addresses)
      )
    return { next, until }
  })

/**
 * Declares the suite.
 *
 * - `clock`: `test` where time is TestClock's; on a `live` one, waiting is the only way to let time pass
 */
export const suite = <E>(
  name: string,
  layer: Layer.Layer<Registry | Leader, E>,
  { clock }: { readonly clock: "test" | "live" }
): void =>
  layerTest(layer, { excludeTestServices: clock === "live", timeout: "30 seconds" })(name, (it) => {
    it.effect("finds what is registered, until the scope ends", () =>
      Effect.gen(function* () {
        const name = yield* newName
        const watcher = yield* watched(name)
        assert.deepStrictEqual(addressesOf(yield* watcher.next), [])
        const scope = yield* Scope.make()
        yield* Scope.provide(register({ name, address: "10.0.0.2:1", metadata: { zone: "a" } }), scope)
        const one = yield* watcher.until(["10.0.0.2:1"])
        assert.strictEqual(one.endpoints[0]?.metadata["zone"], "a")
        yield* register({ name, address: "10.0.0.1:1" })
        const both = yield* watcher.until(["10.0.0.1:1", "10.0.0.2:1"])
        assert.isTrue(both.revision > one.revision)
        assert.deepStrictEqual((yield* discover(name)).endpoints, both.endpoints)
        yield* Scope.close(scope, Exit.void)
        yield* watcher.until(["10.0.0.1:1"])
        assert.deepStrictEqual(addressesOf(yield* discover(name)), ["10.0.0.1:1"])
      })
    )

    it.effect("leads one at a time", () =>
      Effect.gen(function* () {
        const name = yield* newName
        const leader = yield* Leader
        const { next } = yield* heard(leader.observe(name))
        assert.isTrue(Option.isNone(yield* next))
        const scope = yield* Scope.make()
        const one = yield* Scope.provide(leader.elect(name, { id: "one" }), scope)
        assert.deepStrictEqual(yield* next, Option.some({ id: "one", token: one.token }))
        const ended = yield* Deferred.make<void>()
        const work = yield* Effect.forkChild(
          Effect.flip(one.whileLeader(Effect.onInterrupt(Effect.never, () => Deferred.succeed(ended, undefined))))
        )
        const two = yield* Effect.forkScoped(leader.elect(name, { id: "two" }))
        yield* Scope.close(scope, Exit.void)
        yield* Deferred.await(ended)
        const lost = yield* Fiber.join(work)
        assert.deepInclude(lost instanceof RegistryError ? lost.reason : lost, { _tag: "Lost", how: "closed" })
        const next2 = yield* Fiber.join(two)
        assert.isTrue(next2.token > one.token)
        assert.deepStrictEqual(yield* next, Option.some({ id: "two", token: next2.token }))
      })
    )
  })
