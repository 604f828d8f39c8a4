// What happens to a lease and to one who waits when the server does not do as it should: a server that is told what to
// answer, and TestClock.
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import * as References from "effect/References"
import * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import { CurrentLease, Lock, LockError, type LockErrorReason, Refused, Unavailable } from "xdooria/lock"
import type { Answer, Backend } from "../../src/lock/internal/backend.ts"
import { make, Wakes } from "../../src/lock/internal/engine.ts"
import { newKey, said } from "./LockContract.ts"

const down = Effect.fail(new LockError({ reason: new Unavailable({ detail: "down" }) }))
const granted: Answer = { _tag: "Granted", fence: 7n }
const busy: Answer = { _tag: "Busy", isNext: true, leftMillis: -1 }

/** Answers what it is told to, and counts what it is asked. */
const server = (answers: Partial<Backend>) =>
  Effect.gen(function* () {
    const asked = { claim: 0, extend: 0, leave: 0 }
    const counting =
      <Args extends ReadonlyArray<unknown>, A>(
        name: keyof typeof asked,
        answer: (...args: Args) => Effect.Effect<A, LockError>
      ) =>
      (...args: Args) =>
        Effect.suspend(() => {
          asked[name]++
          return answer(...args)
        })
    const wakes = new Wakes()
    const lock = yield* make(
      {
        nameOf: ({ name }) => name,
        claim: counting("claim", answers.claim ?? (() => Effect.succeed(granted))),
        extend: counting("extend", answers.extend ?? (() => Effect.succeed(true))),
        leave: counting("leave", answers.leave ?? (() => Effect.void))
      },
      wakes,
      { ttl: Duration.seconds(10), wait: Duration.seconds(5), pollInterval: Duration.millis(500) }
    )
    return { asked, wakes, layer: Layer.succeed(Lock, lock) }
  })

/** Works under a lock until it is interrupted, and tells when that was, by the clock, and how it ended. */
const working = (layer: Layer.Layer<Lock>) =>
  Effect.gen(function* () {
    const key = yield* newKey
    const ended = yield* Deferred.make<number>()
    const fiber = yield* Effect.never.pipe(
      Effect.onInterrupt(() =>
        Effect.flatMap(
          TestClock.testClockWith((clock) => Effect.succeed(clock.currentTimeMillisUnsafe())),
          (now) => Deferred.succeed(ended, now)
        )
      ),
      Lock.withLock(key),
      Effect.flip,
      Effect.map(({ reason }: LockError) => reason),
      Effect.provide(layer),
      Effect.provideService(References.MinimumLogLevel, "None"),
      Effect.forkChild
    )
    return { ended: said(ended, fiber), reason: Fiber.join(fiber) as Effect.Effect<LockErrorReason, unknown> }
  })

