import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Redacted from "effect/Redacted"
import type { ConnectResponse } from "../../src/gen/gateway.ts"
import { Connection } from "../../src/services/gateway/Connection.ts"
import { GatewayDraining, SessionEnded } from "../../src/services/gateway/errors.ts"
import type { Numbered, Since } from "../../src/services/gateway/Push.ts"

const session = {
  playerId: "p1",
  device: "",
  epoch: 7,
  token: Redacted.make("token"),
  gateway: "g1",
  loginTime: undefined
}

const call = { hangUp: Effect.void }

const numbered = (sequence: number): Numbered => ({ sequence, topic: "t", payload: "1" })

/** The series of the messages, where a test has no other. */
const series = "s1"

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index)

/** What a response says: the number of a message, or its kind. */
const said = ({ message }: ConnectResponse) => {
  if (message?.$case === "pushed") return Number(message.pushed.sequence)
  return message?.$case === "welcome"
    ? `welcome ${message.welcome.sequence} ${message.welcome.series}${message.welcome.missed ? " missed" : ""}`
    : message?.$case
}

/** A connection on a store that answers each question when it is told to. */
const make = Effect.fnUntraced(function* (lastSequence = 0) {
  const asked = yield* Queue.unbounded<{
    readonly after: readonly [number, string]
    readonly answer: Deferred.Deferred<Since>
  }>()
  const connection = new Connection(
    call,
    session,
    { lastSequence: BigInt(lastSequence), series, device: "" },
    (_, ...after) =>
      Effect.suspend(() => {
        const answer = Deferred.makeUnsafe<Since>()
        Queue.offerUnsafe(asked, { after, answer })
        return Deferred.await(answer)
      })
  )
  const answer = Effect.fnUntraced(function* (from: number, to: number, { missed = false, series: its = series } = {}) {
    const question = yield* Queue.take(asked)
    const messages = range(from, to).map(numbered)
    yield* Deferred.succeed(question.answer, { messages, sequence: to, series: its, missed })
    return question.after[0]
  })
  const next = Effect.map(connection.pull, (responses) => responses.map(said))
  return { connection, answer, asked, next, begun: Effect.forkChild(next) }
})

/** A connection that was welcomed, after message 3. */
const welcomed = Effect.gen(function* () {
  const made = yield* make(3)
  const fiber = yield* made.begun
  yield* made.answer(4, 3)
  assert.deepStrictEqual(yield* Fiber.join(fiber), ["welcome 3 s1"])
  return made
})

