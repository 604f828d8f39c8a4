// What the room makes of a store that fails: the same code as on etcd, on a store in memory that can be taken away.
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import { Leader, type Registration, type RegistrationState, Registry } from "xdooria/registry"
import { encode, keyOf } from "../../src/registry/internal/codec.ts"
import * as Room from "../../src/registry/internal/room.ts"
import { seeded } from "../support/Seeded.ts"
import { FaultyStore } from "./FaultyStore.ts"
import { addressesOf, heard, lostBy, tagOf, worker } from "./RegistryContract.ts"

const settings = {
  ttl: Duration.seconds(9),
  resync: Duration.seconds(60),
  panicThreshold: 0.5,
  required: true,
  advertise: "",
  weight: 1,
  zone: "",
  version: "",
  instances: []
}

/** A store, and a room on it. */
const setup = (changed: Partial<typeof settings> = {}) =>
  Effect.gen(function* () {
    const store = yield* FaultyStore.make
    const context = yield* Room.make(store, { ...settings, ...changed })
    return { store, registry: Context.get(context, Registry), leader: Context.get(context, Leader) }
  })

const name = "game-service"
const address = "10.0.0.1:50051"
const key = keyOf(name, address)

/** The next state with a tag. */
const untilState = (
  next: Effect.Effect<RegistrationState>,
  tag: RegistrationState["_tag"]
): Effect.Effect<RegistrationState> => Effect.repeat(next, { until: (state) => state._tag === tag })

const statesOf = ({ changes }: Registration) => heard(changes)

/** Lets time pass in steps: what is renewed on the way needs each of them. */
const advance = (seconds: number) =>
  Effect.repeat(TestClock.adjust("500 millis"), { times: Math.max(0, seconds * 2 - 1) })

const entryOf = (store: FaultyStore, of = key) =>
  Effect.map(store.memory.list(of), ({ entries }) => entries.find((entry) => entry.key === of))