describe("a lease", () => {
  it.effect("that cannot be renewed interrupts its work before the lock has ended", () =>
    Effect.gen(function* () {
      const { asked, layer } = yield* server({ extend: () => down })
      const { ended, reason } = yield* working(layer)
      yield* TestClock.adjust("20 seconds")
      assert.strictEqual(yield* ended, 9_000)
      assert.deepInclude(yield* reason, { _tag: "Lost", how: "expired" })
      assert.isAbove(asked.extend, 5)
      assert.strictEqual(asked.leave, 1)
    })
  )

  it.effect("whose renewals are never answered interrupts its work as well", () =>
    Effect.gen(function* () {
      const { layer } = yield* server({ extend: () => Effect.never })
      const { ended, reason } = yield* working(layer)
      yield* TestClock.adjust("20 seconds")
      assert.strictEqual(yield* ended, 9_000)
      assert.deepInclude(yield* reason, { _tag: "Lost", how: "expired" })
    })
  )

  it.effect("that another has taken interrupts its work at the next renewal", () =>
    Effect.gen(function* () {
      const { asked, layer } = yield* server({ extend: () => Effect.succeed(false) })
      const { ended, reason } = yield* working(layer)
      yield* TestClock.adjust("20 seconds")
      assert.strictEqual(Math.round((yield* ended) / 100), 33)
      assert.deepInclude(yield* reason, { _tag: "Lost", how: "taken" })
      assert.strictEqual(asked.extend, 1)
    })
  )

  it.effect("survives renewals that fail for a while, its end counted from when the last good one was sent", () =>
    Effect.gen(function* () {
      const isDown = yield* Ref.make(true)
      const { ended, reason } = yield* Effect.flatMap(
        server({
          extend: () => Effect.flatMap(Ref.get(isDown), (no) => (no ? down : Effect.succeed(true)))
        }),
        ({ layer }) => working(layer)
      )
      yield* TestClock.adjust("8 seconds")
      yield* Ref.set(isDown, false)
      yield* TestClock.adjust("60 seconds")
      yield* Ref.set(isDown, true)
      yield* TestClock.adjust("20 seconds")
      const at = yield* ended
      assert.isAtLeast(at, 68_000 + 5_000)
      assert.isAtMost(at, 68_000 + 9_000)
      assert.strictEqual((yield* reason)._tag, "Lost")
    })
  )

  it.effect("that ended while its work succeeded is lost all the same", () =>
    Effect.gen(function* () {
      // A pause of the whole process: time has passed, and no fiber had a turn.
      const { layer } = yield* server({})
      const pause = TestClock.testClockWith((clock) =>
        Effect.sync(() => {
          const before = clock.monotonicTimeNanosUnsafe
          clock.monotonicTimeNanosUnsafe = () => before() + 10_000_000_000n
        })
      )
      const { reason } = yield* Effect.flip(Lock.withLock(yield* newKey)(pause)).pipe(Effect.provide(layer))
      assert.deepInclude(reason, { _tag: "Lost", how: "expired" })
    })
  )

  it.effect("that is lost waits for the finalizers of its work, and is released after them", () =>
    Effect.gen(function* () {
      const { asked, layer } = yield* server({ extend: () => Effect.succeed(false) })
      const finalized = yield* Ref.make(false)
      const work = Effect.onInterrupt(Effect.never, () =>
        Effect.sleep("1 second").pipe(
          Effect.andThen(Effect.sync(() => assert.strictEqual(asked.leave, 0))),
          Effect.andThen(Ref.set(finalized, true))
        )
      )
      const fiber = yield* Effect.forkChild(
        Effect.exit(Effect.provide(Lock.withLock(yield* newKey)(work), layer)).pipe(
          Effect.andThen(Ref.get(finalized)),
          Effect.provideService(References.MinimumLogLevel, "None")
        )
      )
      yield* TestClock.adjust("20 seconds")
      assert.isTrue(yield* Fiber.join(fiber))
      assert.strictEqual(asked.leave, 1)
    })
  )

  it.effect("that is lost lets nobody in by lineage", () =>
    Effect.gen(function* () {
      const { asked, layer } = yield* server({ extend: () => Effect.succeed(false) })
      const key = yield* newKey
      const late = Effect.uninterruptible(Effect.andThen(Effect.sleep("5 seconds"), Lock.withLock(key)(Effect.void)))
      const fiber = yield* Effect.forkChild(
        Effect.exit(Effect.provide(Lock.withLock(key)(late), layer)).pipe(
          Effect.provideService(References.MinimumLogLevel, "None")
        )
      )
      yield* TestClock.adjust("20 seconds")
      yield* Fiber.join(fiber)
      assert.strictEqual(asked.claim, 2)
    })
  )

  it.effect(
    "is not released when the service is closed and its work does not end: the closing does not wait for ever",
    () =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const { asked, layer } = yield* Effect.provideService(server({}), Scope.Scope, scope)
        const key = yield* newKey
        const working = yield* Deferred.make<void>()
        const fiber = yield* Effect.andThen(Deferred.succeed(working, undefined), Effect.never).pipe(
          Effect.onInterrupt(() => Effect.sleep("20 seconds")),
          Lock.withLock(key),
          Effect.flip,
          Effect.provide(layer),
          Effect.forkChild
        )
        yield* said(working, fiber)
        const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
        yield* TestClock.adjust("5 seconds")
        yield* Fiber.join(closing)
        assert.strictEqual(asked.leave, 0)
        yield* TestClock.adjust("20 seconds")
        assert.deepInclude((yield* Fiber.join(fiber)).reason, { _tag: "Lost", how: "closed" })
        // It was renewed for as long as the closing waited.
        assert.deepStrictEqual(asked, { claim: 1, extend: 1, leave: 0 })
      }).pipe(Effect.provideService(References.MinimumLogLevel, "None"))
  )

  it.effect("that is granted while the service is closed is given up", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { asked, layer } = yield* Effect.provideService(
        server({ claim: () => Effect.as(Effect.sleep("1 second"), granted) }),
        Scope.Scope,
        scope
      )
      const key = yield* newKey
      const fiber = yield* Effect.forkChild(Effect.flip(Effect.provide(Lock.withLock(key)(Effect.void), layer)))
      yield* Effect.yieldNow
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(closing)
      assert.strictEqual((yield* Fiber.join(fiber)).reason._tag, "Closed")
      assert.deepStrictEqual(asked, { claim: 1, extend: 0, leave: 1 })
    })
  )

  it.effect("is released in the background when the server does not answer", () =>
    Effect.gen(function* () {
      const isDown = yield* Ref.make(true)
      const { asked, layer } = yield* server({
        leave: () => Effect.flatMap(Ref.get(isDown), (no) => (no ? down : Effect.void))
      })
      yield* Effect.provide(Lock.withLock(yield* newKey)(Effect.void), layer)
      assert.isAtLeast(asked.leave, 1)
      yield* TestClock.adjust("2 seconds")
      const before = asked.leave
      yield* Ref.set(isDown, false)
      yield* TestClock.adjust("2 seconds")
      const after = asked.leave
      yield* TestClock.adjust("60 seconds")
      assert.isAbove(before, 2)
      assert.isAbove(after, before)
      assert.strictEqual(asked.leave, after)
    })
  )
})

