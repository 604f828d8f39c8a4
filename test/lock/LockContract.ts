// The promises of room lock, for a layer on keys that nobody else uses.
import { assert, layer as layerTest } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Ref from "effect/Ref"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { TestClock } from "effect/testing"
import { randomUUID } from "node:crypto"
import { CurrentLease, type Lease, Lock, type LockError } from "xdooria/lock"
import { Key } from "xdooria/redis"
import { model, play, stepsOf } from "./LockModel.ts"

/** A key of one test. */
export const newKey = Effect.suspend(() => Effect.orDie(Effect.fromResult(Key.make("lock", randomUUID()))))

/** A lease as one has it that does not know that it has ended: a process that was stopped. */
export const unaware = (lease: Lease): Lease => ({ ...lease, whileHeld: (effect) => effect as never })

/** The tag of the reason that an effect fails with. */
export const tagOf = <A, R>(effect: Effect.Effect<A, LockError, R>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => reason._tag)

/** Whether nobody holds the lock or waits for it: someone gets it at once. */
export const isFree = (key: Key.Any) => Effect.isSuccess(Effect.scoped(Lock.acquire(key, { wait: 0 })))

/** Until something holds; the test's own timeout bounds it. */
export const eventually = <E, R>(condition: Effect.Effect<boolean, E, R>): Effect.Effect<boolean, E, R> =>
  Effect.repeat(condition, { until: (is) => is, schedule: Schedule.spaced("5 millis") })

/** Until a fiber has said something; one that ends without having said it is a failure, and not waited for. */
export const said = <A, B, E>(word: Deferred.Deferred<A>, fiber: Fiber.Fiber<B, E>): Effect.Effect<A, E> =>
  Effect.raceFirst(
    Deferred.await(word),
    Effect.andThen(Fiber.join(fiber), Effect.die(new Error("the fiber ended without a word")))
  )

/** Holds a lock in a fiber until told to stop. */
export const holder = (key: Key.Any, options?: Parameters<typeof Lock.acquire>[1]) =>
  Effect.gen(function* () {
    const lease = yield* Deferred.make<Lease>()
    const stop = yield* Deferred.make<void>()
    const fiber = yield* Effect.gen(function* () {
      yield* Deferred.succeed(lease, yield* CurrentLease)
      yield* Deferred.await(stop)
    }).pipe(Lock.withLock(key, options), Effect.forkChild)
    return {
      lease: said(lease, fiber),
      stop: Effect.andThen(Deferred.succeed(stop, undefined), Fiber.join(fiber)),
      fiber
    }
  })

/**
 * Declares the suite.
 *
 * - `clock`: `test` where time is TestClock's; on a `live` one, waiting is the only way to let time pass, and the poll interval
 *   of the layer is best short
 */
