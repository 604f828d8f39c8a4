// A key whose instance is not there yet: its calls wait a little, so that they do not go to two instances in turn.
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { TestClock } from "effect/testing"
import { Grpc } from "xdooria/grpc"
import * as Fake from "./FakeTransport.ts"
import { GameApi } from "./Game.ts"

const options = {
  target: Grpc.endpoints(["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"]),
  balancing: "consistent_hash"
} as const

/** What has been set off has run. */
const settled = Effect.promise(() => new Promise(setImmediate))

const setUp = Effect.gen(function* () {
  const { network, to } = yield* Fake.make()
  const game = yield* to(GameApi, options)
  const begin = Effect.tap(
    Effect.forkChild(Effect.asVoid(game.getPlayer({ playerId: "p1" }, { key: "p1", deadline: "9 seconds" }))),
    () => settled
  )
  return { network, begin, call: Effect.flatMap(begin, Fiber.join) }
})

/** The instance of the key, as a client knows it that has all of them. */
const home = Effect.map(
  Effect.tap(setUp, ({ call }) => call),
  ({ network }) => network.arrived[0]!.address
)

describe("a call with a key", () => {
  it.effect("waits for its instance when a client starts", () =>
    Effect.gen(function* () {
      const owner = yield* home
      const { begin, network } = yield* setUp
      network.stateOf = (address) => (address === owner ? "connecting" : "ready")
      const waiting = yield* begin
      yield* TestClock.adjust("400 millis")
      assert.deepStrictEqual(network.counts(), {})
      network.connections.find(({ place }) => place.address === owner)!.become("ready")
      yield* Fiber.join(waiting)
      assert.deepStrictEqual(network.counts(), { [owner]: 1 })
    })
  )

  it.effect("waits for its instance when a connection is replaced, for attempt_timeout at most", () =>
    Effect.gen(function* () {
      const owner = yield* home
      const { begin, call, network } = yield* setUp
      yield* call
      const connection = network.connections.find(({ place }) => place.address === owner)!
      network.stateOf = () => "connecting"
      connection.become("idle")
      const waiting = yield* begin
      yield* TestClock.adjust("100 millis")
      connection.become("ready")
      yield* Fiber.join(waiting)
      assert.deepStrictEqual(network.counts(), { [owner]: 2 })
      connection.become("idle")
      const late = yield* begin
      yield* TestClock.adjust("499 millis")
      assert.strictEqual(network.arrived.length, 2)
      yield* TestClock.adjust("600 millis")
      yield* Fiber.join(late)
      // The time is over for the next one as well.
      yield* call
      assert.deepStrictEqual([network.arrived.length, network.counts()[owner]], [4, 2])
    })
  )

  it.effect("does not wait for one that cannot be reached", () =>
    Effect.gen(function* () {
      const owner = yield* home
      const { call, network } = yield* setUp
      network.stateOf = (address) => (address === owner ? "failing" : "ready")
      yield* call
      assert.deepStrictEqual([network.arrived.length, network.counts()[owner]], [1, undefined])
    })
  )
})
