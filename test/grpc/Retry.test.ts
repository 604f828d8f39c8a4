// When the client tries again, where, how often, and when it leaves a server or a target alone.
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import { Grpc, GrpcError } from "xdooria/grpc"
import * as Fake from "./FakeTransport.ts"
import { GameApi, StreamApi } from "./Game.ts"

const addresses = ["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"]
const [first] = addresses as [string]

const tagOf = (exit: Exit.Exit<unknown, unknown>): string => {
  if (Exit.isSuccess(exit)) return "OK"
  const error = Exit.findErrorOption(exit)
  return error._tag === "Some" && error.value instanceof GrpcError ? error.value.reason._tag : "another"
}

/** Runs a call, while time passes as it wants. */
const run = Effect.fnUntraced(function* (call: Effect.Effect<unknown, unknown>) {
  const fiber = yield* Effect.forkChild(Effect.exit(call))
  for (let i = 0; i < 20; i++) {
    yield* Effect.promise(() => new Promise(setImmediate))
    if (fiber.pollUnsafe() !== undefined) break
    yield* TestClock.adjust("1 second")
  }
  return tagOf(yield* Fiber.join(fiber))
})

const setUp = Effect.fnUntraced(function* (
  changes: Partial<Grpc.GrpcSettings> = {},
  options: Grpc.ClientOptions = { target: Grpc.endpoints(addresses) }
) {
  const { network, to } = yield* Fake.make(changes)
  const game = yield* to(GameApi, options)
  const read = (options?: Grpc.CallOptions) => run(game.getPlayer({ playerId: "p1" }, options))
  const write = (options?: Grpc.CallOptions) =>
    run(game.gainExp({ playerId: "p1", requestId: "r1", amount: 1n }, options))
  return { network, to, game, read, write }
})

describe("a call that is lost", () => {
  it.effect("is tried elsewhere when its method may be repeated", () =>
    Effect.gen(function* () {
      const { network, read } = yield* setUp()
      network.behaviourOf = () => (network.arrived.length === 1 ? Fake.lose : Fake.answer)
      assert.strictEqual(yield* read(), "OK")
      assert.strictEqual(network.arrived.length, 2)
      assert.notStrictEqual(network.arrived[0]!.address, network.arrived[1]!.address)
    })
  )

  it.effect("is tried elsewhere also where its key would bring it to the same again", () =>
    Effect.gen(function* () {
      const { network, read } = yield* setUp({}, { target: Grpc.endpoints(addresses), balancing: "consistent_hash" })
      network.behaviourOf = () => (network.arrived.length === 1 ? Fake.lose : Fake.answer)
      assert.strictEqual(yield* read({ key: "p1" }), "OK")
      const [lost, answered] = network.arrived.map(({ address }) => address)
      assert.notStrictEqual(lost, answered)
      yield* read({ key: "p1" })
      assert.strictEqual(network.arrived[2]!.address, lost)
    })
  )

  it.effect("is told as of unknown outcome when it may not", () =>
    Effect.gen(function* () {
      const { network, write } = yield* setUp()
      network.behaviourOf = () => Fake.lose
      assert.strictEqual(yield* write(), "OutcomeUnknown")
      assert.strictEqual(network.arrived.length, 1)
    })
  )

  it.effect("before it was sent is tried elsewhere, whatever its method", () =>
    Effect.gen(function* () {
      const { network, write } = yield* setUp()
      network.behaviourOf = () => (network.arrived.length === 1 ? Fake.drop : Fake.answer)
      assert.strictEqual(yield* write(), "OK")
      assert.strictEqual(network.arrived.length, 2)
    })
  )

  it.effect("is given up after max_attempts", () =>
    Effect.gen(function* () {
      const { network, read } = yield* setUp({ maxAttempts: 3 })
      network.behaviourOf = () => Fake.lose
      assert.strictEqual(yield* read(), "Unavailable")
      assert.strictEqual(network.arrived.length, 3)
    })
  )

  it.effect("is not tried again once a response has come, or when it was answered with an error", () =>
    Effect.gen(function* () {
      const { network, read, to } = yield* setUp()
      network.behaviourOf = () => Fake.absent
      assert.strictEqual(yield* read(), "UnexpectedStatus")
      assert.strictEqual(network.arrived.length, 1)
      const streams = yield* to(StreamApi, { target: Grpc.endpoints(addresses) })
      const watch = () => run(Stream.runDrain(streams.watch({ playerId: "p1" })))
      network.behaviourOf = () => (call) => {
        call.listener.onMessage(Buffer.alloc(0))
        Fake.lose(call)
      }
      assert.strictEqual(yield* watch(), "Unavailable")
      assert.strictEqual(network.arrived.length, 2)
      network.behaviourOf = () => (network.arrived.length === 3 ? Fake.lose : Fake.answer)
      assert.strictEqual(yield* watch(), "OK")
      assert.strictEqual(network.arrived.length, 4)
    })
  )
})

