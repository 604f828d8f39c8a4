import { assert, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { Redis } from "xdooria/redis"
import { Session } from "xdooria/session"
import { layerLive } from "xdooria/session/live"
import { Push } from "../../src/services/gateway/Push.ts"
import { PushLive } from "../../src/services/gateway/PushLive.ts"
import { client, driver, type Options, suites } from "../support/RedisBackends.ts"
import { fresh, listen, message, suite } from "./PushContract.ts"

const backend = (options: Options) =>
  Layer.merge(PushLive, layerLive()).pipe(Layer.provideMerge(Layer.effectContext(client(options))))

suites("PushLive", (options) => {
  suite("on real servers", backend(options), { clock: "live" })

  layer(backend(options), { excludeTestServices: true })("on real servers", (it) => {
    it.effect("keeps its keys in the slot of the session, for an hour and 30 days", () =>
      Effect.gen(function* () {
        const { keyPrefix } = yield* Redis
        const native = yield* driver(options)
        yield* (yield* Push).send("p1", { topic: "t", payload: "1" })
        const ttl = (words: string) =>
          Effect.promise(() => native.pttl(`${keyPrefix}${words}:{${keyPrefix}session:p1}`))
        const hour = 3_600_000
        const messages = yield* ttl("xd:push")
        assert.isTrue(messages > hour - 60_000 && messages <= hour)
        const number = yield* ttl("xd:push-series")
        assert.isTrue(number > 30 * 24 * hour - 60_000 && number <= 30 * 24 * hour)
      }).pipe(Effect.scoped)
    )

    it.effect("begins another series when its numbers are lost, and tells nothing of the one before", () =>
      Effect.gen(function* () {
        const { keyPrefix } = yield* Redis
        const push = yield* Push
        const native = yield* driver(options)
        const send = push.send("lost", { topic: "t", payload: "1" })
        yield* Effect.repeat(send, { times: 2 })
        const before = yield* push.since("lost", 0)
        yield* Effect.promise(() => native.del(`${keyPrefix}xd:push-series:{${keyPrefix}session:lost}`))
        yield* Effect.repeat(send, { times: 3 })
        const after = yield* push.since("lost", 3, before.series)
        assert.notStrictEqual(after.series, before.series)
        assert.deepStrictEqual(
          after.messages.map(({ sequence }) => sequence),
          [1, 2, 3, 4]
        )
        assert.deepStrictEqual([after.sequence, after.missed], [4, true])
        const messages = `${keyPrefix}xd:push:{${keyPrefix}session:lost}`
        assert.strictEqual(yield* Effect.promise(() => native.llen(messages)), 4)
      }).pipe(Effect.scoped)
    )

    it.effect.each([
      "not JSON",
      "[]",
      "null",
      "{}",
      '{"gateway":7}',
      '{"gateway":"a b"}',
      '{"gateway":""}',
      `${"[".repeat(5_000)}`
    ])("keeps a message of a player whose session reads as %s", (value) =>
      Effect.gen(function* () {
        const { keyPrefix } = yield* Redis
        const push = yield* Push
        const native = yield* driver(options)
        const playerId = fresh("player")
        yield* Effect.promise(() => native.set(`${keyPrefix}session:${playerId}`, value))
        assert.strictEqual(yield* push.send(playerId, { topic: "t", payload: "1" }), 1)
        assert.strictEqual((yield* push.since(playerId, 0)).messages.length, 1)
      }).pipe(Effect.scoped)
    )

    it.effect("leaves out what it cannot read, and says that it is missed", () =>
      Effect.gen(function* () {
        const { keyPrefix } = yield* Redis
        const push = yield* Push
        const native = yield* driver(options)
        const send = push.send("broken", { topic: "t", payload: "1" })
        yield* Effect.repeat(send, { times: 2 })
        yield* Effect.promise(() => native.lset(`${keyPrefix}xd:push:{${keyPrefix}session:broken}`, 1, "{}"))
        const { messages, missed, sequence } = yield* push.since("broken", 0)
        assert.deepStrictEqual(
          messages.map((one) => one.sequence),
          [1, 3]
        )
        assert.deepStrictEqual([missed, sequence], [true, 3])
      }).pipe(Effect.scoped)
    )

    it.effect("tells the gateway of the newest login, and no other", () =>
      Effect.gen(function* () {
        const push = yield* Push
        const [one, two] = [yield* listen("g1"), yield* listen("g2")]
        for (const gateway of ["g1", "g2"]) {
          yield* (yield* Session).login({ playerId: "moving", gateway, token: Redacted.make(gateway) })
        }
        yield* push.send("moving", message(1))
        yield* two.first(({ _tag }) => _tag === "Message")
        yield* push.broadcast(message(2))
        yield* one.first(({ _tag }) => _tag === "Broadcast")
        assert.deepStrictEqual(
          (yield* one.all).map(({ _tag }) => _tag),
          ["Gap", "Broadcast"]
        )
      }).pipe(Effect.scoped)
    )
  })
})