describe("Connection", () => {
  it.effect("gives what is pushed, in order, and waits for more", () =>
    Effect.gen(function* () {
      const { begun, connection, next } = yield* welcomed
      range(4, 6).forEach((n) => connection.push(numbered(n), series))
      assert.deepStrictEqual(yield* next, [4, 5, 6])
      const fiber = yield* begun
      yield* Effect.yieldNow
      connection.push(numbered(7), series)
      assert.deepStrictEqual(yield* Fiber.join(fiber), [7])
    })
  )

  it.effect("leaves out what comes twice or late", () =>
    Effect.gen(function* () {
      const { connection, next } = yield* welcomed
      for (const n of [4, 4, 3, 1, 5, 4, 5]) connection.push(numbered(n), series)
      assert.deepStrictEqual(yield* next, [4, 5])
    })
  )

  it.effect("reads what is missing before it goes on", () =>
    Effect.gen(function* () {
      const { answer, begun, connection, next } = yield* welcomed
      connection.push(numbered(4), series)
      connection.push(numbered(6), series)
      connection.push(numbered(7), series)
      assert.deepStrictEqual(yield* next, [4])
      const fiber = yield* begun
      assert.strictEqual(yield* answer(5, 7), 4)
      assert.deepStrictEqual(yield* Fiber.join(fiber), [5, 6, 7])
      connection.push(numbered(7), series)
      connection.push(numbered(8), series)
      assert.deepStrictEqual(yield* next, [8])
    })
  )

  it.effect("reads again when more was pushed than the store had said by then", () =>
    Effect.gen(function* () {
      const { answer, asked, begun, connection, next } = yield* welcomed
      connection.fallBehind()
      const fiber = yield* begun
      const question = yield* Queue.take(asked)
      connection.push(numbered(5), series)
      yield* Deferred.succeed(question.answer, { messages: [numbered(4)], sequence: 4, series, missed: false })
      assert.deepStrictEqual(yield* Fiber.join(fiber), [4])
      const again = yield* Effect.forkChild(next)
      assert.strictEqual(yield* answer(5, 5), 4)
      assert.deepStrictEqual(yield* Fiber.join(again), [5])
    })
  )

  it.effect("keeps few messages for who does not read, and reads the others when they are gone", () =>
    Effect.gen(function* () {
      const { answer, begun, connection, next } = yield* welcomed
      range(4, 90).forEach((n) => connection.push(numbered(n), series))
      const kept = yield* next
      assert.deepStrictEqual(kept, range(4, 67))
      const fiber = yield* begun
      assert.strictEqual(yield* answer(68, 90), 67)
      assert.deepStrictEqual(yield* Fiber.join(fiber), range(68, 90))
    })
  )

  it.effect("welcomes again when messages were lost, or the store has gone back", () =>
    Effect.gen(function* () {
      const { answer, begun, connection, next } = yield* welcomed
      connection.push(numbered(200), series)
      const fiber = yield* begun
      yield* answer(101, 200, { missed: true })
      assert.deepStrictEqual(yield* Fiber.join(fiber), ["welcome 100 s1 missed", ...range(101, 200)])
      connection.fallBehind()
      const back = yield* begun
      assert.strictEqual(yield* answer(1, 2, { missed: true }), 200)
      assert.deepStrictEqual(yield* Fiber.join(back), ["welcome 0 s1 missed", 1, 2])
      connection.push(numbered(3), series)
      assert.deepStrictEqual(yield* next, [3])
    })
  )

  it.effect("reads anew what is of another series, whatever its number, and tells the client its name", () =>
    Effect.gen(function* () {
      const { asked, begun, connection, next } = yield* welcomed
      connection.push(numbered(4), series)
      connection.push(numbered(5), "s2")
      assert.deepStrictEqual(yield* next, [4])
      const fiber = yield* begun
      const { after, answer } = yield* Queue.take(asked)
      assert.deepStrictEqual(after, [4, "s1"])
      const messages = range(1, 5).map(numbered)
      yield* Deferred.succeed(answer, { messages, sequence: 5, series: "s2", missed: true })
      assert.deepStrictEqual(yield* Fiber.join(fiber), ["welcome 0 s2 missed", ...range(1, 5)])
      connection.push(numbered(6), "s2")
      assert.deepStrictEqual(yield* next, [6])
    })
  )

  it.effect("tells the client the name of the first series", () =>
    Effect.gen(function* () {
      const { answer, begun, connection, next } = yield* make()
      const first = yield* begun
      yield* answer(1, 0, { series: "" })
      assert.deepStrictEqual(yield* Fiber.join(first), ["welcome 0 "])
      connection.push(numbered(1), "s2")
      const fiber = yield* begun
      yield* answer(1, 1, { series: "s2" })
      assert.deepStrictEqual(yield* Fiber.join(fiber), ["welcome 0 s2", 1])
      connection.push(numbered(2), "s2")
      assert.deepStrictEqual(yield* next, [2])
    })
  )

  it.effect("reads again when another series was heard of than the store had said by then", () =>
    Effect.gen(function* () {
      const { answer, asked, begun, connection, next } = yield* welcomed
      connection.fallBehind()
      const fiber = yield* begun
      const question = yield* Queue.take(asked)
      connection.push(numbered(1), "s2")
      yield* Deferred.succeed(question.answer, { messages: [numbered(4)], sequence: 4, series, missed: false })
      assert.deepStrictEqual(yield* Fiber.join(fiber), [4])
      const again = yield* Effect.forkChild(next)
      assert.strictEqual(yield* answer(1, 1, { series: "s2", missed: true }), 4)
      assert.deepStrictEqual(yield* Fiber.join(again), ["welcome 0 s2 missed", 1])
    })
  )

  it.effect("gives nothing before the welcome", () =>
    Effect.gen(function* () {
      const { answer, begun, connection } = yield* make(0)
      connection.broadcast({ topic: "t", payload: "1" })
      const fiber = yield* begun
      yield* answer(1, 2)
      assert.deepStrictEqual(yield* Fiber.join(fiber), ["welcome 0 s1", 1, 2, 0])
    })
  )

  it.effect("ends behind what waits, by the first end", () =>
    Effect.gen(function* () {
      const { connection, next } = yield* welcomed
      connection.push(numbered(4), series)
      connection.end(new SessionEnded({ reason: "superseded" }))
      connection.end(new GatewayDraining())
      connection.push(numbered(5), series)
      assert.deepStrictEqual(yield* next, [4])
      assert.deepInclude(yield* Effect.flip(next), { _tag: "SessionEnded", reason: "superseded" })
    })
  )

  it.effect("ends whoever waits", () =>
    Effect.gen(function* () {
      const { begun, connection } = yield* welcomed
      const fiber = yield* begun
      yield* Effect.yieldNow
      connection.end("done")
      assert.isTrue(Exit.isFailure(yield* Fiber.await(fiber)))
    })
  )

  it("admits so many messages in a second", () => {
    const connection = new Connection(call, session, { lastSequence: 0n, series, device: "" }, () => Effect.never)
    const admitted = [0, 1, 999, 1000, 1001, 1002, 2000].map((now) => connection.admits(now, 2))
    assert.deepStrictEqual(admitted, [true, true, false, true, true, false, true])
  })
})