describe("a try of a method that may be repeated", () => {
  it.effect("has a timeout of its own as long as there is time and reserve for another", () =>
    Effect.gen(function* () {
      const { network, read, write } = yield* setUp({ maxAttempts: 2 })
      network.behaviourOf = () => Fake.timeOut
      assert.strictEqual(yield* read({ deadline: "1 hour" }), "DeadlineExceeded")
      assert.deepStrictEqual(
        network.arrived.map(({ deadline }) => deadline),
        [500, 3_600_000]
      )
      network.behaviourOf = () => Fake.answer
      const now = yield* Clock.currentTimeMillis
      // There is no time for another try, or there must be none.
      yield* read({ deadline: "400 millis" })
      yield* write({ deadline: "2 hours" })
      assert.deepStrictEqual(
        network.arrived.slice(2).map(({ deadline }) => deadline - now),
        [400, 7_200_000]
      )
    })
  )

  it.effect("has none without a budget", () =>
    Effect.gen(function* () {
      const { network, read } = yield* setUp({ retryBudget: 0 })
      network.behaviourOf = () => Fake.lose
      assert.strictEqual(yield* read({ deadline: "1 hour" }), "Unavailable")
      assert.deepStrictEqual(
        network.arrived.map(({ deadline }) => deadline),
        [3_600_000]
      )
    })
  )
})

describe("metadata", () => {
  it.effect("that would break the connection of all is not sent, and no loss", () =>
    Effect.gen(function* () {
      const { network, read } = yield* setUp({ breakerFailures: 2, maxMetadataSize: 1000 })
      const refused: ReadonlyArray<readonly [metadata: Record<string, string>, tag: string]> = [
        [{ "content-length": "5" }, "InvalidArgument"],
        [{ Connection: "close" }, "InvalidArgument"],
        [{ authorization: "a", Authorization: "b" }, "InvalidArgument"],
        [{ note: "x".repeat(1000) }, "ResourceExhausted"]
      ]
      for (const [metadata, tag] of refused) assert.strictEqual(yield* read({ metadata }), tag)
      assert.strictEqual(network.arrived.length, 0)
      assert.strictEqual(yield* read({ metadata: { note: "x".repeat(900) } }), "OK")
    })
  )
})

describe("the budget", () => {
  it.effect("holds tries after answers at a tenth of the calls", () =>
    Effect.gen(function* () {
      const { network, read } = yield* setUp({ breakerFailures: 0 })
      network.behaviourOf = () => Fake.decline
      for (let i = 0; i < 300; i++) yield* read()
      assert.isAtMost(network.arrived.length, 330)
      assert.isAtLeast(network.arrived.length, 325)
    })
  )

  it.effect("has a reserve for the calls that an instance takes with it", () =>
    Effect.gen(function* () {
      const { game, network } = yield* setUp()
      network.behaviourOf = ({ address }) => (address === first ? Fake.ignore : Fake.answer)
      const calls = yield* Effect.forEach(Array.from({ length: 240 }), () =>
        Effect.forkChild(Effect.exit(game.getPlayer({ playerId: "p1" })))
      )
      yield* Effect.promise(() => new Promise(setImmediate))
      const stuck = network.arrived.filter(({ address }) => address === first)
      assert.isAtLeast(stuck.length, 80)
      for (const call of stuck) Fake.timeOut(call)
      yield* TestClock.adjust("1 second")
      const exits = yield* Effect.forEach(calls, Fiber.join)
      assert.isTrue(exits.every(Exit.isSuccess))
    })
  )
})