describe("a registration", () => {
  it.effect("stays for as long as it is renewed", () =>
    Effect.gen(function* () {
      const { registry, store } = yield* setup()
      yield* registry.register({ name, address })
      const before = yield* entryOf(store)
      yield* advance(60)
      assert.deepStrictEqual(yield* entryOf(store), before)
    })
  )

  it.effect("is put again on a new lease when the old one was revoked", () =>
    Effect.gen(function* () {
      const { registry, store } = yield* setup()
      const registration = yield* registry.register({ name, address })
      const { next } = yield* statesOf(registration)
      const before = (yield* entryOf(store))!
      yield* untilState(next, "Registered")
      yield* store.memory.revoke(before.lease)
      yield* untilState(next, "Invisible")
      yield* advance(3)
      const state = yield* untilState(next, "Registered")
      const after = (yield* entryOf(store))!
      assert.notStrictEqual(after.lease, before.lease)
      assert.strictEqual(after.value, before.value)
      assert.deepInclude(state, { revision: after.modRevision })
    })
  )

  it.effect("is put again when an operator has deleted its key", () =>
    Effect.gen(function* () {
      const { registry, store } = yield* setup()
      const { next } = yield* statesOf(yield* registry.register({ name, address }))
      yield* untilState(next, "Registered")
      const before = (yield* entryOf(store))!
      yield* store.memory.remove(before)
      yield* untilState(next, "Invisible")
      yield* untilState(next, "Registered")
      const after = (yield* entryOf(store))!
      assert.isTrue(after.createRevision > before.createRevision)
      assert.strictEqual(after.lease, before.lease)
    })
  )

  it.effect("is invisible a while after the store has gone, and back when it is back", () =>
    Effect.gen(function* () {
      const { registry, store } = yield* setup()
      const registration = yield* registry.register({ name, address })
      const { next } = yield* statesOf(registration)
      yield* untilState(next, "Registered")
      yield* store.leave()
      yield* advance(5)
      // Its entry still is there.
      assert.strictEqual((yield* registration.state)._tag, "Registered")
      yield* advance(4)
      const state = yield* untilState(next, "Invisible")
      assert.include(state._tag === "Invisible" ? state.detail : "", "it was taken away")
      yield* advance(30)
      assert.isUndefined(yield* entryOf(store))
      store.return()
      yield* advance(3)
      yield* untilState(next, "Registered")
      assert.isDefined(yield* entryOf(store))
    })
  )

  it.effect("takes over what a process that died has left at its address", () =>
    Effect.gen(function* () {
      const { registry, store } = yield* setup()
      const dead = yield* store.memory.grant(9_000)
      yield* store.memory.put({ key, value: encode(name, address, {}), lease: dead.lease })
      const registration = yield* registry.register({ name, address })
      assert.strictEqual((yield* registration.state)._tag, "Registered")
      yield* advance(20)
      assert.notStrictEqual((yield* entryOf(store))?.lease, dead.lease)
      assert.strictEqual((yield* registration.state)._tag, "Registered")
    })
  )

  it.effect("does not fight for an address that another process has taken while it could not renew", () =>
    Effect.gen(function* () {
      const { registry, store } = yield* setup()
      const registration = yield* registry.register({ name, address })
      const { next } = yield* statesOf(registration)
      yield* store.leave()
      yield* advance(20)
      const other = yield* store.memory.grant(60_000)
      const theirs = encode(name, address, { instance: "another" })
      yield* store.memory.put({ key, value: theirs, lease: other.lease })
      store.return()
      yield* advance(3)
      yield* untilState(next, "Lost")
      yield* advance(20)
      assert.strictEqual((yield* entryOf(store))?.value, theirs)
      yield* store.memory.revoke(other.lease)
      yield* untilState(next, "Registered")
      assert.notStrictEqual((yield* entryOf(store))?.value, theirs)
    })
  )

  it.effect("is there once when the reply of its put was lost", () =>
    Effect.gen(function* () {
      const { registry, store } = yield* setup()
      store.loseReply("put")
      const registering = yield* Effect.forkScoped(registry.register({ name, address }))
      yield* advance(1)
      const registration = yield* Fiber.join(registering)
      const entry = (yield* entryOf(store))!
      assert.deepStrictEqual(yield* registration.state, { _tag: "Registered", revision: entry.modRevision })
      const { next } = yield* statesOf(registration)
      yield* next
      store.loseReply("put")
      yield* store.memory.remove(entry)
      yield* advance(1)
      yield* untilState(next, "Registered")
      assert.strictEqual((yield* store.memory.list(key)).entries.length, 1)
    })
  )

  it.effect("leaves at once with its scope, and by itself when the store does not answer", () =>
    Effect.gen(function* () {
      const { registry, store } = yield* setup()
      const scope = yield* Scope.make()
      yield* Scope.provide(registry.register({ name, address }), scope)
      yield* Scope.close(scope, Exit.void)
      assert.isUndefined(yield* entryOf(store))
      const other = yield* Scope.make()
      yield* Scope.provide(registry.register({ name, address }), other)
      yield* store.leave()
      const closing = yield* Effect.forkChild(Scope.close(other, Exit.void))
      yield* advance(4)
      yield* Fiber.join(closing)
      assert.isDefined(yield* entryOf(store))
      yield* advance(9)
      assert.isUndefined(yield* entryOf(store))
    })
  )

  it.effect("fails when the store does not answer, and leaves nothing to come later", () =>
    Effect.gen(function* () {
      const { registry, store } = yield* setup()
      yield* store.leave()
      const registering = yield* Effect.forkChild(tagOf(Effect.scoped(registry.register({ name, address }))))
      yield* advance(20)
      assert.strictEqual(yield* Fiber.join(registering), "Unavailable")
      store.return()
      yield* advance(20)
      assert.isUndefined(yield* entryOf(store))
    })
  )

  it.effect("does not wait for the store where it is not required", () =>
    Effect.gen(function* () {
      const { registry, store } = yield* setup({ required: false })
      yield* store.leave()
      const registration = yield* registry.register({ name, address })
      assert.strictEqual((yield* registration.state)._tag, "Invisible")
      const { next } = yield* statesOf(registration)
      store.return()
      yield* advance(3)
      yield* untilState(next, "Registered")
    })
  )

  it.effect("fails when the store refuses it, and goes on when it refuses later", () =>
    Effect.gen(function* () {
      const { registry, store } = yield* setup()
      store.refuse("put")
      assert.strictEqual(yield* tagOf(Effect.scoped(registry.register({ name, address }))), "Refused")
      store.refuse("put", false)
      const registration = yield* registry.register({ name, address })
      const { next } = yield* statesOf(registration)
      yield* untilState(next, "Registered")
      store.refuse("put")
      yield* store.memory.remove((yield* entryOf(store))!)
      const state = yield* untilState(next, "Invisible")
      assert.strictEqual(state._tag, "Invisible")
      yield* advance(5)
      assert.include(yield* registration.state, { _tag: "Invisible" })
      store.refuse("put", false)
      yield* advance(3)
      yield* untilState(next, "Registered")
    })
  )

  it.effect("that is paused stays out, also when the store was away, until it is resumed", () =>
    Effect.gen(function* () {
      const { registry, store } = yield* setup()
      const registration = yield* registry.register({ name, address })
      yield* store.leave()
      const pausing = yield* Effect.forkChild(tagOf(registration.pause))
      yield* advance(4)
      assert.strictEqual(yield* Fiber.join(pausing), "Unavailable")
      assert.deepStrictEqual(yield* registration.state, { _tag: "Paused" })
      store.return()
      yield* advance(20)
      assert.isUndefined(yield* entryOf(store))
      yield* registration.resume
      assert.isDefined(yield* entryOf(store))
    })
  )

  it.effect("ends with the room, which takes no more", () =>
    Effect.gen(function* () {
      const store = yield* FaultyStore.make
      const scope = yield* Scope.make()
      const context = yield* Scope.provide(Room.make(store, settings), scope)
      const registry = Context.get(context, Registry)
      const registration = yield* registry.register({ name, address })
      yield* Scope.close(scope, Exit.void)
      assert.isUndefined(yield* entryOf(store))
      assert.strictEqual(yield* tagOf(registration.resume), "Closed")
      assert.strictEqual(yield* tagOf(registration.pause), "Closed")
      assert.strictEqual(yield* tagOf(Effect.scoped(registry.register({ name, address }))), "Closed")
      assert.strictEqual(yield* tagOf(registry.discover(name)), "Closed")
      assert.strictEqual(yield* tagOf(Effect.scoped(Context.get(context, Leader).elect("a"))), "Closed")
    })
  )
})

