// The promises of room registry, for a layer on a store that nobody else uses.
import { assert, layer as layerTest } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Ref from "effect/Ref"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { randomUUID } from "node:crypto"
import { type Endpoints, type Instance, Leader, type Leading, Registry, RegistryError } from "xdooria/registry"

/** A name that no other test uses. */
const newName = Effect.sync(() => `service-${randomUUID()}`)

/** The tag of the reason that an effect fails with. */
export const tagOf = <A, R>(effect: Effect.Effect<A, RegistryError, R>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => reason._tag)

/** How a leadership was lost; the error itself when that is not what it says. */
export const lostBy = (error: unknown) =>
  error instanceof RegistryError && error.reason._tag === "Lost" ? error.reason.how : error

/** Work for ever that says when it has begun, and when its interruption is done. */
export const worker = Effect.gen(function* () {
  const begun = yield* Deferred.make<void>()
  const ended = yield* Deferred.make<void>()
  const work = Effect.onInterrupt(Effect.andThen(Deferred.succeed(begun, undefined), Effect.never), () =>
    Effect.andThen(Effect.yieldNow, Deferred.succeed(ended, undefined))
  )
  return { begun: Deferred.await(begun), hasEnded: Deferred.isDone(ended), work }
})

const register = (instance: Instance) => Effect.flatMap(Registry, (registry) => registry.register(instance))

const discover = (name: string) => Effect.flatMap(Registry, (registry) => registry.discover(name))

export const addressesOf = ({ endpoints }: Pick<Endpoints, "endpoints">) => endpoints.map(({ address }) => address)

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
    const until = (addresses: ReadonlyArray<string>) =>
      Effect.repeat(next, { until: (told) => addressesOf(told).join() === addresses.join() })
    return { next, until }
  })

/** Who leads, until it is as wanted. */
const observed = (name: string) =>
  Effect.gen(function* () {
    const leader = yield* Leader
    const { next } = yield* heard(leader.observe(name))
    return {
      next,
      until: (is: (leading: Option.Option<Leading>) => boolean) => Effect.repeat(next, { until: is })
    }
  })

const badNames = ["", "a/b", "a b", "é", "x".repeat(129), "a\n", "..%2f"]

const badInstances: ReadonlyArray<Omit<Instance, "name">> = [
  { address: "" },
  { address: "host" },
  { address: "host:0" },
  { address: "host:65536" },
  { address: "host:80abc" },
  { address: "0.0.0.0:80" },
  { address: "[::]:80" },
  { address: ":80" },
  { address: "a/b:80" },
  ...[
    "[0:0:0:0:0:0:0:0]",
    "[::0]",
    "[00::]",
    "[::ffff:0.0.0.0]",
    "[::0.0.0.0]",
    "0",
    "0.0.0",
    "127.1",
    "0x7f000001"
  ].map((host) => ({ address: `${host}:80` })),
  ...["[:::::]", "[::1%eth0]", "[10.0.0.1]", "\ud800", "é", "a,b", "a?b#", "a%00", "*", "a..b", "a.", "game_1"].map(
    (host) => ({ address: `${host}:80` })
  ),
  { address: `${"a.".repeat(126)}ab:80` },
  { address: `${"a".repeat(64)}:80` },
  { address: "a:080" },
  { address: "a:00080" },
  { address: "h:80", metadata: Object.fromEntries(Array.from({ length: 64 }, (_, i) => [`k${i}`, ""])) },
  { address: "h:80", metadata: { a: "x".repeat(8_192) } },
  { address: "h:80", metadata: { instance: "mine" } },
  { address: "h:80", metadata: { a: "\ud800" } }
]

