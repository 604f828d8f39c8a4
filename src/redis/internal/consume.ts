import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Command from "../Command.ts"
import type * as Key from "../Key.ts"
import type { Redis, Runner } from "../Redis.ts"
import { InvalidInput, RedisFailure } from "../RedisError.ts"
import { passes } from "./classify.ts"
import { bury, inHand, keep, takeOver } from "./eventScripts.ts"

/** How a group's events are consumed. */
export interface ConsumeOptions {
  readonly group: string
  readonly consumer: string
  /** Where a new group begins: with the first event, unless given, or with those from now on. */
  readonly from?: "first" | "now"
  /** How many events are fetched at once, 1 to 1000; 16 unless given. */
  readonly batch?: number
  /**
   * How often a handler is tried, and how often consumers may die with an event in hand or be interrupted, 1 to 1000; 5
   * unless given.
   */
  readonly attempts?: number
  /** The time before the second attempt, doubled before each further one, up to 10 seconds; 1 ms at least, 100 ms unless given. */
  readonly retryAfter?: Duration.Input
  /** After what time without a sign of life a consumer's events are taken over, 100 ms to a day; 30 s unless given. */
  readonly claimAfter?: Duration.Input
}

/** Handles an event; undefined when its text is none. */
type Handle<E, R> = (id: string, text: string) => Effect.Effect<void, E, R> | undefined

/** How long a reader waits for an event, in milliseconds: so long an interrupted one may hold its connection. */
const blockMillis = 1_000

/**
 * After what time a reader looks anew which server has the stream, in milliseconds: one that was put aside, and is cut off
 * from those that did so, would let it wait for ever.
 */
const sessionMillis = 10_000

const beginning = "0-0"

const reconnect = Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("1 second")]).pipe(Schedule.jittered)

const isCount = (count: number): boolean => Number.isSafeInteger(count) && count >= 1 && count <= 1000

/** Whether a time is at least so many milliseconds, and a day at most. */
const lasts = (input: Duration.Input | undefined, least: number): boolean => {
  if (input === undefined) return true
  const millis = Option.map(Duration.fromInput(input), Duration.toMillis)
  return Option.isSome(millis) && millis.value >= least && millis.value <= 86_400_000
}

/** What of the options is out of its range. */
const problemIn = ({ attempts = 5, batch = 16, claimAfter, retryAfter }: ConsumeOptions): string | undefined => {
  if (!isCount(batch)) return "batch is not 1 to 1000"
  if (!isCount(attempts)) return "attempts is not 1 to 1000"
  if (!lasts(claimAfter, 100)) return "claimAfter is not 100 ms to a day"
  return lasts(retryAfter, 1) ? undefined : "retryAfter is not 1 ms to a day"
}

const isRejected =
  (...codes: ReadonlyArray<string>) =>
  (error: RedisFailure) =>
    error.reason._tag === "Rejected" && codes.includes(error.reason.code)

/** What a failed handler is remembered by: never by what it says, which may hold what the event holds. */
const problemOf = (cause: Cause.Cause<unknown>): string => {
  const error = Cause.findErrorOption(cause)
  if (error._tag === "None") return Cause.hasInterruptsOnly(cause) ? "Interrupted" : "Defect"
  const tag = (error.value as { readonly _tag?: unknown } | null | undefined)?._tag
  return typeof tag === "string" ? tag : "Failure"
}

/** An event that this consumer was given. */
interface Given {
  readonly id: string
  /** How often: once to come to this consumer or the one before, then each time that it was in hand. */
  readonly deliveries: number
  /** What it holds, where that was read with it. */
  readonly fields?: Command.Entry["fields"]
}

class Consumer<Slot extends string, E, R> {
  private readonly redis: Redis["Service"]
  private readonly key: Key.Key<Slot>
  private readonly options: ConsumeOptions
  private readonly handle: Handle<E, R>
  private readonly attempts: number
  private readonly claimMillis: number
  /** Handled, and not known to be acknowledged. */
  private readonly done = new Set<string>()
  private wasThere = false
  private claimFrom = beginning
  private nextClaim = 0