describe("an instance that says nothing any more", () => {
  const freeze = Effect.fnUntraced(function* (calls: number, watches: number) {
    const target = Grpc.endpoints([first, "10.0.0.2:1"])
    const { game, network, to } = yield* setUp({ breakerFailures: 0 }, { target })
    const streams = yield* to(StreamApi, { target })
    network.behaviourOf = () => (call) => call.listener.onHeaders({ get: () => [], toJSON: () => ({}) })
    for (let i = 0; i < watches; i++) yield* Effect.forkChild(Stream.runDrain(streams.watch({ playerId: "p1" })))
    yield* Effect.promise(() => new Promise(setImmediate))
    network.behaviourOf = ({ address }) => (address === first ? Fake.ignore : Fake.answer)
    const fibers = yield* Effect.forEach(Array.from({ length: calls }), () =>
      Effect.forkChild(Effect.exit(game.getPlayer({ playerId: "p1" })))
    )
    yield* Effect.promise(() => new Promise(setImmediate))
    const before = network.arrived.length
    // The driver's deadlines.
    for (const call of network.arrived.filter(({ deadline }) => deadline === 500)) {
      if (call.address === first) Fake.timeOut(call)
    }
    for (let i = 0; i < 8; i++) yield* TestClock.adjust("100 millis")
    assert.isTrue((yield* Effect.forEach(fibers, Fiber.join)).every(Exit.isSuccess))
    return network.arrived.length - before
  })

  it.effect("costs each call of a burst one try, however many there are", () =>
    Effect.gen(function* () {
      assert.isAtMost(yield* freeze(1000, 0), 501)
    })
  )

  it.effect("costs a call one try also beside many open streams", () => freeze(40, 200))
})

describe("an instance", () => {
  it.effect("is left alone for a while after five calls in a row were lost, then tried by one", () =>
    Effect.gen(function* () {
      const { network, read } = yield* setUp({ maxAttempts: 1, breakerFailures: 0 })
      let broken = true
      network.behaviourOf = ({ address }) => (broken && address === first ? Fake.lose : Fake.answer)
      for (let i = 0; i < 15; i++) yield* read()
      assert.strictEqual(network.counts()[first], 5)
      const before = network.arrived.length
      for (let i = 0; i < 30; i++) yield* read()
      assert.strictEqual(network.counts(before)[first], undefined)
      yield* TestClock.adjust("2 seconds")
      for (let i = 0; i < 30; i++) yield* read()
      assert.strictEqual(network.counts(before)[first], 1)
      // That one was lost as well, so it stays out for longer.
      broken = false
      yield* TestClock.adjust("1 second")
      for (let i = 0; i < 30; i++) yield* read()
      assert.strictEqual(network.counts(before)[first], 1)
      yield* TestClock.adjust("2 seconds")
      const after = network.arrived.length
      for (let i = 0; i < 30; i++) yield* read()
      assert.strictEqual(network.counts(after)[first], 10)
    })
  )

  it.effect("that lost many calls at once is left alone for no longer than for five", () =>
    Effect.gen(function* () {
      const { game, network, read } = yield* setUp({ maxAttempts: 1, breakerFailures: 0 })
      network.behaviourOf = ({ address }) => (address === first ? Fake.ignore : Fake.answer)
      yield* Effect.forEach(Array.from({ length: 120 }), () =>
        Effect.forkChild(Effect.exit(game.getPlayer({ playerId: "p1" })))
      )
      yield* Effect.promise(() => new Promise(setImmediate))
      for (const call of network.arrived.filter(({ address }) => address === first)) Fake.lose(call)
      network.behaviourOf = () => Fake.answer
      yield* TestClock.adjust("1200 millis")
      const before = network.arrived.length
      for (let i = 0; i < 9; i++) yield* read()
      assert.strictEqual(network.counts(before)[first], 3)
    })
  )

  it.effect("comes back in time also when the system's clock is set back", () =>
    Effect.gen(function* () {
      const { network, read } = yield* setUp({ maxAttempts: 1, breakerFailures: 0 })
      network.behaviourOf = ({ address }) => (address === first ? Fake.lose : Fake.answer)
      for (let i = 0; i < 15; i++) yield* read()
      network.setBack = 3_600_000
      yield* TestClock.adjust("2 seconds")
      network.behaviourOf = () => Fake.answer
      const before = network.arrived.length
      for (let i = 0; i < 9; i++) yield* read()
      assert.isAtLeast(network.counts(before)[first]!, 3)
    })
  )

  it.effect("that was left alone is tried by one call at a time", () =>
    Effect.gen(function* () {
      const { game, network, read } = yield* setUp({ maxAttempts: 1, breakerFailures: 0 })
      network.behaviourOf = ({ address }) => (address === first ? Fake.lose : Fake.answer)
      for (let i = 0; i < 15; i++) yield* read()
      yield* TestClock.adjust("2 seconds")
      network.behaviourOf = () => Fake.ignore
      const before = network.arrived.length
      yield* Effect.forEach(Array.from({ length: 30 }), () => Effect.forkChild(game.getPlayer({ playerId: "p1" })))
      yield* Effect.promise(() => new Promise(setImmediate))
      assert.strictEqual(network.counts(before)[first], 1)
    })
  )

  it.effect("is not blamed for a deadline that came late: this process stood still", () =>
    Effect.gen(function* () {
      const { game, network } = yield* setUp(
        { breakerFailures: 3, retryBudget: 0 },
        { target: Grpc.endpoints([first, "10.0.0.9:1"]) }
      )
      network.behaviourOf = () => Fake.ignore
      for (let i = 0; i < 20; i++) {
        const call = yield* Effect.forkChild(Effect.exit(game.getPlayer({ playerId: "p1" }, { deadline: "1 second" })))
        yield* Effect.promise(() => new Promise(setImmediate))
        yield* TestClock.adjust("2 seconds")
        Fake.timeOut(network.arrived.at(-1)!)
        assert.strictEqual(tagOf(yield* Fiber.join(call)), "DeadlineExceeded")
      }
      assert.deepStrictEqual(network.counts(), { [first]: 10, "10.0.0.9:1": 10 })
    })
  )

  it.effect("is not left alone when half of them are already", () =>
    Effect.gen(function* () {
      const { network, read } = yield* setUp({ maxAttempts: 1, breakerFailures: 0 })
      network.behaviourOf = () => Fake.lose
      for (let i = 0; i < 60; i++) yield* read()
      const before = network.arrived.length
      for (let i = 0; i < 30; i++) yield* read()
      assert.strictEqual(Object.keys(network.counts(before)).length, 2)
    })
  )

  it.effect("gets calls only while its service says SERVING, or when it has no health service", () =>
    Effect.gen(function* () {
      const { network, read } = yield* setUp({}, { target: Grpc.endpoints(addresses), onlyServing: true })
      const states = new Map<string, Fake.Arrived>()
      network.behaviourOf = (call) => {
        if (!call.path.endsWith("/Watch")) return Fake.answer
        states.set(call.address, call)
        return call.address === first ? Fake.unimplemented : Fake.ignore
      }
      const say = (address: string, status: number) => states.get(address)!.listener.onMessage(Buffer.from([8, status]))
      assert.strictEqual(yield* read(), "OK")
      say(addresses[1]!, 1)
      say(addresses[2]!, 2)
      const before = network.arrived.length
      for (let i = 0; i < 10; i++) yield* read()
      assert.deepStrictEqual(network.counts(before), { [first]: 5, [addresses[1]!]: 5 })
    })
  )
})

