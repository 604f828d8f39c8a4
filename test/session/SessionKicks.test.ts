// A gateway that hears of its sessions, where the store or the reader is slow.
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { makeEmbedded } from "xdooria/session"
import * as Kicks from "../../src/session/internal/kicks.ts"
import type { Store } from "../../src/session/internal/store.ts"
import { loginOf } from "./SessionContract.ts"

describe("kicks", () => {
  it.effect("are heard while the sessions are looked at", () =>
    Effect.gen(function* () {
      const looking = yield* Deferred.make<void>()
      const kick = { playerId: "p2", device: "", epoch: 7, reason: "revoked" } as const
      const store: Pick<Store, "members" | "readAll" | "subscribe" | "note" | "floorChanges"> = {
        members: () => Stream.make(["p1  5"]),
        readAll: () => Effect.andThen(Deferred.succeed(looking, undefined), Effect.never),
        subscribe: () =>
          Stream.concat(
            Stream.make({ _tag: "Gap" } as const),
            Stream.fromEffect(Effect.as(Deferred.await(looking), { _tag: "Message", value: kick } as const))
          ),
        note: () => undefined,
        floorChanges: Stream.never
      }
      const kicks = yield* Kicks.make(store as Store, Duration.hours(1))
      assert.deepStrictEqual(yield* Stream.runCollect(Stream.take(kicks.stream("gw"), 1)), [kick])
    }).pipe(Effect.scoped)
  )

  it.effect("that were too many for a slow reader are found by looking", () =>
    Effect.gen(function* () {
      const session = yield* makeEmbedded({ sweepInterval: Duration.hours(1) })
      const [reading, go] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const heard = new Set<string>()
      const count = 5_000
      const reader = yield* session.kicks("gw").pipe(
        Stream.tap(() => Effect.andThen(Deferred.succeed(reading, undefined), Deferred.await(go))),
        Stream.tap(({ playerId }) => Effect.sync(() => heard.add(playerId))),
        Stream.takeUntil(() => heard.size === count + 1),
        Stream.runDrain,
        Effect.forkChild({ startImmediately: true })
      )
      yield* session.login(loginOf("first", "gw"))
      yield* session.kick("first")
      yield* Deferred.await(reading)
      // The looks of the start are over.
      yield* TestClock.adjust("10 seconds")
      for (let index = 0; index < count; index++) {
        yield* session.login(loginOf(`p${index}`, "gw"))
        yield* session.kick(`p${index}`)
      }
      yield* Deferred.succeed(go, undefined)
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(reader)
    }).pipe(Effect.scoped)
  )

  it.effect("forgets what a gateway without a listener had long ago", () =>
    Effect.gen(function* () {
      const session = yield* makeEmbedded({ ttl: Duration.seconds(10), onlineTtl: Duration.seconds(10) })
      for (let index = 0; index < 50; index++) yield* session.login(loginOf("p", "gw"))
      yield* TestClock.adjust("10 minutes")
      yield* session.login(loginOf("q", "gw"))
      yield* session.kick("q")
      // What is still listed is told to one that comes late, the oldest first.
      const [first] = yield* Stream.runCollect(Stream.take(session.kicks("gw"), 1))
      assert.strictEqual(first?.playerId, "q")
    }).pipe(Effect.scoped)
  )
})