describe("an acquisition", () => {
  const acquire = (options: Parameters<typeof Lock.acquire>[1]) =>
    Effect.flatMap(newKey, (key) => Effect.scoped(Lock.acquire(key, options)))

  it.effect("fails at once when it does not wait and the server does not answer, and cleans up", () =>
    Effect.gen(function* () {
      const { asked, layer } = yield* server({ claim: () => down })
      const { reason } = yield* Effect.flip(Effect.provide(acquire({ wait: 0 }), layer))
      assert.strictEqual(reason._tag, "Unavailable")
      assert.deepStrictEqual(asked, { claim: 1, extend: 0, leave: 1 })
    })
  )

  it.effect("that finds the lock held and does not wait has nothing to clean up", () =>
    Effect.gen(function* () {
      const { asked, layer } = yield* server({ claim: () => Effect.succeed(busy) })
      const { reason } = yield* Effect.flip(Effect.provide(acquire({ wait: 0 }), layer))
      assert.strictEqual(reason._tag, "Held")
      assert.deepStrictEqual(asked, { claim: 1, extend: 0, leave: 0 })
    })
  )

  it.effect("goes on trying while it waits, and tells in the end what was wrong", () =>
    Effect.gen(function* () {
      const { asked, layer } = yield* server({ claim: () => down })
      const fiber = yield* Effect.forkChild(Effect.flip(Effect.provide(acquire({ wait: "5 seconds" }), layer)))
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual((yield* Fiber.join(fiber)).reason._tag, "Unavailable")
      assert.isAbove(asked.claim, 8)
      assert.strictEqual(asked.leave, 1)
    })
  )

  it.effect("gives up at once what no other try mends", () =>
    Effect.gen(function* () {
      const { asked, layer } = yield* server({
        claim: () => Effect.fail(new LockError({ reason: new Refused({ detail: "PermissionDenied" }) }))
      })
      const { reason } = yield* Effect.flip(Effect.provide(acquire({ wait: Duration.infinity }), layer))
      assert.strictEqual(reason._tag, "Refused")
      assert.strictEqual(asked.claim, 1)
    })
  )

  it.effect("does not rely on a lock that was granted too long ago", () =>
    Effect.gen(function* () {
      const slow = Effect.as(Effect.sleep("9 seconds"), granted)
      const { layer } = yield* server({ claim: () => slow })
      const fiber = yield* Effect.forkChild(Effect.flip(Effect.provide(acquire({ wait: 0 }), layer)))
      yield* TestClock.adjust("20 seconds")
      assert.strictEqual((yield* Fiber.join(fiber)).reason._tag, "Unavailable")
    })
  )

  it.effect("that is interrupted while its reply is in flight gives up what it may have got", () =>
    Effect.gen(function* () {
      const { asked, layer } = yield* server({ claim: () => Effect.never })
      const fiber = yield* Effect.forkChild(Effect.provide(acquire({ wait: 0 }), layer))
      yield* Effect.yieldNow
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(asked, { claim: 1, extend: 0, leave: 1 })
    })
  )

  it.effect("that is interrupted does not wait for a server that is silent, and the scope ends all the same", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { layer } = yield* Effect.provideService(
        server({ claim: () => Effect.never, leave: () => Effect.sleep("1 second") }),
        Scope.Scope,
        scope
      )
      const fiber = yield* Effect.forkChild(Effect.provide(acquire({ wait: 0 }), layer))
      yield* Effect.yieldNow
      const interrupted = yield* Effect.forkChild(Fiber.interrupt(fiber))
      yield* TestClock.adjust("100 millis")
      yield* Fiber.join(interrupted)
      const closed = yield* Effect.forkChild(Scope.close(scope, Exit.void))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(closed)
    })
  )

  it.effect("that is woken looks at once, and one that is next looks when the lock ends", () =>
    Effect.gen(function* () {
      let token = ""
      let claims = 0
      const { asked, layer, wakes } = yield* server({
        claim: (claim) =>
          Effect.sync(() => {
            token = claim.token
            claims++
            return { _tag: "Busy", isNext: true, leftMillis: claims < 3 ? -1 : 40 } as const
          })
      })
      const fiber = yield* Effect.forkChild(Effect.provide(acquire({ wait: Duration.infinity }), layer))
      yield* TestClock.adjust("1 milli")
      assert.strictEqual(asked.claim, 1)
      wakes.wake(token)
      wakes.wake("somebody else's")
      yield* TestClock.adjust("1 milli")
      assert.strictEqual(asked.claim, 2)
      // A hint that was lost costs a poll interval.
      yield* TestClock.adjust("551 millis")
      const looks = asked.claim
      assert.isAtLeast(looks, 3)
      yield* TestClock.adjust("41 millis")
      assert.strictEqual(asked.claim, looks + 1)
      yield* Fiber.interrupt(fiber)
    })
  )

  it.effect("is another one on another service", () =>
    Effect.gen(function* () {
      const one = yield* server({})
      const two = yield* server({})
      const key = yield* newKey
      yield* Lock.withLock(key)(Effect.provide(Lock.withLock(key)(CurrentLease), two.layer)).pipe(
        Effect.provide(one.layer)
      )
      assert.deepStrictEqual([one.asked.claim, two.asked.claim], [1, 1])
    })
  )
})