describe("an instance whose health is watched", () => {
  const watched = { target: Grpc.endpoints([first]), onlyServing: true }
  const turn = Effect.promise(() => new Promise(setImmediate))

  it.effect("keeps its last word from the end of a watch to the next, but no longer", () =>
    Effect.gen(function* () {
      const { game, network } = yield* setUp({}, watched)
      const watches: Array<Fake.Arrived> = []
      network.behaviourOf = (call) => {
        if (!call.path.endsWith("/Watch")) return Fake.answer
        watches.push(call)
        return Fake.ignore
      }
      const read = Effect.map(Effect.exit(game.getPlayer({ playerId: "p1" })), tagOf)
      const waiting = yield* Effect.forkChild(read)
      yield* turn
      watches[0]!.listener.onMessage(Buffer.from([8, 1]))
      assert.strictEqual(yield* Fiber.join(waiting), "OK")
      Fake.decline(watches[0]!)
      for (let i = 0; i < 12; i++) {
        assert.strictEqual(yield* read, "OK")
        yield* TestClock.adjust("100 millis")
      }
      yield* turn
      assert.strictEqual(watches.length, 2)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* read, "Unavailable")
      watches[1]!.listener.onMessage(Buffer.from([8, 1]))
      assert.strictEqual(yield* read, "OK")
    })
  )

  it.effect("that does not tell of it, or says nothing, does not serve", () =>
    Effect.gen(function* () {
      const denied: Fake.Behaviour = (call) =>
        call.listener.onEnd({ code: 7, details: "", trailers: { get: () => [], toJSON: () => ({}) }, sent: true })
      for (const behaviour of [denied, Fake.ignore, Fake.decline]) {
        const { network, to } = yield* setUp({}, watched)
        const streams = yield* to(StreamApi, watched)
        network.behaviourOf = () => behaviour
        assert.strictEqual(yield* run(Stream.runDrain(streams.watch({ playerId: "p1" }))), "Unavailable")
      }
    })
  )
})