/** Puts an entry as a Go service does, on a lease of its own. */
const putEntry = (store: FaultyStore, at: string, ttlMillis = 600_000, metadata = {}) =>
  Effect.gen(function* () {
    const { lease } = yield* store.memory.grant(ttlMillis)
    yield* store.memory.put({ key: keyOf(name, at), value: encode(name, at, metadata), lease })
    return { lease, leave: store.memory.revoke(lease) }
  })

describe("a view", () => {
  const addresses = (count: number) => Array.from({ length: count }, (_, i) => `10.0.0.${i + 1}:1`)

  it.effect("stays as it was while the store is away, and says so", () =>
    Effect.gen(function* () {
      const { registry, store } = yield* setup()
      const { leave } = yield* putEntry(store, "10.0.0.1:1")
      const { next, rest } = yield* heard(registry.watch(name))
      const before = yield* next
      assert.isFalse(before.isStale)
      yield* TestClock.adjust("5 seconds")
      yield* store.leave()
      yield* advance(1)
      const stale = yield* next
      assert.deepStrictEqual(stale, { ...before, isStale: true })
      yield* advance(30)
      assert.deepStrictEqual(yield* rest, [])
      yield* leave
      store.return()
      yield* advance(2)
      const after = yield* next
      assert.deepInclude(after, { isStale: false, endpoints: [] })
      assert.isTrue(after.revision > before.revision && after.confirmedAt > before.confirmedAt)
    })
  )

  it.effect("misses nothing that happened while the connection was cut, also when it was compacted", () =>
    Effect.gen(function* () {
      const { registry, store } = yield* setup({ panicThreshold: 1 })
      const { next } = yield* heard(registry.watch(name))
      assert.deepStrictEqual((yield* next).endpoints, [])
      for (const isCompacted of [false, true]) {
        yield* store.leave()
        const entries = yield* Effect.forEach(addresses(20), (at) => putEntry(store, at))
        yield* Effect.forEach(entries.slice(1), ({ leave }) => leave)
        if (isCompacted) store.memory.compact((yield* store.memory.list("")).revision)
        store.return()
        yield* advance(3)
        let told = yield* next
        while (told.endpoints.length !== 1) told = yield* next
        yield* entries[0]!.leave
        while (told.endpoints.length !== 0) told = yield* next
      }
    })
  )

  it.effect("lists again when the watch says that it was compacted", () =>
    Effect.gen(function* () {
      const { registry, store } = yield* setup()
      const { next } = yield* heard(registry.watch(name))
      yield* next
      // One commit that the watch must be behind: the history is shorter than what happens at once.
      const { lease } = yield* store.memory.grant(600_000)
      yield* Effect.forEach(Array.from({ length: 2_000 }), () =>
        store.memory.put({ key: keyOf(name, address), value: encode(name, address, {}), lease })
      )
      let told = yield* next
      while (told.endpoints.length !== 1) told = yield* next
      assert.strictEqual(told.endpoints[0]?.address, address)
    })
  )

  it.effect("reads the whole list again once in a while", () =>
    Effect.gen(function* () {
      const { registry, store } = yield* setup()
      const { next } = yield* heard(registry.watch(name))
      yield* next
      const before = store.calls.filter((call) => call === "list").length
      yield* advance(61)
      assert.strictEqual(store.calls.filter((call) => call === "list").length, before + 1)
    })
  )

  it.effect("tells of nothing that is not news", () =>
    Effect.gen(function* () {
      const { registry, store } = yield* setup()
      const { next, rest } = yield* heard(registry.watch(name))
      yield* next
      yield* putEntry(store, "10.0.0.1:1")
      yield* next
      // Renewed on another lease; the value is the same.
      yield* putEntry(store, "10.0.0.1:1")
      yield* store.memory.put({ key: "/xdooria/services/game-service/10.0.0.9:1", value: "null", lease: "0" })
      yield* advance(70)
      assert.deepStrictEqual(yield* rest, [])
      const { skipped } = yield* registry.discover(name)
      assert.strictEqual(skipped, 1)
      // Who comes later has what is known now.
      const late = yield* heard(registry.watch(name))
      assert.strictEqual((yield* late.next).skipped, 1)
    })
  )

  it.effect("is one for all who watch a name, and lives a little longer than they do", () =>
    Effect.gen(function* () {
      const { registry, store } = yield* setup()
      const scope = yield* Scope.make()
      const one = yield* Scope.provide(heard(registry.watch(name)), scope)
      const two = yield* Scope.provide(heard(registry.watch(name)), scope)
      yield* one.next
      yield* two.next
      assert.strictEqual(store.calls.filter((call) => call === "list").length, 1)
      yield* Scope.close(scope, Exit.void)
      yield* TestClock.adjust("5 seconds")
      const three = yield* Scope.make()
      yield* Effect.flatMap(Scope.provide(heard(registry.watch(name)), three), ({ next }) => next)
      assert.strictEqual(store.calls.filter((call) => call === "list").length, 1)
      yield* Scope.close(three, Exit.void)
      yield* TestClock.adjust("11 seconds")
      yield* Effect.flatMap(heard(registry.watch(name)), ({ next }) => next)
      assert.strictEqual(store.calls.filter((call) => call === "list").length, 2)
    })
  )

  it.effect("holds many that vanish at once for another ttl", () =>
    Effect.gen(function* () {
      const { registry, store } = yield* setup()
      const all = addresses(4)
      const entries = yield* Effect.forEach(all, (at) => putEntry(store, at))
      const { next, rest } = yield* heard(registry.watch(name))
      assert.strictEqual((yield* next).endpoints.length, 4)
      // Two of four are not more than half of them.
      yield* entries[0]!.leave
      yield* next
      yield* entries[1]!.leave
      assert.deepInclude(yield* next, { held: 0 })
      yield* entries[2]!.leave
      const held = yield* next
      assert.strictEqual(held.held, 3)
      assert.deepStrictEqual(addressesOf(held), all)
      // One comes back: it is there like the others.
      yield* putEntry(store, all[0]!)
      assert.deepInclude(yield* next, { held: 2 })
      yield* TestClock.adjust("8 seconds")
      assert.deepStrictEqual(yield* rest, [])
      yield* TestClock.adjust("1 second")
      const released = yield* next
      assert.deepInclude(released, { held: 0 })
      assert.deepStrictEqual(addressesOf(released), [all[0], all[3]])
    })
  )

  it.effect("lets go of few, of those that leave one after another, and of all when it is told to", () =>
    Effect.gen(function* () {
      const both = yield* setup()
      const two = yield* Effect.forEach(addresses(2), (at) => putEntry(both.store, at))
      const few = yield* heard(both.registry.watch(name))
      yield* few.next
      yield* Effect.forEach(two, ({ leave }) => leave)
      let told = yield* few.next
      while (told.endpoints.length > 0) told = yield* few.next
      assert.strictEqual(told.held, 0)

      const rolled = yield* Effect.forEach(addresses(4), (at) => putEntry(both.store, at))
      while (told.endpoints.length < 4) told = yield* few.next
      for (const { leave } of rolled) {
        yield* leave
        assert.deepInclude(yield* few.next, { held: 0 })
        yield* TestClock.adjust("1001 millis")
      }

      const never = yield* setup({ panicThreshold: 1 })
      const all = yield* Effect.forEach(addresses(5), (at) => putEntry(never.store, at))
      const watcher = yield* heard(never.registry.watch(name))
      yield* watcher.next
      yield* Effect.forEach(all, ({ leave }) => leave)
      told = yield* watcher.next
      while (told.endpoints.length > 0) told = yield* watcher.next
      assert.strictEqual(told.held, 0)
    })
  )

  it.effect("keeps its revision when the store was set back to an older state, and believes what that says", () =>
    Effect.gen(function* () {
      const { registry, store } = yield* setup()
      yield* putEntry(store, "10.0.0.1:1")
      const { next } = yield* heard(registry.watch(name))
      const before = yield* next
      const older = yield* FaultyStore.make
      Object.assign(store, { memory: older.memory })
      yield* store.cut
      yield* advance(1)
      const after = yield* next
      assert.deepStrictEqual(after.endpoints, [])
      assert.strictEqual(after.revision, before.revision)
      yield* putEntry(store, "10.0.0.2:1")
      assert.strictEqual((yield* next).endpoints[0]?.address, "10.0.0.2:1")
    })
  )

  it.effect("waits for its first list, and ends with the room", () =>
    Effect.gen(function* () {
      const store = yield* FaultyStore.make
      const scope = yield* Scope.make()
      const registry = Context.get(yield* Scope.provide(Room.make(store, settings), scope), Registry)
      yield* store.leave()
      const { ended, next, rest } = yield* heard(registry.watch(name))
      yield* advance(5)
      assert.deepStrictEqual(yield* rest, [])
      assert.strictEqual(yield* tagOf(registry.discover(name)), "Unavailable")
      store.return()
      yield* advance(1)
      assert.deepStrictEqual((yield* next).endpoints, [])
      yield* Scope.close(scope, Exit.void)
      yield* ended
      yield* (yield* heard(registry.watch(name))).ended
    })
  )
})

