import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import { Command, EventStream, Key, Redis } from "xdooria/redis"
import { eventually, suites, withClient } from "../support/RedisBackends.ts"

const Scored = Schema.Struct({ player: Schema.String, score: Schema.Finite })
type Scored = typeof Scored.Type

const fresh = Effect.map(Effect.fromResult(Key.make("scores", "eu")), (key) => EventStream.make(key, Scored))

const event = (n: number): Scored => ({ player: `p${n}`, score: n })

const quick = { retryAfter: "1 millis", attempts: 3 } as const

/** Handles until so many were handled, and gives them. */
const collect = (
  stream: EventStream.EventStream<Scored, "scores">,
  options: EventStream.ConsumeOptions,
  count: number,
  during: Effect.Effect<unknown, unknown, Redis> = Effect.void
) =>
  Effect.gen(function* () {
    const seen: Array<EventStream.Event<Scored>> = []
    const enough = yield* Deferred.make<void>()
    const consuming = yield* Effect.forkChild(
      EventStream.consume(stream, options, (one) =>
        Effect.suspend(() => {
          seen.push(one)
          return seen.length === count ? Deferred.succeed(enough, undefined) : Effect.void
        })
      )
    )
    yield* during
    yield* Effect.raceFirst(Deferred.await(enough), Fiber.join(consuming))
    yield* eventually(
      "all is acknowledged",
      Effect.map(EventStream.progress(stream, options.group), (now) => now?.pending === 0)
    )
    yield* Fiber.interrupt(consuming)
    return seen
  })