describe("a stream", () => {
  it.effect("of messages without a byte is read ahead only so far", () =>
    Effect.gen(function* () {
      const { network, to } = yield* setUp()
      const streams = yield* to(StreamApi, { target: Grpc.endpoints(addresses) })
      network.behaviourOf = () => (call) => {
        for (let i = 0; i < 10_000 && call.reads > i; i++) call.listener.onMessage(Buffer.alloc(0))
      }
      yield* Effect.forkChild(Stream.runForEach(streams.watch({ playerId: "p1" }), () => Effect.never))
      for (let i = 0; i < 3; i++) yield* Effect.promise(() => new Promise(setImmediate))
      assert.isAtMost(network.arrived[0]!.reads, 2100)
    })
  )

  it.effect("of requests that fails when the server has answered is too late", () =>
    Effect.gen(function* () {
      const { network, to } = yield* setUp()
      const streams = yield* to(StreamApi, { target: Grpc.endpoints(addresses) })
      for (const [end, tag] of [
        [Fake.absent, "UnexpectedStatus"],
        [Fake.answer, "OK"]
      ] as const) {
        const [late, gate] = yield* Effect.all([Deferred.make<never, Error>(), Deferred.make<void>()])
        const talk = streams.talk(Stream.fromEffect(Deferred.await(late)))
        const call = yield* Effect.forkChild(Effect.exit(Stream.runForEach(talk, () => Deferred.await(gate))))
        yield* Effect.promise(() => new Promise(setImmediate))
        const arrived = network.arrived.at(-1)!
        arrived.listener.onMessage(Buffer.alloc(0))
        yield* Effect.promise(() => new Promise(setImmediate))
        end(arrived)
        yield* Deferred.fail(late, new Error("late"))
        yield* Effect.promise(() => new Promise(setImmediate))
        yield* Deferred.succeed(gate, undefined)
        assert.strictEqual(tagOf(yield* Fiber.join(call)), tag)
      }
    })
  )

  it.effect("of requests with a bad one has an unknown outcome: others were sent", () =>
    Effect.gen(function* () {
      const { to } = yield* setUp()
      const streams = yield* to(StreamApi, { target: Grpc.endpoints(addresses) })
      const requests = Stream.fromIterable([{ playerId: "p1" }, undefined as never])
      assert.strictEqual(yield* run(streams.sum(requests)), "OutcomeUnknown")
    })
  )
})

describe("the first instance of several", () => {
  const setUpFirst = setUp({ breakerFailures: 0 }, { target: Grpc.endpoints(addresses), balancing: "pick_first" })
  const [, second] = addresses as [string, string]

  it.effect("that loses a call has another tried, which was not connected to before", () =>
    Effect.gen(function* () {
      for (const behaviour of [Fake.timeOut, Fake.lose, Fake.drop]) {
        const { network, read } = yield* setUpFirst
        assert.strictEqual(yield* read(), "OK")
        network.behaviourOf = ({ address }) => (address === first ? behaviour : Fake.answer)
        assert.strictEqual(yield* read(), "OK")
        assert.deepStrictEqual(network.counts(), { [first]: 2, [second]: 1 })
        assert.strictEqual(network.connections[2]!.connectivity(), "idle")
      }
    })
  )

  it.effect("that is left alone has another tried for calls that may not be repeated, too", () =>
    Effect.gen(function* () {
      const { network, write } = yield* setUpFirst
      network.behaviourOf = ({ address }) => (address === first ? Fake.lose : Fake.answer)
      for (let i = 0; i < 5; i++) assert.strictEqual(yield* write(), "OutcomeUnknown")
      for (let i = 0; i < 5; i++) assert.strictEqual(yield* write(), "OK")
    })
  )

  it.effect("that is connected to for too long has another tried", () =>
    Effect.gen(function* () {
      const { network, read } = yield* setUpFirst
      network.stateOf = (address) => (address === first ? "connecting" : "ready")
      assert.strictEqual(yield* read(), "OK")
      assert.deepStrictEqual(network.counts(), { [second]: 1 })
    })
  )
})