  constructor(redis: Redis["Service"], key: Key.Key<Slot>, options: ConsumeOptions, handle: Handle<E, R>) {
    this.redis = redis
    this.key = key
    this.options = options
    this.handle = handle
    this.attempts = options.attempts ?? 5
    this.claimMillis = Duration.toMillis(Duration.fromInputUnsafe(options.claimAfter ?? "30 seconds"))
  }

  readonly run: Effect.Effect<never, RedisFailure, R> = Effect.suspend(() =>
    this.createGroup.pipe(
      Effect.andThen(this.session),
      // The group was deleted, or the stream, while a read waited.
      Effect.catchIf(isRejected("NOGROUP", "UNBLOCKED"), () => Effect.void),
      Effect.retry({ schedule: reconnect, while: passes }),
      Effect.forever
    )
  )

  private readonly createGroup: Effect.Effect<void, RedisFailure> = Effect.suspend(() => {
    // A group that is missing later was flushed: all that is there then came after that.
    const after = this.options.from === "now" && !this.wasThere ? "$" : beginning
    return this.redis.run(Command.idempotent(Command.xgroupCreate(this.key, this.options.group, after))).pipe(
      Effect.catchIf(isRejected("BUSYGROUP"), () => Effect.void),
      Effect.andThen(Effect.sync(() => void (this.wasThere = true)))
    )
  })

  /** On one connection, for some time or until it fails. What this name had not acknowledged comes first. */
  private readonly session: Effect.Effect<void, RedisFailure, R> = Effect.scoped(
    Effect.gen({ self: this }, function* () {
      const own = yield* this.redis.reserve(this.key)
      const end = (yield* Clock.currentTimeMillis) + sessionMillis
      yield* this.leftOver
      while ((yield* Clock.currentTimeMillis) < end) yield* Effect.andThen(this.claim, this.fresh(own))
    })
  )

  /** What it had not acknowledged. Reading it with XREADGROUP would count as a delivery of all of it. */
  private readonly leftOver: Effect.Effect<void, RedisFailure, R> = Effect.suspend(() =>
    Effect.gen({ self: this }, function* () {
      const { batch = 16, consumer, group } = this.options
      let from = "-"
      for (;;) {
        const page = yield* this.redis.run(Command.xpending(this.key, group, from, "+", batch, consumer))
        const last = page.at(-1)
        if (last === undefined) return
        yield* this.all(page)
        from = `(${last.id}`
      }
    })
  )

  private fresh(own: Runner): Effect.Effect<void, RedisFailure, R> {
    const { batch = 16, consumer, group } = this.options
    const reading = Command.xreadGroup(this.key, group, consumer, ">", { count: batch, blockMillis })
    return Effect.flatMap(own.run(reading), (entries) =>
      this.all(entries.map(({ fields, id }) => ({ id, fields, deliveries: 1 })))
    )
  }

  /** Takes over what others have left, now and then. */
  private readonly claim: Effect.Effect<void, RedisFailure, R> = Effect.suspend(() =>
    Effect.gen({ self: this }, function* () {
      const now = yield* Clock.currentTimeMillis
      if (now < this.nextClaim) return
      const { batch = 16, consumer, group } = this.options
      this.claimFrom = yield* this.redis.run(
        takeOver(this.key, group, consumer, { minIdleMillis: this.claimMillis, from: this.claimFrom, count: batch })
      )
      if (this.claimFrom === beginning) this.nextClaim = now + this.claimMillis / 2
      yield* this.leftOver
    })
  )