/**
 * Declares the suite.
 *
 * - `clock`: `test` where time is TestClock's; nothing in it waits for time to pass
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
        assert.deepInclude(both, { name, isStale: false, skipped: 0, held: 0 })
        const found = yield* discover(name)
        assert.deepStrictEqual(found.endpoints, both.endpoints)
        assert.isTrue(found.revision >= both.revision)
        yield* Scope.close(scope, Exit.void)
        // A list that is read afterwards does not have it.
        assert.deepStrictEqual(addressesOf(yield* discover(name)), ["10.0.0.1:1"])
        yield* watcher.until(["10.0.0.1:1"])
      })
    )

    it.effect("tells one who comes later at once, whatever has happened before", () =>
      Effect.gen(function* () {
        const name = yield* newName
        const first = yield* watched(name)
        yield* register({ name, address: "10.0.0.1:1" })
        yield* first.until(["10.0.0.1:1"])
        const second = yield* watched(name)
        assert.deepStrictEqual(addressesOf(yield* second.next), ["10.0.0.1:1"])
      })
    )

    it.effect("keeps services apart whose names, and instances whose addresses, begin alike", () =>
      Effect.gen(function* () {
        const name = yield* newName
        const short = yield* Scope.make()
        yield* Scope.provide(register({ name, address: "10.0.0.1:5005" }), short)
        yield* register({ name, address: "10.0.0.1:50051" })
        yield* register({ name: `${name}-2`, address: "10.0.0.2:1" })
        yield* register({ name: `${name}.2`, address: "10.0.0.3:1" })
        assert.deepStrictEqual(addressesOf(yield* discover(name)), ["10.0.0.1:5005", "10.0.0.1:50051"])
        yield* Scope.close(short, Exit.void)
        assert.deepStrictEqual(addressesOf(yield* discover(name)), ["10.0.0.1:50051"])
        assert.deepStrictEqual(addressesOf(yield* discover(`${name}-2`)), ["10.0.0.2:1"])
      })
    )

    it.effect("takes an instance out, and puts it back", () =>
      Effect.gen(function* () {
        const name = yield* newName
        const watcher = yield* watched(name)
        const registration = yield* register({ name, address: "10.0.0.1:1" })
        yield* watcher.until(["10.0.0.1:1"])
        const { next } = yield* heard(registration.changes)
        assert.strictEqual((yield* next)._tag, "Registered")
        yield* registration.pause
        assert.deepStrictEqual(yield* registration.state, { _tag: "Paused" })
        assert.deepStrictEqual(addressesOf(yield* discover(name)), [])
        yield* watcher.until([])
        yield* registration.pause
        yield* registration.resume
        assert.strictEqual((yield* registration.state)._tag, "Registered")
        yield* watcher.until(["10.0.0.1:1"])
        const before = yield* registration.state
        yield* registration.resume
        assert.deepStrictEqual(yield* registration.state, before)
      })
    )

    it.effect("gives an address to the later of two, and back to the other when that one leaves", () =>
      Effect.gen(function* () {
        const name = yield* newName
        const address = "10.0.0.1:1"
        const first = yield* register({ name, address, metadata: { of: "first" } })
        const { next } = yield* heard(first.changes)
        const until = (tag: string) => Effect.repeat(next, { until: ({ _tag }) => _tag === tag })
        yield* until("Registered")
        const scope = yield* Scope.make()
        const second = yield* Scope.provide(register({ name, address, metadata: { of: "second" } }), scope)
        yield* until("Lost")
        assert.strictEqual((yield* second.state)._tag, "Registered")
        assert.strictEqual((yield* discover(name)).endpoints[0]?.metadata["of"], "second")
        yield* Scope.close(scope, Exit.void)
        yield* until("Registered")
        assert.strictEqual((yield* discover(name)).endpoints[0]?.metadata["of"], "first")
      })
    )

    it.effect("refuses names and instances that nobody could make use of", () =>
      Effect.gen(function* () {
        const registry = yield* Registry
        const leader = yield* Leader
        for (const bad of badNames) {
          assert.strictEqual(yield* tagOf(Effect.scoped(register({ name: bad, address: "h:1" }))), "InvalidName", bad)
          assert.strictEqual(yield* tagOf(discover(bad)), "InvalidName", bad)
          assert.strictEqual(yield* tagOf(Stream.runHead(registry.watch(bad))), "InvalidName", bad)
          assert.strictEqual(yield* tagOf(Effect.scoped(leader.elect(bad))), "InvalidName", bad)
          assert.strictEqual(yield* tagOf(Stream.runHead(leader.observe(bad))), "InvalidName", bad)
          assert.deepStrictEqual(yield* Stream.runHead(registry.resolver(bad)), Option.some([]), bad)
        }
        const name = yield* newName
        for (const bad of badInstances) {
          const refused = tagOf(Effect.scoped(register({ name, ...bad })))
          assert.strictEqual(yield* refused, "InvalidInstance", JSON.stringify(bad).slice(0, 80))
        }
        for (const id of ["", "x".repeat(257), "\ud800"]) {
          assert.strictEqual(yield* tagOf(Effect.scoped(leader.elect(name, { id }))), "InvalidName")
        }
        assert.deepStrictEqual((yield* discover(name)).endpoints, [])
      })
    )

    it.effect("takes addresses and metadata of every kind that others can use, and gives them back as they were", () =>
      Effect.gen(function* () {
        const name = yield* newName
        const metadata = { weight: "3", __proto__: "x", a: '<>&"\\ \u2028ü🎲\0', "": "" }
        const all = [
          "10.0.0.1:1",
          "[2001:db8::1]:65535",
          "game-1.example:50051",
          "localhost:9",
          `${"a.".repeat(126)}a:1`
        ]
        yield* Effect.forEach(all, (address) => register({ name, address, metadata }))
        const { endpoints } = yield* discover(name)
        assert.sameMembers(
          endpoints.map(({ address }) => address),
          all
        )
        for (const { metadata: read } of endpoints) {
          assert.deepStrictEqual({ ...read, instance: "" }, { ...metadata, instance: "" })
        }
      })
    )

    it.effect("is seen by who reads, whatever the size of what it says", () =>
      Effect.gen(function* () {
        const name = yield* newName
        const largest = [
          Object.fromEntries(Array.from({ length: 63 }, (_, i) => [`k${i}`, ""])),
          { a: "\0".repeat(8_191) },
          { a: "<".repeat(8_191) }
        ]
        for (const metadata of largest) {
          const registration = yield* register({ name, address: `${"a.".repeat(126)}a:65535`, metadata })
          assert.strictEqual((yield* registration.state)._tag, "Registered")
          const { endpoints, skipped } = yield* discover(name)
          assert.strictEqual(skipped, 0)
          assert.include(endpoints[0]?.metadata, metadata)
          yield* registration.pause
        }
      })
    )

    it.effect("gives one resolver for a name, which has the endpoints and nothing else", () =>
      Effect.gen(function* () {
        const name = yield* newName
        const registry = yield* Registry
        const resolver = registry.resolver(name)
        assert.strictEqual(registry.resolver(name), resolver)
        const { next } = yield* heard(resolver)
        assert.deepStrictEqual(yield* next, [])
        yield* register({ name, address: "10.0.0.1:1" })
        assert.deepStrictEqual(addressesOf({ endpoints: yield* next }), ["10.0.0.1:1"])
      })
    )

    it.effect("comes to what the store has, whatever comes and goes", () =>
      Effect.gen(function* () {
        const name = yield* newName
        const watcher = yield* watched(name)
        const all = Array.from({ length: 20 }, (_, index) => `10.0.0.${index + 10}:1`)
        yield* Effect.forEach(
          all,
          (address, index) =>
            Effect.gen(function* () {
              for (let round = 0; round < 3; round++) yield* Effect.scoped(register({ name, address }))
              if (index % 3 === 0) yield* register({ name, address })
            }),
          { concurrency: "unbounded" }
        )
        const left = all.filter((_, index) => index % 3 === 0)
        assert.deepStrictEqual(addressesOf(yield* discover(name)), left)
        yield* Effect.repeat(watcher.next, { until: ({ endpoints, held }) => endpoints.length === left.length + held })
      })
    )

    it.effect("has one leader at a time, whose work ends with the leadership", () =>
      Effect.gen(function* () {
        const name = yield* newName
        const leader = yield* Leader
        const observer = yield* observed(name)
        assert.isTrue(Option.isNone(yield* observer.next))
        const scope = yield* Scope.make()
        const one = yield* Scope.provide(leader.elect(name, { id: "one" }), scope)
        assert.deepInclude(one, { name, id: "one" })
        assert.deepStrictEqual(yield* observer.next, Option.some({ id: "one", token: one.token }))
        assert.strictEqual(yield* one.whileLeader(Effect.succeed(7)), 7)
        assert.strictEqual(yield* Effect.flip(one.whileLeader(Effect.fail("mine" as const))), "mine")
        const { begun, hasEnded, work } = yield* worker
        const working = yield* Effect.forkChild(Effect.flip(one.whileLeader(work)))
        yield* begun
        const electing = yield* Effect.forkScoped(leader.elect(name, { id: "two" }))
        yield* Scope.close(scope, Exit.void)
        assert.strictEqual(lostBy(yield* Fiber.join(working)), "closed")
        assert.isTrue(yield* hasEnded)
        assert.strictEqual(lostBy(yield* Effect.flip(one.whileLeader(Effect.void))), "closed")
        const two = yield* Fiber.join(electing)
        assert.isTrue(two.token > one.token)
        yield* observer.until((leading) => Option.isSome(leading) && leading.value.token === two.token)
      })
    )

    it.effect("lets all lead who ask, one after the other, with tokens that only rise", () =>
      Effect.gen(function* () {
        const name = yield* newName
        const leading = yield* Ref.make(0)
        const tokens = yield* Ref.make<ReadonlyArray<bigint>>([])
        const term = Leader.lead(name)(({ token }) =>
          Effect.gen(function* () {
            assert.strictEqual(yield* Ref.getAndUpdate(leading, (count) => count + 1), 0)
            yield* Ref.update(tokens, (all) => [...all, token])
            for (let i = 0; i < 20; i++) yield* Effect.yieldNow
            yield* Ref.update(leading, (count) => count - 1)
          })
        )
        yield* Effect.all(
          Array.from({ length: 10 }, () => term),
          { concurrency: "unbounded", discard: true }
        )
        const all = yield* Ref.get(tokens)
        assert.strictEqual(new Set(all).size, 10)
        assert.deepStrictEqual(
          [...all],
          all.toSorted((a, b) => (a < b ? -1 : 1))
        )
      })
    )

    it.effect("leaves nothing of a candidate that stops waiting, nor of one whose work fails", () =>
      Effect.gen(function* () {
        const name = yield* newName
        const leader = yield* Leader
        const observer = yield* observed(name)
        const scope = yield* Scope.make()
        yield* Scope.provide(leader.elect(name, { id: "one" }), scope)
        yield* observer.until(Option.isSome)
        const waiting = yield* Effect.forkChild(Effect.scoped(leader.elect(name, { id: "two" })))
        yield* Effect.yieldNow
        yield* Fiber.interrupt(waiting)
        yield* Scope.close(scope, Exit.void)
        yield* observer.until(Option.isNone)
        assert.strictEqual(yield* Effect.flip(Leader.lead(name)(() => Effect.fail("mine" as const))), "mine")
        const last = yield* Leader.lead(name, { id: "last" })((leadership) => Effect.succeed(leadership))
        assert.strictEqual(last.id, "last")
        // Who observes later is told what there is now.
        assert.isTrue(Option.isNone(yield* (yield* observed(name)).next))
      })
    )

    it.effect("keeps elections of different names apart", () =>
      Effect.gen(function* () {
        const name = yield* newName
        const leader = yield* Leader
        const one = yield* leader.elect(name)
        const two = yield* leader.elect(`${name}-2`)
        assert.notStrictEqual(one.id, two.id)
        assert.isTrue(two.token > one.token)
      })
    )
  })