describe("the circuit breaker", () => {
  it.effect("refuses calls after many in a row were lost, until one gets through", () =>
    Effect.gen(function* () {
      const { network, read } = yield* setUp({ maxAttempts: 1, breakerFailures: 4 })
      network.behaviourOf = () => Fake.lose
      for (let i = 0; i < 4; i++) yield* read()
      assert.strictEqual(yield* read(), "Unavailable")
      assert.strictEqual(network.arrived.length, 4)
      network.behaviourOf = () => Fake.answer
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* read(), "OK")
      assert.strictEqual(yield* read(), "OK")
    })
  )

  it.effect("counts answers as success, and what nobody waited for as nothing", () =>
    Effect.gen(function* () {
      const { game, network, read } = yield* setUp({ maxAttempts: 1, breakerFailures: 2 })
      for (const behaviour of [Fake.lose, Fake.absent, Fake.lose, Fake.answer, Fake.lose]) {
        network.behaviourOf = () => behaviour
        yield* read()
      }
      network.behaviourOf = () => Fake.ignore
      const fiber = yield* Effect.forkChild(game.getPlayer({ playerId: "p1" }))
      yield* Effect.yieldNow
      yield* Fiber.interrupt(fiber)
      assert.isTrue(network.arrived.at(-1)!.cancelled)
      network.behaviourOf = () => Fake.answer
      assert.strictEqual(yield* read(), "OK")
    })
  )

  it.effect("counts no streams that have run: a server that stops ends them all at once", () =>
    Effect.gen(function* () {
      const target = Grpc.endpoints(addresses)
      const { network, read, to } = yield* setUp({ breakerFailures: 2 }, { target })
      const streams = yield* to(StreamApi, { target })
      network.behaviourOf = () => (call) => {
        call.listener.onMessage(Buffer.alloc(0))
        Fake.decline(call)
      }
      for (let i = 0; i < 30; i++) yield* run(Stream.runDrain(streams.watch({ playerId: "p1" })))
      const before = network.arrived.length
      network.behaviourOf = () => Fake.answer
      for (let i = 0; i < 6; i++) assert.strictEqual(yield* read(), "OK")
      assert.strictEqual(Object.keys(network.counts(before)).length, 3)
    })
  )

  it.effect("counts what ends in one turn in its order", () =>
    Effect.gen(function* () {
      const { game, network, read } = yield* setUp({ maxAttempts: 1, breakerFailures: 4 })
      network.behaviourOf = () => Fake.ignore
      const call = Effect.exit(game.gainExp({ playerId: "p1", requestId: "r1", amount: 1n }))
      const calls = yield* Effect.forEach(Array.from({ length: 20 }), () => Effect.forkChild(call))
      yield* Effect.promise(() => new Promise(setImmediate))
      network.arrived.forEach((call, i) => (i % 2 === 0 ? Fake.lose : Fake.answer)(call))
      yield* Effect.forEach(calls, Fiber.join)
      network.behaviourOf = () => Fake.answer
      assert.strictEqual(yield* read(), "OK")
    })
  )

  it.effect("takes no call that began before it opened for the one that tries again", () =>
    Effect.gen(function* () {
      const { game, network, read } = yield* setUp({ maxAttempts: 1, breakerFailures: 4 })
      network.behaviourOf = () => Fake.ignore
      const call = game.gainExp({ playerId: "p1", requestId: "r1", amount: 1n })
      const calls = yield* Effect.forEach(Array.from({ length: 10 }), () => Effect.forkChild(Effect.exit(call)))
      yield* Effect.promise(() => new Promise(setImmediate))
      const end = Effect.fnUntraced(function* (from: number, to: number) {
        for (const call of network.arrived.slice(from, to)) Fake.lose(call)
        for (const fiber of calls.slice(from, to)) yield* Fiber.join(fiber)
      })
      yield* end(0, 4)
      assert.strictEqual(yield* Effect.map(Effect.exit(call), tagOf), "Unavailable")
      assert.strictEqual(network.arrived.length, 10)
      yield* TestClock.adjust("1100 millis")
      yield* end(4, 10)
      network.behaviourOf = () => Fake.answer
      assert.strictEqual(yield* Effect.map(Effect.exit(call), tagOf), "OK")
      assert.strictEqual(yield* read(), "OK")
    })
  )

  it.effect("can be left out", () =>
    Effect.gen(function* () {
      const { network, read } = yield* setUp({ maxAttempts: 1, breakerFailures: 0 })
      network.behaviourOf = () => Fake.lose
      for (let i = 0; i < 50; i++) yield* read()
      assert.strictEqual(network.arrived.length, 50)
    })
  )
})

describe("a deadline that is shorter than a try needs", () => {
  it.effect("says nothing of a server", () =>
    Effect.gen(function* () {
      const { network, read, write } = yield* setUp({ breakerFailures: 5 }, { target: Grpc.endpoints([first]) })
      network.behaviourOf = () => Fake.timeOut
      for (let i = 0; i < 30; i++) yield* write({ deadline: "5 millis" })
      assert.strictEqual(network.arrived.length, 30)
      network.behaviourOf = () => Fake.answer
      assert.strictEqual(yield* read(), "OK")
    })
  )
})

describe("a deadline", () => {
  it.effect("is the smallest of the call's, the client's and that of the call that is served", () =>
    Effect.gen(function* () {
      const { game, network, read } = yield* setUp({ retryBudget: 0 })
      yield* read()
      yield* read({ deadline: "3 seconds" })
      yield* run(Effect.provideService(game.getPlayer({ playerId: "p1" }), Grpc.Deadline, 2_000))
      assert.deepStrictEqual(
        network.arrived.map(({ deadline }) => deadline),
        [10_000, 3_000, 2_000]
      )
    })
  )

  it.effect("that has passed keeps the call from being sent", () =>
    Effect.gen(function* () {
      const { game, network } = yield* setUp()
      yield* TestClock.adjust("5 seconds")
      const late = Effect.provideService(game.getPlayer({ playerId: "p1" }), Grpc.Deadline, 4_000)
      assert.strictEqual(yield* run(late), "DeadlineExceeded")
      assert.strictEqual(network.arrived.length, 0)
    })
  )
})