describe("any sequence of changes, cuts, outages and compactions", () => {
  const seeds = Array.from({ length: 20 }, (_, index) => index + 1)
  for (const seed of seeds) {
    it.effect(`leaves the view with what the store has, seed ${seed}`, () =>
      Effect.gen(function* () {
        const random = seeded(seed)
        const below = (count: number) => Math.floor(random() * count)
        const { registry, store } = yield* setup({ panicThreshold: 1 })
        const { rest } = yield* heard(registry.watch(name))
        const own = yield* registry.register({ name, address })
        const put = Effect.suspend(() =>
          putEntry(store, `10.0.1.${below(20)}:1`, below(2) === 0 ? 3_000 : 600_000, { v: String(below(3)) })
        )
        const remove = Effect.suspend(() =>
          Effect.flatMap(store.memory.list(""), ({ entries }) => {
            const entry = entries[below(entries.length)]
            return entry === undefined ? Effect.void : store.memory.remove(entry)
          })
        )
        const outage = Effect.suspend(() => store.leave())
        const end = Effect.sync(() => store.return())
        const compact = Effect.map(store.memory.list(""), ({ revision }) => store.memory.compact(revision))
        const wait = Effect.suspend(() => TestClock.adjust(below(1_500)))
        const steps = [put, put, put, remove, remove, store.cut, outage, end, compact, wait, wait]
        let last = 0n
        for (let step = 0; step < 150; step++) {
          yield* steps[below(steps.length)]!
          for (const { revision } of yield* rest) {
            assert.isTrue(revision >= last, "the revision went back")
            last = revision
          }
        }
        store.return()
        yield* advance(5)
        const { next } = yield* heard(registry.watch(name))
        const seen = yield* next
        assert.deepStrictEqual(seen.endpoints, (yield* registry.discover(name)).endpoints)
        assert.isFalse(seen.isStale)
        assert.strictEqual((yield* own.state)._tag, "Registered")
        assert.include(addressesOf(seen), address)
      })
    )
  }
})