export const suite = <E>(
  name: string,
  layer: Layer.Layer<Lock, E>,
  { clock }: { readonly clock: "test" | "live" }
): void =>
  layerTest(layer, { excludeTestServices: clock === "live", timeout: "30 seconds" })(name, (it) => {
    const advance = (time: Duration.Input): Effect.Effect<void> =>
      clock === "test" ? TestClock.adjust(time) : Effect.sleep(time)
    /** Lets others send what they have to say: one connection keeps the order. */
    const settle = Effect.repeat(Effect.yieldNow, { times: 50 })

    it.effect("has one holder at a time, and others know it at once when they do not wait", () =>
      Effect.gen(function* () {
        const key = yield* newKey
        const one = yield* holder(key)
        yield* one.lease
        assert.strictEqual(yield* tagOf(Lock.withLock(key, { wait: 0 })(Effect.void)), "Held")
        assert.isTrue(yield* isFree(yield* newKey))
        yield* one.stop
        assert.isTrue(yield* isFree(key))
      })
    )

    it.effect("counts without losing one, with many at once", () =>
      Effect.gen(function* () {
        const key = yield* newKey
        const value = yield* Ref.make(0)
        const increment = Effect.gen(function* () {
          const read = yield* Ref.get(value)
          yield* Effect.yieldNow
          yield* Ref.set(value, read + 1)
        }).pipe(Lock.withLock(key, { wait: "20 seconds" }))
        yield* Effect.all(
          Array.from({ length: 20 }, () => increment),
          { concurrency: "unbounded" }
        )
        assert.strictEqual(yield* Ref.get(value), 20)
      })
    )

    it.effect("gives tokens that only rise, in the order of holding", () =>
      Effect.gen(function* () {
        const key = yield* newKey
        const fences = yield* Ref.make<ReadonlyArray<bigint>>([])
        const note = Effect.flatMap(CurrentLease, ({ fence }) => Ref.update(fences, (all) => [...all, fence]))
        yield* Effect.all(
          Array.from({ length: 10 }, () => Lock.withLock(key, { wait: "20 seconds" })(note)),
          { concurrency: "unbounded" }
        )
        const all = yield* Ref.get(fences)
        assert.strictEqual(all.length, 10)
        assert.deepStrictEqual(
          [...all],
          all.toSorted((a, b) => (a < b ? -1 : 1))
        )
        assert.strictEqual(new Set(all).size, 10)
      })
    )

    it.effect("releases when the work fails, dies or is interrupted", () =>
      Effect.gen(function* () {
        const key = yield* newKey
        assert.strictEqual(yield* Effect.flip(Lock.withLock(key)(Effect.fail("mine" as const))), "mine")
        assert.isTrue(yield* isFree(key))
        const died = yield* Effect.exit(Lock.withLock(key)(Effect.die("bug")))
        assert.isTrue(Exit.isFailure(died) && Cause.hasDies(died.cause))
        assert.isTrue(yield* isFree(key))
        const one = yield* holder(key)
        yield* one.lease
        yield* Fiber.interrupt(one.fiber)
        assert.isTrue(yield* isFree(key))
      })
    )

    it.effect("releases with the scope that acquired it", () =>
      Effect.gen(function* () {
        const key = yield* newKey
        const scope = yield* Scope.make()
        yield* Effect.provideService(Lock.acquire(key), Scope.Scope, scope)
        assert.isFalse(yield* isFree(key))
        yield* Scope.close(scope, Exit.void)
        assert.isTrue(yield* isFree(key))
      })
    )

    it.effect("gives up after the time to wait, and leaves no place in the queue", () =>
      Effect.gen(function* () {
        const key = yield* newKey
        const one = yield* holder(key)
        yield* one.lease
        const waiting = yield* Effect.forkChild(Effect.flip(Lock.withLock(key, { wait: "300 millis" })(Effect.void)))
        yield* settle
        yield* advance("300 millis")
        assert.deepInclude((yield* Fiber.join(waiting)).reason, { _tag: "Timeout", millis: 300 })
        yield* one.stop
        assert.isTrue(yield* isFree(key))
      })
    )

    it.effect("serves those who wait in the order of asking", () =>
      Effect.gen(function* () {
        const key = yield* newKey
        const one = yield* holder(key)
        yield* one.lease
        const order = yield* Ref.make<ReadonlyArray<number>>([])
        const waiting: Array<Fiber.Fiber<void, LockError>> = []
        for (let i = 0; i < 5; i++) {
          waiting.push(
            yield* Ref.update(order, (all) => [...all, i]).pipe(
              Lock.withLock(key, { wait: Duration.infinity }),
              Effect.forkChild
            )
          )
          yield* settle
        }
        yield* one.stop
        yield* Effect.forEach(waiting, Fiber.join)
        assert.deepStrictEqual(yield* Ref.get(order), [0, 1, 2, 3, 4])
      })
    )

    it.effect("forgets those who stop waiting", () =>
      Effect.gen(function* () {
        const key = yield* newKey
        const one = yield* holder(key)
        yield* one.lease
        const gone = yield* holder(key, { wait: Duration.infinity })
        yield* settle
        const next = yield* holder(key, { wait: Duration.infinity })
        yield* settle
        yield* Fiber.interrupt(gone.fiber)
        yield* one.stop
        yield* next.lease
        yield* next.stop
        assert.isTrue(yield* isFree(key))
      })
    )

    it.effect("renews the lock for as long as the work takes", () =>
      Effect.gen(function* () {
        const key = yield* newKey
        const one = yield* holder(key, { ttl: "300 millis" })
        yield* one.lease
        for (let i = 0; i < 4; i++) {
          yield* advance("250 millis")
          assert.isFalse(yield* isFree(key))
        }
        yield* one.stop
        assert.isTrue(yield* isFree(key))
      })
    )

    it.effect("is entered again by what runs inside, forked fibers included", () =>
      Effect.gen(function* () {
        const key = yield* newKey
        const inner = Lock.withLock(key, { wait: 0 })(CurrentLease)
        yield* Effect.gen(function* () {
          const outer = yield* CurrentLease
          assert.strictEqual((yield* inner).fence, outer.fence)
          assert.strictEqual((yield* Fiber.join(yield* Effect.forkChild(inner))).fence, outer.fence)
          // Another key is another lock.
          assert.notStrictEqual((yield* Lock.withLock(yield* newKey)(CurrentLease)).fence, outer.fence)
        }).pipe(Lock.withLock(key))
        assert.isTrue(yield* isFree(key))
      })
    )

    it.effect("stays with a child that outlives the holder, and lets nobody in by lineage afterwards", () =>
      Effect.gen(function* () {
        const key = yield* newKey
        const go = yield* Deferred.make<void>()
        const inside = yield* Deferred.make<void>()
        const again = yield* Deferred.make<void>()
        const children = yield* Effect.gen(function* () {
          const child = Lock.withLock(key)(Effect.andThen(Deferred.succeed(inside, undefined), Deferred.await(go)))
          const late = Effect.andThen(
            Deferred.await(again),
            Effect.result(Lock.withLock(key, { wait: 0 })(Effect.void))
          )
          const both = [yield* Effect.forkDetach(child), yield* Effect.forkDetach(late)] as const
          yield* said(inside, both[0])
          return both
        }).pipe(Lock.withLock(key))
        assert.isFalse(yield* isFree(key))
        yield* Deferred.succeed(again, undefined)
        assert.strictEqual((yield* Fiber.join(children[1]))._tag, "Failure")
        yield* Deferred.succeed(go, undefined)
        yield* Fiber.join(children[0])
        assert.isTrue(yield* isFree(key))
      })
    )

    it.effect(
      "loses every lease when the service is closed, after its work has ended, and refuses those who wait",
      () =>
        Effect.gen(function* () {
          const key = yield* newKey
          const scope = yield* Scope.make()
          const services = yield* Layer.buildWithScope(Layer.fresh(layer), scope)
          const lock = Context.get(services, Lock)
          const working = yield* Deferred.make<void>()
          const isEnded = yield* Ref.make(false)
          const fiber = yield* Effect.andThen(Deferred.succeed(working, undefined), Effect.never).pipe(
            Effect.onInterrupt(() => Effect.andThen(Effect.yieldNow, Ref.set(isEnded, true))),
            Lock.withLock(key),
            Effect.flip,
            Effect.provide(services),
            Effect.forkChild
          )
          yield* said(working, fiber)
          const waiting = yield* Effect.forkChild(tagOf(Effect.scoped(lock.acquire(key, { wait: Duration.infinity }))))
          yield* settle
          const idle = yield* lock.acquire(yield* newKey)
          yield* Scope.close(scope, Exit.void)
          assert.isTrue(yield* Ref.get(isEnded))
          assert.deepInclude((yield* Fiber.join(fiber)).reason, { _tag: "Lost", how: "closed" })
          assert.strictEqual(yield* Fiber.join(waiting), "Closed")
          assert.deepInclude((yield* Effect.flip(idle.whileHeld(Effect.void))).reason, { _tag: "Lost", how: "closed" })
          assert.strictEqual(yield* tagOf(Effect.scoped(lock.acquire(key, { wait: 0 }))), "Closed")
        }).pipe(Effect.provideService(References.MinimumLogLevel, "None"), Effect.scoped)
    )

    it.effect("takes times that are no whole milliseconds", () =>
      Effect.gen(function* () {
        const key = yield* newKey
        const odd = { ttl: Duration.micros(333_333n), wait: Duration.micros(1_500n) }
        const one = yield* holder(key, odd)
        yield* one.lease
        const waiting = yield* Effect.forkChild(Effect.flip(Effect.scoped(Lock.acquire(key, odd))))
        yield* settle
        yield* advance("2 millis")
        assert.deepInclude((yield* Fiber.join(waiting)).reason, { _tag: "Timeout", millis: 2 })
        yield* one.stop
      })
    )

    it.effect("does what a simple model does, whatever owners do", () =>
      Effect.gen(function* () {
        for (let round = 0; round < 20; round++) {
          const random = yield* Random.Random
          const steps = stepsOf(() => random.nextDoubleUnsafe(), 60)
          const { results, tokens } = yield* play(steps)
          assert.deepStrictEqual(results, model(steps), JSON.stringify(steps))
          for (const all of tokens) {
            assert.deepStrictEqual(
              all,
              [...new Set(all)].toSorted((a, b) => (a < b ? -1 : 1))
            )
          }
        }
      }).pipe(Random.withSeed(name))
    )

    it.effect("refuses what it cannot promise", () =>
      Effect.gen(function* () {
        const key = yield* newKey
        const beside = Key.beside(key, "xd:other")
        for (const options of [{ ttl: 99 }, { ttl: "25 hours" }, { ttl: Duration.infinity }] as const) {
          assert.strictEqual(yield* tagOf(Effect.scoped(Lock.acquire(key, options))), "InvalidInput")
        }
        assert.strictEqual(yield* tagOf(Effect.scoped(Lock.acquire(beside))), "InvalidInput")
      })
    )

    it.effect("fails when its lease is used after it was released", () =>
      Effect.gen(function* () {
        const key = yield* newKey
        const lease = yield* Effect.scoped(Lock.acquire(key))
        const { reason } = yield* Effect.flip(lease.whileHeld(Effect.void))
        assert.deepInclude(reason, { _tag: "Lost", how: "released" })
      })
    )
  })