  /** Handles entries in their order, while the group is told that they are in hand. */
  private all(entries: ReadonlyArray<Given>): Effect.Effect<void, RedisFailure, R> {
    if (entries.length === 0) return Effect.void
    const { consumer, group } = this.options
    const left = new Set(entries.map(({ id }) => id))
    const keeping = Effect.suspend(() => this.redis.run(keep(this.key, group, consumer, [...left]))).pipe(
      Effect.ignore,
      Effect.delay(Duration.millis(this.claimMillis / 3)),
      Effect.forever
    )
    const handling = Effect.forEach(
      entries,
      (entry) =>
        Effect.andThen(
          this.one(entry),
          Effect.sync(() => left.delete(entry.id))
        ),
      { discard: true }
    )
    return Effect.raceFirst(handling, keeping)
  }

  private one(entry: Given): Effect.Effect<void, RedisFailure, R> {
    return Effect.gen({ self: this }, function* () {
      const { deliveries, id } = entry
      if (this.done.has(id)) return yield* this.acknowledge(id)
      const { consumer, group } = this.options
      // The first delivery was that to this consumer: from there on it is counted how often it was in hand.
      const taken = yield* this.redis.run(inHand(this.key, group, consumer, id, deliveries + 1))
      // Another consumer has taken it over.
      if (!taken) return
      const fields = entry.fields ?? (yield* this.fieldsOf(id))
      // Deleted while in hand: there is nothing left to handle, nor to keep.
      if (fields.size === 0) return yield* this.acknowledge(id)
      const text = fields.get("value")
      if (deliveries > this.attempts) return yield* this.giveUp(id, text ?? "", "Deliveries")
      const handling = text === undefined ? undefined : this.handle(id, text)
      if (handling === undefined) return yield* this.giveUp(id, text ?? "", "Undecodable")
      const exit = yield* this.tried(handling)
      if (Exit.isFailure(exit)) return yield* this.giveUp(id, text ?? "", problemOf(exit.cause))
      this.done.add(id)
      yield* this.acknowledge(id)
    })
  }

  /**
   * Tries a handler, again after a failure, a defect, or an interruption that it made itself: where the consumer is
   * interrupted, nothing of this goes on.
   */
  private tried(handling: Effect.Effect<void, E, R>): Effect.Effect<Exit.Exit<void, E>, never, R> {
    const first = Duration.fromInputUnsafe(this.options.retryAfter ?? "100 millis")
    const schedule = Schedule.min([Schedule.exponential(first), Schedule.spaced("10 seconds")]).pipe(
      Schedule.upTo({ times: this.attempts - 1 })
    )
    return handling.pipe(Effect.sandbox, Effect.retry({ schedule }), Effect.catch(Effect.failCause), Effect.exit)
  }

  private fieldsOf(id: string): Effect.Effect<Command.Entry["fields"], RedisFailure> {
    return Effect.map(this.redis.run(Command.xrange(this.key, id, id)), ([found]) => found?.fields ?? new Map())
  }

  /** Done twice it is done once. */
  private acknowledge(id: string): Effect.Effect<void, RedisFailure> {
    return this.redis
      .run(Command.idempotent(Command.xack(this.key, this.options.group, id)))
      .pipe(Effect.andThen(Effect.sync(() => void this.done.delete(id))))
  }

  private giveUp(id: string, text: string, problem: string): Effect.Effect<void, RedisFailure> {
    const { group } = this.options
    return Effect.andThen(
      this.redis.run(bury(this.key, { group, id, problem, text })),
      Effect.logWarning("an event is given up and kept as a dead letter").pipe(
        Effect.annotateLogs({ stream: this.key.name, group, id, problem })
      )
    )
  }
}

/** See EventStream.consume. */
export const consumer = <Slot extends string, E, R>(
  redis: Redis["Service"],
  key: Key.Key<Slot>,
  options: ConsumeOptions,
  handle: Handle<E, R>
): Effect.Effect<never, RedisFailure, R> => {
  const problem = problemIn(options)
  return problem === undefined
    ? new Consumer(redis, key, options, handle).run
    : Effect.fail(new RedisFailure({ reason: new InvalidInput({ problem }) }))
}
