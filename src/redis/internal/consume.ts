import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schedule from "effect/Schedule"
import * as Command from "../Command.ts"
import type * as Key from "../Key.ts"
import type { Redis, Runner } from "../Redis.ts"
import type { RedisFailure } from "../RedisError.ts"
import { bury, keep } from "./eventScripts.ts"

/** How a group's events are consumed. */
export interface ConsumeOptions {
  readonly group: string
  readonly consumer: string
  /** Where a new group begins: with the first event, unless given, or with those from now on. */
  readonly from?: "first" | "now"
  /** How many events are fetched at once, 1 to 1000; 16 unless given. */
  readonly batch?: number
  /** How often a handler is tried, and how often consumers may die with an event in hand; 5 unless given. */
  readonly attempts?: number
  /** The time before the second attempt, doubled before each further one, up to 10 seconds; 100 ms unless given. */
  readonly retryAfter?: Duration.Input
  /** After what time without a sign of life a consumer's events are taken over; 30 seconds unless given. */
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

const isRejected =
  (...codes: ReadonlyArray<string>) =>
  (error: RedisFailure) =>
    error.reason._tag === "Rejected" && codes.includes(error.reason.code)

/** What a failed handler is remembered by: never by what it says, which may hold what the event holds. */
const problemOf = (cause: Cause.Cause<unknown>): string => {
  const error = Cause.findErrorOption(cause)
  if (error._tag === "None") return "Defect"
  const tag = (error.value as { readonly _tag?: unknown } | null | undefined)?._tag
  return typeof tag === "string" ? tag : "Failure"
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
      Effect.retry({ schedule: reconnect, while: (error: RedisFailure) => error.isRetryable }),
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
      yield* this.leftOver(own)
      while ((yield* Clock.currentTimeMillis) < end) yield* Effect.andThen(this.claim, this.fresh(own))
    })
  )

  private read(own: Runner, after: string): Effect.Effect<ReadonlyArray<Command.Entry>, RedisFailure> {
    const { batch = 16, consumer, group } = this.options
    return own.run(
      Command.xreadGroup(this.key, group, consumer, after, {
        count: batch,
        ...(after === ">" ? { blockMillis } : {})
      })
    )
  }

  private leftOver(own: Runner): Effect.Effect<void, RedisFailure, R> {
    return Effect.gen({ self: this }, function* () {
      let after = beginning
      for (;;) {
        const entries = yield* this.read(own, after)
        const last = entries.at(-1)
        if (last === undefined) return
        yield* this.all(entries, true)
        after = last.id
      }
    })
  }

  private fresh(own: Runner): Effect.Effect<void, RedisFailure, R> {
    return Effect.flatMap(this.read(own, ">"), (entries) => this.all(entries, false))
  }

  /** Takes over what others have left, now and then. */
  private readonly claim: Effect.Effect<void, RedisFailure, R> = Effect.suspend(() =>
    Effect.gen({ self: this }, function* () {
      const now = yield* Clock.currentTimeMillis
      if (now < this.nextClaim) return
      const { batch = 16, consumer, group } = this.options
      const claimed = yield* this.redis.run(
        Command.xautoclaim(this.key, group, consumer, {
          minIdleMillis: this.claimMillis,
          from: this.claimFrom,
          count: batch
        })
      )
      this.claimFrom = claimed.next
      if (claimed.next === beginning) this.nextClaim = now + this.claimMillis / 2
      yield* this.all(claimed.entries, true)
    })
  )

  /** Handles entries in their order, while the group is told that they are in hand. */
  private all(entries: ReadonlyArray<Command.Entry>, wereGiven: boolean): Effect.Effect<void, RedisFailure, R> {
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
          this.one(entry, wereGiven),
          Effect.sync(() => left.delete(entry.id))
        ),
      { discard: true }
    )
    return Effect.raceFirst(handling, keeping)
  }

  private one(entry: Command.Entry, wereGiven: boolean): Effect.Effect<void, RedisFailure, R> {
    return Effect.gen({ self: this }, function* () {
      const text = entry.fields.get("value")
      // Deleted while in hand: there is nothing left to handle, nor to keep.
      if (this.done.has(entry.id) || entry.fields.size === 0) return yield* this.acknowledge(entry.id)
      if (wereGiven && (yield* this.deliveries(entry.id)) > this.attempts) {
        return yield* this.giveUp(entry.id, text ?? "", "Deliveries")
      }
      const handling = text === undefined ? undefined : this.handle(entry.id, text)
      if (handling === undefined) return yield* this.giveUp(entry.id, text ?? "", "Undecodable")
      const exit = yield* this.tried(handling)
      if (Exit.isFailure(exit)) return yield* this.giveUp(entry.id, text ?? "", problemOf(exit.cause))
      this.done.add(entry.id)
      yield* this.acknowledge(entry.id)
    })
  }

  /** Tries a handler, again after a failure or a defect; an interruption is passed on. */
  private tried(handling: Effect.Effect<void, E, R>): Effect.Effect<Exit.Exit<void, E>, never, R> {
    const first = Duration.fromInputUnsafe(this.options.retryAfter ?? "100 millis")
    const schedule = Schedule.min([Schedule.exponential(first), Schedule.spaced("10 seconds")]).pipe(
      Schedule.upTo({ times: this.attempts - 1 })
    )
    return handling.pipe(
      Effect.sandbox,
      Effect.retry({ schedule, while: (cause) => !Cause.hasInterrupts(cause) }),
      Effect.catch(Effect.failCause),
      Effect.exit,
      Effect.filterOrElse(
        (exit) => Exit.isSuccess(exit) || !Cause.hasInterrupts(exit.cause),
        () => Effect.interrupt
      )
    )
  }

  private deliveries(id: string): Effect.Effect<number, RedisFailure> {
    return Effect.map(
      this.redis.run(Command.xpending(this.key, this.options.group, id, id, 1)),
      ([found]) => found?.deliveries ?? 0
    )
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
): Effect.Effect<never, RedisFailure, R> => new Consumer(redis, key, options, handle).run