describe("a call without a server", () => {
  it.effect("fails at once, or waits until there is one when it is told to", () =>
    Effect.gen(function* () {
      const { game, network, read } = yield* setUp()
      network.stateOf = () => "failing"
      assert.strictEqual(yield* read(), "Unavailable")
      const waiting = yield* Effect.forkChild(game.getPlayer({ playerId: "p1" }, { waitForReady: true }))
      yield* Effect.yieldNow
      network.connections[0]!.become("ready")
      yield* Fiber.join(waiting)
      network.connections[0]!.become("failing")
      const bounded = yield* Effect.forkChild(
        Effect.exit(game.getPlayer({ playerId: "p1" }, { waitForReady: true, deadline: "1 second" }))
      )
      yield* TestClock.adjust("1 second")
      assert.strictEqual(tagOf(yield* Fiber.join(bounded)), "DeadlineExceeded")
      assert.strictEqual(network.arrived.length, 1)
    })
  )

  it.effect("waits for what was just lost to come back, but not for long", () =>
    Effect.gen(function* () {
      const { game, network, read } = yield* setUp({}, { target: Grpc.endpoints([first]) })
      yield* read()
      const [connection] = network.connections
      for (const back of [true, false]) {
        connection!.become("failing")
        const waiting = yield* Effect.forkChild(Effect.exit(game.getPlayer({ playerId: "p1" })))
        yield* TestClock.adjust("900 millis")
        if (back) connection!.become("ready")
        else yield* TestClock.adjust("100 millis")
        assert.strictEqual(tagOf(yield* Fiber.join(waiting)), back ? "OK" : "Unavailable")
      }
      assert.strictEqual(tagOf(yield* Effect.exit(game.getPlayer({ playerId: "p1" }))), "Unavailable")
    })
  )

  it.effect("waits while a connection is being made", () =>
    Effect.gen(function* () {
      const { game, network } = yield* setUp()
      network.stateOf = () => "connecting"
      const waiting = yield* Effect.forkChild(game.getPlayer({ playerId: "p1" }))
      yield* Effect.yieldNow
      network.connections[2]!.become("failing")
      network.connections[1]!.become("ready")
      yield* Fiber.join(waiting)
      assert.deepStrictEqual(network.counts(), { [addresses[1]!]: 1 })
    })
  )
})

describe("many calls that wait for many servers", () => {
  it.effect("cost no more for every change than one look at what has changed", () =>
    Effect.gen(function* () {
      const many = Array.from({ length: 100 }, (_, i) => `10.0.1.${i}:1`)
      const { game, network } = yield* setUp({}, { target: Grpc.endpoints(many) })
      network.stateOf = () => "connecting"
      const calls = yield* Effect.forEach(Array.from({ length: 100 }), () =>
        Effect.forkChild(game.getPlayer({ playerId: "p1" }, { waitForReady: true }))
      )
      yield* Effect.yieldNow
      const before = network.asked
      for (const state of ["failing", "connecting", "failing"] as const) {
        for (const connection of network.connections) connection.become(state)
        yield* Effect.promise(() => new Promise(setImmediate))
      }
      assert.isAtMost(network.asked - before, 1000)
      network.connections[7]!.become("ready")
      yield* Effect.forEach(calls, Fiber.join)
      assert.deepStrictEqual(network.counts(), { [many[7]!]: 100 })
    })
  )
})