suites("EventStream", (options, kind) => {
  const run = withClient(options)

  describe("append", () => {
    it.live("gives ids that rise, and the events come in their order", () =>
      Effect.gen(function* () {
        const stream = yield* fresh
        const ids = yield* Effect.forEach([0, 1, 2], (n) => EventStream.append(stream, event(n)))
        const seen = yield* collect(stream, { group: "g", consumer: "c" }, 3)
        assert.deepStrictEqual(
          seen,
          ids.map((id, n) => ({ id, value: event(n) }))
        )
      }).pipe(run)
    )

    it.live("appends once under one id, and gives the same place again", () =>
      Effect.gen(function* () {
        const stream = yield* fresh
        const redis = yield* Redis
        const first = yield* EventStream.append(stream, event(1), { once: "op1" })
        const again = yield* EventStream.append(stream, event(1), { once: "op1" })
        const other = yield* EventStream.append(stream, event(1), { once: "op2" })
        assert.strictEqual(again, first)
        assert.notStrictEqual(other, first)
        assert.strictEqual(yield* redis.run(Command.xlen(stream.key)), 2)
      }).pipe(run)
    )

    it.live("forgets an id after its time", () =>
      Effect.gen(function* () {
        const stream = yield* fresh
        const redis = yield* Redis
        const once = { once: "op1", remember: "10 seconds" } as const
        const first = yield* EventStream.append(stream, event(1), once)
        // As if its time were over.
        yield* redis.run(Command.zadd(Key.beside(stream.key, "xd:appended-at"), [{ member: "op1", score: 1 }]))
        assert.notStrictEqual(yield* EventStream.append(stream, event(1), once), first)
      }).pipe(run)
    )

    it.live("refuses to remember an id for less long than a call may be repeated", () =>
      Effect.gen(function* () {
        const stream = yield* fresh
        for (const remember of ["9999 millis", 0, Number.NaN, "Infinity"] as const) {
          const { reason } = yield* Effect.flip(EventStream.append(stream, event(1), { once: "op1", remember }))
          assert.deepInclude(reason, { _tag: "InvalidInput", problem: "remember is not 10 seconds to a year" })
        }
      }).pipe(run)
    )

    it.live("cuts the stream down", () =>
      Effect.gen(function* () {
        const stream = yield* fresh
        const redis = yield* Redis
        const trim = { maxLength: 2, exactly: true }
        yield* Effect.forEach([1, 2, 3, 4], (n) => EventStream.append(stream, event(n), { trim }))
        yield* EventStream.append(stream, event(5), { trim, once: "op" })
        assert.strictEqual(yield* redis.run(Command.xlen(stream.key)), 2)
      }).pipe(run)
    )

    it.live("refuses what the schema does not encode, and says nothing of it", () =>
      Effect.gen(function* () {
        const stream = yield* fresh
        const error = yield* Effect.flip(EventStream.append(stream, { player: "canary8f2", score: Number.NaN }))
        assert.strictEqual(error.reason._tag, "InvalidInput")
        assert.notInclude(error.message, "canary8f2")
      }).pipe(run)
    )
  })

  describe("consume", () => {
    it.live("hears what is appended while it waits", () =>
      Effect.gen(function* () {
        const stream = yield* fresh
        const seen = yield* collect(
          stream,
          { group: "g", consumer: "c" },
          2,
          Effect.forEach([0, 1], (n) => EventStream.append(stream, event(n)))
        )
        assert.deepStrictEqual(
          seen.map(({ value }) => value),
          [event(0), event(1)]
        )
      }).pipe(run)
    )

    it.live("shares the events out among the consumers of a group, and each group has all", () =>
      Effect.gen(function* () {
        const stream = yield* fresh
        yield* Effect.forEach(
          Array.from({ length: 40 }, (_, n) => n),
          (n) => EventStream.append(stream, event(n))
        )
        const seen: Array<number> = []
        const enough = yield* Deferred.make<void>()
        const one = (consumer: string) =>
          EventStream.consume(stream, { group: "shared", consumer, batch: 1 }, ({ value }) =>
            Effect.suspend(() => {
              seen.push(value.score)
              return seen.length === 40 ? Deferred.succeed(enough, undefined) : Effect.void
            })
          )
        yield* Effect.raceFirst(Effect.raceFirst(one("a"), one("b")), Deferred.await(enough))
        assert.deepStrictEqual(
          [...seen].toSorted((a, b) => a - b),
          Array.from({ length: 40 }, (_, n) => n)
        )
        assert.strictEqual((yield* collect(stream, { group: "other", consumer: "a" }, 40)).length, 40)
      }).pipe(run)
    )

    it.live("begins with what comes when the group says so", () =>
      Effect.gen(function* () {
        const stream = yield* fresh
        yield* EventStream.append(stream, event(0))
        const seen = yield* collect(
          stream,
          { group: "g", consumer: "c", from: "now" },
          1,
          Effect.andThen(
            eventually(
              "the group is there",
              Effect.map(EventStream.progress(stream, "g"), (now) => now !== undefined)
            ),
            EventStream.append(stream, event(1))
          )
        )
        assert.deepStrictEqual(
          seen.map(({ value }) => value),
          [event(1)]
        )
      }).pipe(run)
    )

    it.live("tries a failing handler again, then keeps the event as a dead letter and goes on", () =>
      Effect.gen(function* () {
        const stream = yield* fresh
        const bad = yield* EventStream.append(stream, event(0))
        yield* EventStream.append(stream, event(1))
        const tries = { 0: 0, 1: 0 } as Record<number, number>
        const done = yield* Deferred.make<void>()
        yield* Effect.raceFirst(
          EventStream.consume(stream, { group: "g", consumer: "c", ...quick }, ({ value }) =>
            Effect.suspend((): Effect.Effect<unknown, { _tag: "NoSuchPlayer"; player: string }> => {
              tries[value.score] = (tries[value.score] ?? 0) + 1
              return value.score === 0
                ? Effect.fail({ _tag: "NoSuchPlayer", player: "canary8f2" })
                : Deferred.succeed(done, undefined)
            }).pipe(Effect.asVoid)
          ),
          Deferred.await(done)
        )
        assert.deepStrictEqual(tries, { 0: 3, 1: 1 })
        const [letter, ...others] = yield* EventStream.deadLetters(stream, { count: 10 })
        assert.deepStrictEqual(others, [])
        assert.deepInclude(letter, {
          eventId: bad,
          group: "g",
          problem: "NoSuchPlayer",
          text: JSON.stringify(event(0))
        })
      }).pipe(run)
    )

    it.live("counts a defect as a failure", () =>
      Effect.gen(function* () {
        const stream = yield* fresh
        yield* EventStream.append(stream, event(0))
        yield* Effect.raceFirst(
          EventStream.consume(stream, { group: "g", consumer: "c", ...quick }, () => Effect.die(new Error("boom"))),
          eventually(
            "there is a dead letter",
            Effect.map(EventStream.deadLetters(stream, { count: 1 }), ([letter]) => letter?.problem === "Defect")
          )
        )
      }).pipe(run)
    )

    it.live("makes what does not decode a dead letter, without a handler", () =>
      Effect.gen(function* () {
        const stream = yield* fresh
        const redis = yield* Redis
        yield* redis.run(Command.xadd(stream.key, { value: "{" }))
        yield* redis.run(Command.xadd(stream.key, { other: "1" }))
        const good = yield* EventStream.append(stream, event(1))
        const seen = yield* collect(stream, { group: "g", consumer: "c" }, 1)
        assert.deepStrictEqual(seen, [{ id: good, value: event(1) }])
        const letters = yield* EventStream.deadLetters(stream, { count: 10 })
        assert.deepStrictEqual(
          letters.map(({ problem, text }) => [problem, text]),
          [
            ["Undecodable", "{"],
            ["Undecodable", ""]
          ]
        )
        const [first] = letters
        assert.deepStrictEqual(
          (yield* EventStream.deadLetters(stream, { count: 10, after: first!.id })).map(({ id }) => id),
          [letters[1]!.id]
        )
      }).pipe(run)
    )

    it.live("gives an interrupted consumer its event again, before any other", () =>
      Effect.gen(function* () {
        const stream = yield* fresh
        yield* EventStream.append(stream, event(0))
        const inHand = yield* Deferred.make<void>()
        yield* Effect.raceFirst(
          EventStream.consume(stream, { group: "g", consumer: "c" }, () =>
            Effect.andThen(Deferred.succeed(inHand, undefined), Effect.never)
          ),
          Deferred.await(inHand)
        )
        yield* EventStream.append(stream, event(1))
        const seen = yield* collect(stream, { group: "g", consumer: "c" }, 2)
        assert.deepStrictEqual(
          seen.map(({ value }) => value),
          [event(0), event(1)]
        )
      }).pipe(run)
    )

    it.live("takes over what a consumer left, and not what one has in hand", () =>
      Effect.gen(function* () {
        const stream = yield* fresh
        const redis = yield* Redis
        const kept = yield* EventStream.append(stream, event(0))
        const inHand = yield* Deferred.make<void>()
        const seen: Array<string> = []
        const both = yield* Deferred.make<void>()
        const consume = (consumer: string) =>
          EventStream.consume(stream, { group: "g", consumer, claimAfter: "1 second" }, ({ id }) =>
            Effect.gen(function* () {
              seen.push(`${consumer} ${id}`)
              if (id !== kept) return void (yield* Deferred.succeed(both, undefined))
              yield* Deferred.succeed(inHand, undefined)
              return yield* Effect.never
            })
          )
        const slow = yield* Effect.forkChild(consume("slow"))
        yield* Deferred.await(inHand)
        const left = yield* EventStream.append(stream, event(1))
        yield* redis.run(Command.xreadGroup(stream.key, "g", "gone", ">", {}))
        const fast = yield* Effect.forkChild(consume("fast"))
        yield* Deferred.await(both)
        // By now the slow one has had its event for as long as the one that is gone.
        const [pending] = yield* redis.run(Command.xpending(stream.key, "g", kept, kept, 1))
        assert.strictEqual(pending?.consumer, "slow")
        assert.deepStrictEqual(seen, [`slow ${kept}`, `fast ${left}`])
        yield* Fiber.interrupt(slow)
        yield* Fiber.interrupt(fast)
      }).pipe(run)
    )

    it.live("gives up an event that consumers die of", () =>
      Effect.gen(function* () {
        const stream = yield* fresh
        const redis = yield* Redis
        const deadly = yield* EventStream.append(stream, event(0))
        yield* redis.run(Command.xgroupCreate(stream.key, "g", "0"))
        yield* redis.run(Command.xreadGroup(stream.key, "g", "c", ">", {}))
        for (let death = 0; death < 3; death++) {
          yield* redis.run(Command.make("XCLAIM", [stream.key, "g", "c", 0, deadly], () => Command.ok("OK")))
        }
        yield* EventStream.append(stream, event(1))
        const seen = yield* collect(stream, { group: "g", consumer: "c", ...quick }, 1)
        assert.deepStrictEqual(
          seen.map(({ value }) => value),
          [event(1)]
        )
        const [letter] = yield* EventStream.deadLetters(stream, { count: 1 })
        assert.deepInclude(letter, { eventId: deadly, problem: "Deliveries" })
      }).pipe(run)
    )

    it.live("counts against an event only how often it was in hand, not the sessions that it waited through", () =>
      Effect.gen(function* () {
        const stream = yield* fresh
        yield* Effect.forEach([0, 1, 2], (n) => EventStream.append(stream, event(n)))
        const seen: Array<number> = []
        const options = { group: "g", consumer: "c", attempts: 2 }
        for (let session = 0; session < 2; session++) {
          const inHand = yield* Deferred.make<void>()
          yield* Effect.raceFirst(
            EventStream.consume(stream, options, ({ value }) =>
              Effect.andThen(
                Effect.sync(() => seen.push(value.score)),
                Effect.andThen(Deferred.succeed(inHand, undefined), Effect.never)
              )
            ),
            Deferred.await(inHand)
          )
        }
        assert.deepStrictEqual(seen, [0, 0])
        const rest = yield* collect(stream, options, 2)
        assert.deepStrictEqual(
          rest.map(({ value }) => value.score),
          [1, 2]
        )
        const letters = yield* EventStream.deadLetters(stream, { count: 10 })
        assert.deepStrictEqual(
          letters.map(({ problem, text }) => [problem, text]),
          [["Deliveries", JSON.stringify(event(0))]]
        )
      }).pipe(run)
    )

    it.live("leaves to another consumer what that has taken over meanwhile", () =>
      Effect.gen(function* () {
        const stream = yield* fresh
        const redis = yield* Redis
        yield* EventStream.append(stream, event(0))
        const second = yield* EventStream.append(stream, event(1))
        yield* EventStream.append(stream, event(2))
        const seen: Array<number> = []
        const both = yield* Deferred.make<void>()
        yield* Effect.raceFirst(
          EventStream.consume(stream, { group: "g", consumer: "c" }, ({ value }) =>
            Effect.gen(function* () {
              seen.push(value.score)
              if (value.score === 2) yield* Deferred.succeed(both, undefined)
              const claim = Command.make("XCLAIM", [stream.key, "g", "d", 0, second], () => Command.ok("OK"))
              yield* Effect.orDie(redis.run(claim))
            })
          ),
          Deferred.await(both)
        )
        assert.deepStrictEqual(seen, [0, 2])
      }).pipe(run)
    )

    it.live("counts a handler that ends interrupted as failed", () =>
      Effect.gen(function* () {
        const stream = yield* fresh
        yield* Effect.forEach([0, 1], (n) => EventStream.append(stream, event(n)))
        const seen: Array<number> = []
        const done = yield* Deferred.make<void>()
        yield* Effect.raceFirst(
          EventStream.consume(stream, { group: "g", consumer: "c", ...quick }, ({ value }) =>
            Effect.suspend(() => {
              seen.push(value.score)
              return value.score === 0 ? Effect.interrupt : Effect.asVoid(Deferred.succeed(done, undefined))
            })
          ),
          Deferred.await(done)
        )
        assert.deepStrictEqual(seen, [0, 0, 0, 1])
        const [letter] = yield* EventStream.deadLetters(stream, { count: 1 })
        assert.strictEqual(letter?.problem, "Interrupted")
      }).pipe(run)
    )

    it.live("refuses options out of their range at once", () =>
      Effect.gen(function* () {
        const stream = yield* fresh
        for (const [options, problem] of [
          [{ batch: 0 }, /^batch/],
          [{ batch: Number.NaN }, /^batch/],
          [{ attempts: 0 }, /^attempts/],
          [{ attempts: 1.5 }, /^attempts/],
          [{ claimAfter: 0 }, /^claimAfter/],
          [{ claimAfter: "Infinity" }, /^claimAfter/],
          [{ retryAfter: 0 }, /^retryAfter/]
        ] as const) {
          const consuming = EventStream.consume(stream, { group: "g", consumer: "c", ...options }, () => Effect.void)
          const { reason } = yield* Effect.flip(consuming)
          assert.match(reason._tag === "InvalidInput" ? reason.problem : reason._tag, problem)
        }
      }).pipe(run)
    )

    it.live("goes on after the stream was deleted with its groups", () =>
      Effect.gen(function* () {
        const stream = yield* fresh
        const redis = yield* Redis
        yield* EventStream.append(stream, event(0))
        const seen = yield* collect(
          stream,
          { group: "g", consumer: "c", from: "now" },
          1,
          Effect.gen(function* () {
            yield* eventually(
              "the group is there",
              Effect.map(EventStream.progress(stream, "g"), (now) => now !== undefined)
            )
            yield* redis.run(Command.del(stream.key))
            yield* EventStream.append(stream, event(2))
          })
        )
        assert.deepStrictEqual(
          seen.map(({ value }) => value),
          [event(2)]
        )
      }).pipe(run)
    )

    it.live("fails on a key of another type", () =>
      Effect.gen(function* () {
        const stream = yield* fresh
        const redis = yield* Redis
        yield* redis.run(Command.set(stream.key, "text"))
        const error = yield* Effect.flip(EventStream.consume(stream, { group: "g", consumer: "c" }, () => Effect.void))
        assert.strictEqual(error.reason._tag, "WrongType")
      }).pipe(run)
    )
  })

  it.live("tells how far a group is, and that there is none", () =>
    Effect.gen(function* () {
      const stream = yield* fresh
      const redis = yield* Redis
      assert.isUndefined(yield* EventStream.progress(stream, "g"))
      yield* Effect.forEach([0, 1, 2], (n) => EventStream.append(stream, event(n)))
      assert.isUndefined(yield* EventStream.progress(stream, "g"))
      yield* redis.run(Command.xgroupCreate(stream.key, "g", "0"))
      yield* redis.run(Command.xreadGroup(stream.key, "g", "c", ">", { count: 1 }))
      assert.deepStrictEqual(yield* EventStream.progress(stream, "g"), { lag: 2, pending: 1 })
    }).pipe(run)
  )

  if (kind === "single") {
    it.live("plays a dead letter again, once", () =>
      Effect.gen(function* () {
        const stream = yield* fresh
        yield* EventStream.append(stream, event(7))
        yield* Effect.raceFirst(
          EventStream.consume(stream, { group: "g", consumer: "c", ...quick }, () => Effect.fail("no")),
          eventually(
            "it is given up",
            Effect.map(EventStream.deadLetters(stream, { count: 1 }), (all) => all.length === 1)
          )
        )
        const [letter] = yield* EventStream.deadLetters(stream, { count: 1 })
        const id = yield* EventStream.replay(stream, letter!.id)
        assert.isUndefined(yield* EventStream.replay(stream, letter!.id))
        assert.deepStrictEqual(yield* EventStream.deadLetters(stream, { count: 1 }), [])
        const seen = yield* collect(stream, { group: "g", consumer: "c" }, 1)
        assert.deepStrictEqual(seen, [{ id: id!, value: event(7) }])
      }).pipe(run)
    )
  }
})
