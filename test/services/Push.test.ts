import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Latch from "effect/Latch"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import { Loading, OutcomeUnknown, PermissionDenied, RedisFailure, Unavailable, UnexpectedReply } from "xdooria/redis"
import { layerEmbedded } from "xdooria/session"
import { type Heard, Push } from "../../src/services/gateway/Push.ts"
import { PushEmbedded } from "../../src/services/gateway/PushEmbedded.ts"
import { fromRedis } from "../../src/services/gateway/PushLive.ts"
import { suite } from "./PushContract.ts"

suite("PushEmbedded", Layer.merge(PushEmbedded, layerEmbedded()), { clock: "test" })

describe("PushEmbedded", () => {
  it.effect("forgets messages after an hour, and their number after 30 days, counted from the last one", () =>
    Effect.gen(function* () {
      const push = yield* Push
      const send = push.send("p1", { topic: "t", payload: "1" })
      yield* send
      yield* TestClock.adjust("59 minutes")
      yield* send
      yield* TestClock.adjust("59 minutes")
      assert.strictEqual((yield* push.since("p1", 0)).messages.length, 2)
      yield* TestClock.adjust("1 minute")
      const { series } = yield* push.since("p1", 0)
      assert.deepStrictEqual(yield* push.since("p1", 0), { messages: [], sequence: 2, series, missed: true })
      assert.strictEqual(yield* send, 3)
      assert.strictEqual((yield* push.since("p1", 2)).messages.length, 1)
      yield* TestClock.adjust("30 days")
      assert.deepStrictEqual(yield* push.since("p1", 0), { messages: [], sequence: 0, series: "", missed: false })
      assert.strictEqual(yield* send, 1)
      const { missed, ...anew } = yield* push.since("p1", 1, series)
      assert.deepStrictEqual([missed, anew.messages.length], [true, 1])
      assert.notStrictEqual(anew.series, series)
    }).pipe(Effect.provide(PushEmbedded))
  )

  it.effect("tells a gateway that falls too far behind, which then hears again", () =>
    Effect.gen(function* () {
      const push = yield* Push
      const heard: Array<Heard> = []
      const reads = yield* Latch.make(false)
      const listens = yield* Latch.make(false)
      yield* Effect.forkChild(
        Stream.runForEach(push.listen("g1"), (one) =>
          Effect.andThen(
            Effect.sync(() => heard.push(one)),
            Effect.andThen(listens.open, reads.await)
          )
        )
      )
      yield* listens.await
      // What is read in one piece does not wait any more.
      yield* Effect.repeat(push.send("p1", { topic: "t", payload: "1" }), { times: 3_000 })
      const last = yield* push.send("p1", { topic: "t", payload: "1" })
      yield* reads.open
      yield* Effect.yieldNow
      yield* Effect.repeat(Effect.yieldNow, { until: () => heard.some((one) => isNumber(one, last)) })
      const gap = heard.findLastIndex(({ _tag }) => _tag === "Gap")
      assert.isAbove(gap, 0)
      const after = heard.slice(gap + 1).map((one) => (one._tag === "Message" ? one.message.sequence : 0))
      assert.deepStrictEqual(
        after,
        after.map((_, index) => last - after.length + 1 + index)
      )
    }).pipe(Effect.provide(PushEmbedded))
  )
})

const isNumber = (one: Heard, sequence: number) => one._tag === "Message" && one.message.sequence === sequence

describe("what a failure of Redis is", () => {
  it.each([
    [new Unavailable({ detail: "ECONNREFUSED" }), "Unavailable", true],
    [new Loading(), "Unavailable", true],
    [new OutcomeUnknown({ detail: "closed" }), "OutcomeUnknown", false],
    [new UnexpectedReply({ problem: "not a number" }), "OutcomeUnknown", false],
    [new PermissionDenied(), "Refused", true]
  ] as const)("%s", (reason, tag, isSafe) => {
    const error = fromRedis(new RedisFailure({ reason }))
    assert.deepStrictEqual([error.reason._tag, error.isSafeToRetry], [tag, isSafe])
  })

  it("in the middle of a script is unknown", () => {
    const error = fromRedis(new RedisFailure({ reason: new PermissionDenied(), partial: true }))
    assert.strictEqual(error.reason._tag, "OutcomeUnknown")
  })
})