describe("a resolver", () => {
  it.effect("that names what is no address, or nothing of use, is followed for the rest", () =>
    Effect.gen(function* () {
      const lists = yield* Queue.unbounded<ReadonlyArray<Grpc.Endpoint>>()
      const { network, read } = yield* setUp({}, { target: Stream.fromQueue(lists) })
      network.invalid = "nonsense"
      const names = [["10.0.0.1:1"], ["10.0.0.1:1", "nonsense"], ["nonsense", "10.0.0.2:1"]]
      for (const list of names) {
        yield* Queue.offer(
          lists,
          list.map((address) => ({ address, metadata: {} }))
        )
        yield* Effect.promise(() => new Promise(setImmediate))
        assert.strictEqual(yield* read(), "OK")
      }
      assert.deepStrictEqual(network.counts(), { "10.0.0.1:1": 2, "10.0.0.2:1": 1 })
    })
  )

  it.effect("that ends or breaks keeps its last list, or has none", () =>
    Effect.gen(function* () {
      for (const end of [Stream.empty, Stream.die(new Error("broken"))]) {
        const list = [{ address: first, metadata: {} }]
        const { read } = yield* setUp({}, { target: Stream.concat(Stream.succeed(list), end) })
        assert.strictEqual(yield* read(), "OK")
        const nobody = yield* setUp({}, { target: end })
        const streams = yield* nobody.to(StreamApi, { target: end })
        assert.strictEqual(yield* nobody.read(), "Unavailable")
        assert.strictEqual(yield* run(Stream.runDrain(streams.watch({ playerId: "p1" }))), "Unavailable")
      }
    })
  )

  it.effect("is followed: calls go to what it names now", () =>
    Effect.gen(function* () {
      const lists = yield* Queue.unbounded<ReadonlyArray<Grpc.Endpoint>>()
      const name = (...names: ReadonlyArray<string>) =>
        Effect.andThen(
          Queue.offer(
            lists,
            names.map((address) => ({ address, metadata: {} }))
          ),
          Effect.promise(() => new Promise(setImmediate))
        )
      const { network, read } = yield* setUp({}, { target: Stream.fromQueue(lists) })
      yield* name("10.0.0.1:1", "10.0.0.2:1")
      for (let i = 0; i < 4; i++) yield* read()
      yield* name("10.0.0.2:1", "10.0.0.3:1")
      for (let i = 0; i < 4; i++) yield* read()
      assert.deepStrictEqual(network.counts(4), { "10.0.0.2:1": 2, "10.0.0.3:1": 2 })
      assert.deepStrictEqual(
        network.connections.map(({ isClosed, place }) => [place.address, isClosed]),
        [
          ["10.0.0.1:1", true],
          ["10.0.0.2:1", false],
          ["10.0.0.3:1", false]
        ]
      )
      yield* name()
      assert.strictEqual(yield* read(), "Unavailable")
    })
  )

  it.effect("shares its connections among its clients, until the last of them is gone", () =>
    Effect.gen(function* () {
      const { network, to } = yield* Fake.make()
      const [one, two] = yield* Effect.all([Scope.make(), Scope.make()])
      const target = Grpc.endpoints(addresses)
      yield* Scope.provide(to(GameApi, { target }), one)
      // Another list with one of the addresses has the same connection to it.
      yield* Scope.provide(to(StreamApi, { target: Grpc.endpoints([first]) }), two)
      assert.strictEqual(network.connections.length, 3)
      yield* Scope.close(one, Exit.void)
      assert.deepStrictEqual(
        network.connections.map(({ isClosed }) => isClosed),
        [false, true, true]
      )
      yield* Scope.close(two, Exit.void)
      assert.isTrue(network.connections.every(({ isClosed }) => isClosed))
    })
  )

  it.effect("says which instances may be pinged", () =>
    Effect.gen(function* () {
      const { network } = yield* setUp({}, { target: Grpc.endpoints([first], { keepalive: "true" }) })
      assert.isTrue(network.connections[0]!.place.keepalive)
    })
  )

  it.effect("of a name follows its addresses, and keeps the last ones when it is lost", () =>
    Effect.gen(function* () {
      const { network, to } = yield* Fake.make()
      network.names["game"] = ["10.0.0.1"]
      const game = yield* to(GameApi, { target: "game:50051" })
      const read = run(game.getPlayer({ playerId: "p1" }))
      yield* read
      network.names["game"] = ["10.0.0.2", "::1"]
      yield* TestClock.adjust("15 seconds")
      yield* read
      yield* read
      delete network.names["game"]
      yield* TestClock.adjust("15 seconds")
      assert.strictEqual(yield* read, "OK")
      assert.deepStrictEqual(Object.keys(network.counts()).toSorted(), [
        "10.0.0.1:50051",
        "10.0.0.2:50051",
        "[::1]:50051"
      ])
      assert.strictEqual(network.counts()["10.0.0.1:50051"], 1)
      assert.isTrue(network.connections.every(({ place }) => place.authority === "game:50051"))
    })
  )

  it.effect("of a name that is not known yet is asked again soon", () =>
    Effect.gen(function* () {
      const { network, to } = yield* Fake.make()
      const game = yield* to(GameApi, { target: "game:50051" })
      assert.strictEqual(tagOf(yield* Effect.exit(game.getPlayer({ playerId: "p1" }))), "Unavailable")
      network.names["game"] = ["10.0.0.1"]
      yield* TestClock.adjust("2 seconds")
      yield* game.getPlayer({ playerId: "p1" })
    })
  )
})