describe("a leadership", () => {
  const leaderKeys = (store: FaultyStore) =>
    Effect.map(store.memory.list("/xdooria/meta/leaders/"), ({ entries }) => entries)

  it.effect("is lost before its lease can be another's when the store is away", () =>
    Effect.gen(function* () {
      const { leader, store } = yield* setup()
      const leadership = yield* leader.elect("boss")
      const { begun, hasEnded, work } = yield* worker
      const working = yield* Effect.forkChild(Effect.flip(leadership.whileLeader(work)))
      yield* begun
      yield* store.leave()
      // The lease was asked for at 0 and lasts 9 s.
      yield* TestClock.adjust("8 seconds")
      assert.isUndefined(working.pollUnsafe())
      yield* TestClock.adjust("200 millis")
      assert.strictEqual(lostBy(yield* Fiber.join(working)), "expired")
      assert.isTrue(yield* hasEnded)
      assert.strictEqual((yield* leaderKeys(store)).length, 1)
      assert.strictEqual(lostBy(yield* Effect.flip(leadership.whileLeader(Effect.void))), "expired")
      store.return()
    })
  )

  it.effect("is lost when its key is taken away, or its lease", () =>
    Effect.gen(function* () {
      const { leader, store } = yield* setup()
      for (const isLease of [false, true]) {
        const leadership = yield* leader.elect("boss")
        const { begun, work } = yield* worker
        const working = yield* Effect.forkChild(Effect.flip(leadership.whileLeader(work)))
        yield* begun
        const [entry] = yield* leaderKeys(store)
        yield* isLease ? store.memory.revoke(entry!.lease) : store.memory.remove(entry!)
        assert.strictEqual(lostBy(yield* Fiber.join(working)), "taken")
      }
    })
  )

  it.effect("is kept for as long as it is renewed", () =>
    Effect.gen(function* () {
      const { leader } = yield* setup()
      const leadership = yield* leader.elect("boss")
      const { begun, work } = yield* worker
      const working = yield* Effect.forkChild(leadership.whileLeader(work))
      yield* begun
      yield* advance(60)
      assert.isUndefined(working.pollUnsafe())
      assert.strictEqual(yield* leadership.whileLeader(Effect.succeed(1)), 1)
    })
  )

  it.effect("is not given to a candidate whose key was taken away while it waited: it asks again", () =>
    Effect.gen(function* () {
      const { leader, store } = yield* setup()
      const first = yield* Scope.make()
      yield* Scope.provide(leader.elect("boss", { id: "one" }), first)
      const waiting = yield* Effect.forkScoped(leader.elect("boss", { id: "two" }))
      const third = yield* Effect.forkScoped(leader.elect("boss", { id: "three" }))
      yield* Effect.repeat(Effect.yieldNow, { times: 50 })
      const two = (yield* leaderKeys(store)).find(({ value }) => value === "two")!
      yield* store.memory.revoke(two.lease)
      yield* advance(2)
      yield* Scope.close(first, Exit.void)
      const leads = yield* Fiber.join(third)
      assert.strictEqual(leads.id, "three")
      assert.isUndefined(waiting.pollUnsafe())
      const [a, b] = (yield* leaderKeys(store)).toSorted((x, y) => Number(x.createRevision - y.createRevision))
      assert.deepStrictEqual([a?.value, b?.value], ["three", "two"])
      assert.isTrue(b!.createRevision > two.createRevision)
    })
  )

  it.effect("is asked for once when the reply of its put was lost", () =>
    Effect.gen(function* () {
      const { leader, store } = yield* setup()
      store.loseReply("put")
      const electing = yield* Effect.forkScoped(leader.elect("boss"))
      yield* advance(1)
      const { token } = yield* Fiber.join(electing)
      const entries = yield* leaderKeys(store)
      assert.deepStrictEqual(
        entries.map(({ createRevision }) => createRevision),
        [token]
      )
    })
  )

  it.effect("is waited for while the store is away, and refused where it refuses", () =>
    Effect.gen(function* () {
      const { leader, store } = yield* setup()
      yield* store.leave()
      const electing = yield* Effect.forkScoped(leader.elect("boss"))
      yield* advance(30)
      assert.isUndefined(electing.pollUnsafe())
      store.return()
      yield* advance(1)
      yield* Fiber.join(electing)
      for (const method of ["grant", "put", "list"] as const) {
        store.refuse(method)
        assert.strictEqual(yield* tagOf(Effect.scoped(leader.elect(`refused-${method}`))), "Refused")
        store.refuse(method, false)
      }
      assert.strictEqual((yield* leaderKeys(store)).length, 1)
    })
  )

  it.effect("leaves nothing of a candidate that stopped waiting", () =>
    Effect.gen(function* () {
      const { leader, store } = yield* setup()
      yield* leader.elect("boss", { id: "one" })
      const waiting = yield* Effect.forkChild(Effect.scoped(leader.elect("boss", { id: "two" })))
      yield* Effect.repeat(Effect.yieldNow, { times: 50 })
      assert.strictEqual((yield* leaderKeys(store)).length, 2)
      yield* Fiber.interrupt(waiting)
      assert.deepStrictEqual(
        (yield* leaderKeys(store)).map(({ value }) => value),
        ["one"]
      )
    })
  )

  it.effect("ends with the room, for whoever leads and whoever waits", () =>
    Effect.gen(function* () {
      const store = yield* FaultyStore.make
      const scope = yield* Scope.make()
      const leader = Context.get(yield* Scope.provide(Room.make(store, settings), scope), Leader)
      const leadership = yield* leader.elect("boss")
      const { begun, work } = yield* worker
      const working = yield* Effect.forkChild(Effect.flip(leadership.whileLeader(work)))
      yield* begun
      const waiting = yield* Effect.forkChild(tagOf(Effect.scoped(leader.elect("boss"))))
      yield* Effect.repeat(Effect.yieldNow, { times: 50 })
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(lostBy(yield* Fiber.join(working)), "closed")
      assert.strictEqual(yield* Fiber.join(waiting), "Closed")
      assert.deepStrictEqual(yield* leaderKeys(store), [])
    })
  )

  it.effect("is not stood for again when it is another one that the work has lost", () =>
    Effect.gen(function* () {
      const { leader, store } = yield* setup()
      const other = yield* leader.elect("other")
      yield* store.memory.remove((yield* leaderKeys(store))[0]!)
      assert.strictEqual(lostBy(yield* Effect.flip(other.whileLeader(Effect.never))), "taken")
      let runs = 0
      const lead = Leader.lead("boss")(() => {
        runs++
        return other.whileLeader(Effect.void)
      })
      const error = yield* Effect.flip(Effect.provideService(lead, Leader, leader))
      assert.strictEqual(lostBy(error), "taken")
      assert.strictEqual(runs, 1)
      assert.deepStrictEqual(yield* leaderKeys(store), [])
    })
  )

  it.effect("is stood for again after a pause when it is lost each time", () =>
    Effect.gen(function* () {
      const { leader, store } = yield* setup()
      let runs = 0
      const lead = Leader.lead("boss")(({ whileLeader }) => {
        runs++
        return Effect.andThen(
          Effect.flatMap(Effect.orDie(leaderKeys(store)), ([entry]) => store.memory.remove(entry!)),
          whileLeader(Effect.never)
        )
      })
      yield* Effect.forkScoped(Effect.provideService(lead, Leader, leader))
      yield* Effect.repeat(Effect.yieldNow, { times: 500 })
      assert.strictEqual(runs, 1)
      yield* TestClock.adjust("50 millis")
      yield* Effect.repeat(Effect.yieldNow, { times: 500 })
      assert.strictEqual(runs, 2)
    })
  )

  it.effect("is stood for again after it was lost, and again until the work has ended", () =>
    Effect.gen(function* () {
      const { leader, store } = yield* setup()
      const tokens: Array<bigint> = []
      const lead = Leader.lead("boss")((leadership) => {
        tokens.push(leadership.token)
        return tokens.length < 3 ? Effect.never : Effect.succeed("done")
      })
      const leading = yield* Effect.forkChild(Effect.provideService(lead, Leader, leader))
      const { next } = yield* heard(leader.observe("boss"))
      for (let lost = 0; lost < 2; lost++) {
        let now = yield* next
        while (Option.isNone(now) || now.value.token !== tokens.at(-1)) now = yield* next
        yield* store.memory.remove((yield* leaderKeys(store))[0]!)
        yield* advance(1)
      }
      assert.strictEqual(yield* Fiber.join(leading), "done")
      assert.deepStrictEqual(
        tokens,
        tokens.toSorted((a, b) => Number(a - b))
      )
      assert.strictEqual(new Set(tokens).size, 3)
      assert.deepStrictEqual(yield* leaderKeys(store), [])
    })
  )
})
