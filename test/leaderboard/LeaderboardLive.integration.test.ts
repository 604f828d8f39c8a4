// What becomes of an update whose reply is lost: an increment with an id is done once, one without is not repeated.
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { Leaderboard, type LeaderboardError } from "xdooria/leaderboard"
import { makeLive } from "xdooria/leaderboard/live"
import { client, freshPrefix } from "../support/RedisBackends.ts"
import * as FaultProxy from "../support/FaultProxy.ts"
import * as RealServer from "../support/RealServer.ts"

const board = Leaderboard.board({ key: "board" })
const updates = 50

RealServer.suite("redis", "LeaderboardLive", ({ host, port }) => {
  /** The room behind a proxy, and beside it. */
  const both = Effect.gen(function* () {
    const proxy = yield* FaultProxy.make({ host, port, seed: 1 })
    const keyPrefix = freshPrefix()
    const open = (to: number) =>
      Effect.flatMap(client({ addrs: [`127.0.0.1:${to}`] }, { keyPrefix }), (redis) => Effect.provide(makeLive, redis))
    const behind = yield* open(proxy.port)
    const direct = yield* open(port)
    // The scripts are on the server before anything is lost.
    yield* behind.increment(board, "m0", 0)
    yield* behind.increment(board, "m0", 0, { operation: "warm" })
    return { proxy, behind, direct }
  })

  /** Does updates; those of the first chunk are applied, and their connection is reset before it replies. */
  const throughLoss = <A>(proxy: FaultProxy.FaultProxy, update: (i: number) => Effect.Effect<A, LeaderboardError>) =>
    Effect.gen(function* () {
      const rule = yield* proxy.onRequest((bytes) => bytes.includes("EVALSHA"), "cutAfterReply")
      const all = yield* Effect.forkScoped(
        Effect.forEach(
          Array.from({ length: updates }, (_, i) => i),
          (i) => Effect.result(update(i)),
          { concurrency: updates }
        )
      )
      yield* rule.first
      yield* proxy.heal
      return yield* Fiber.join(all)
    })

  describe("when replies are lost", () => {
    it.live("applies each increment with an id once", () =>
      Effect.scoped(
        Effect.gen(function* () {
          const { behind, direct, proxy } = yield* both
          const results = yield* throughLoss(proxy, (i) =>
            behind.increment(board, `m${i}`, 1, { operation: `op-${i}` })
          )
          assert.isTrue(results.every(({ _tag }) => _tag === "Success"))
          const top = yield* direct.page(board, { limit: 100 })
          assert.deepStrictEqual([...new Set(top.entries.map(({ score }) => score))], [1])
          assert.strictEqual(top.total, updates)
        })
      )
    )

    it.live("does not repeat an increment without one: it is OutcomeUnknown", () =>
      Effect.scoped(
        Effect.gen(function* () {
          const { behind, direct, proxy } = yield* both
          const results = yield* throughLoss(proxy, (i) => behind.increment(board, `m${i}`, 1))
          const lost = results.filter((result) => result._tag === "Failure")
          assert.isAbove(lost.length, 0)
          for (const { failure } of lost) assert.strictEqual(failure.reason._tag, "OutcomeUnknown")
          for (const { score } of (yield* direct.page(board, { limit: 100 })).entries) assert.isAtMost(score, 1)
        })
      )
    )
  })
})
