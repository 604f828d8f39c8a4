import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Command from "./Command.ts"
import { consumer, type ConsumeOptions } from "./internal/consume.ts"
import { appendOnce, dead, replayOne } from "./internal/eventScripts.ts"
import type * as Key from "./Key.ts"
import { Redis } from "./Redis.ts"
import { InvalidInput, RedisFailure } from "./RedisError.ts"

export type { ConsumeOptions } from "./internal/consume.ts"

/**
 * A typed stream of events, kept by the server (Redis Streams): what a subscriber of a channel would miss is still there.
 *
 * - `A`: its events, on the wire the JSON text of what their schema encodes to, in the field `value`
 * - `Slot`: that of its key
 */
export interface EventStream<in out A, in out Slot extends string> {
  readonly key: Key.Key<Slot>
  readonly schema: Schema.Codec<A, string>
}

/** An event with its place. */
export interface Event<out A> {
  /** Milliseconds of the server's clock and a number within them; rises along the stream. */
  readonly id: string
  readonly value: A
}

/**
 * A stream of events at a key. Beside it live `xd:dead:{key}` (see {@link deadLetters}) and `xd:appended:{key}` (the ids
 * of {@link append}).
 */
export const make = <Slot extends string, A, I>(
  key: Key.Key<Slot>,
  schema: Schema.Codec<A, I>
): EventStream<A, Slot> => ({ key, schema: Schema.fromJsonString(schema) as Schema.Codec<A, string> })

const shortest = Duration.seconds(10)
const longest = Duration.days(366)

/** How an event is appended. */
export interface AppendOptions {
  /**
   * Names the event: appended twice under one id it is there once, and both give the same id of the stream. So its reply
   * may be lost: it is repeated by the room, and may be by the caller.
   */
  readonly once?: string
  /**
   * How long `once` is remembered, 10 seconds to a year; 10 minutes unless given. Longer than `command_timeout`, and than
   * the caller tries.
   */
  readonly remember?: Duration.Input
  /** What the stream is cut down to at the same time; nothing is removed unless given. */
  readonly trim?: Command.Trim
}

/**
 * Appends an event and gives its id.
 *
 * Fails with `InvalidInput` when the schema does not encode it or `remember` is out of range, `OutcomeUnknown` when the reply is lost and `once` was
 * not given, and as every operation.
 */
export const append = <A, Slot extends string>(
  stream: EventStream<A, Slot>,
  value: A,
  options: AppendOptions = {}
): Effect.Effect<string, RedisFailure, Redis> =>
  Effect.gen(function* () {
    const redis = yield* Redis
    const text = yield* Effect.mapError(
      Effect.fromResult(Schema.encodeResult(stream.schema)(value)),
      () => new RedisFailure({ reason: new InvalidInput({ problem: "the schema of the stream does not encode it" }) })
    )
    const trim = options.trim === undefined ? {} : { trim: options.trim }
    if (options.once === undefined) return yield* redis.run(Command.xadd(stream.key, { value: text }, trim))
    const remember = Option.getOrElse(Duration.fromInput(options.remember ?? "10 minutes"), () => Duration.zero)
    if (!Duration.between(remember, { minimum: shortest, maximum: longest })) {
      return yield* new RedisFailure({ reason: new InvalidInput({ problem: "remember is not 10 seconds to a year" }) })
    }
    return yield* redis.run(appendOnce(stream.key, text, options.once, Duration.toMillis(remember), options.trim))
  })

/**
 * Gives a group's events to a handler, one after the other, for ever; each event goes to one consumer of the group, and
 * at least once. It is acknowledged when the handler has succeeded. A handler that fails, dies or ends interrupted is tried
 * again in place, after `retryAfter`; after `attempts` the event goes to the dead letters, and so does at once what the schema
 * does not decode. What a consumer left that crashed is taken over by another after `claimAfter`; a handler that runs
 * longer keeps its events.
 *
 * The events of a consumer come in their order; what was taken over comes later. A reconnection, a failover and a flush
 * of the server are survived: the group is made when it is missing, and then reads from the first event. It holds one
 * connection of `pool_size`. Interruption leaves the event in hand unacknowledged, for the next start under this name;
 * only that one is counted as given once more, and after `attempts` of that it goes to the dead letters.
 *
 * - `group`: its name; the events before the group was made are given too, unless `from` is `now`
 * - `consumer`: a name that no other process uses, and that this one uses again after a restart
 *
 * Fails with what another try does not mend, such as `WrongType` or `PermissionDenied`; with `InvalidInput` at once for
 * options out of their ranges; with `Closed` when the client is closed, after the handler that runs.
 */
export const consume = <A, Slot extends string, E, R>(
  stream: EventStream<A, Slot>,
  options: ConsumeOptions,
  handler: (event: Event<A>) => Effect.Effect<void, E, R>
): Effect.Effect<never, RedisFailure, Redis | R> =>
  Effect.flatMap(Redis, (redis) =>
    consumer(redis, stream.key, options, (id, text) => {
      const decoded = Schema.decodeResult(stream.schema)(text)
      return Result.isSuccess(decoded) ? handler({ id, value: decoded.success }) : undefined
    })
  )

/** How far a group is: what no consumer has had yet, undefined where the server cannot tell, and what is in hand. */
export interface Progress {
  readonly lag: number | undefined
  readonly pending: number
}

/** How far a group is, or undefined where there is none. */
export const progress = <A, Slot extends string>(
  stream: EventStream<A, Slot>,
  group: string
): Effect.Effect<Progress | undefined, RedisFailure, Redis> =>
  Effect.flatMap(Redis, (redis) => redis.run(Command.xinfoGroups(stream.key))).pipe(
    Effect.map((groups) => {
      const found = groups.find(({ name }) => name === group)
      return found === undefined ? undefined : { lag: found.lag, pending: found.pending }
    }),
    // There is no stream.
    Effect.catchIf(
      ({ reason }) => reason._tag === "Rejected",
      () => Effect.undefined
    )
  )

/** An event that a group gave up. */
export interface DeadLetter {
  /** In the stream of dead letters, for {@link replay}. */
  readonly id: string
  /** Where the event was. */
  readonly eventId: string
  readonly group: string
  /** What the server kept of the event: JSON text, unless `problem` is `Undecodable`. */
  readonly text: string
  /** The tag of the handler's failure, or `Defect`, `Interrupted`, `Undecodable`, or `Deliveries`: consumers died of it. */
  readonly problem: string
}

/** The dead letters of all groups, from the oldest, up to `count`, after an id. */
export const deadLetters = <A, Slot extends string>(
  stream: EventStream<A, Slot>,
  options: { readonly count: number; readonly after?: string }
): Effect.Effect<ReadonlyArray<DeadLetter>, RedisFailure, Redis> =>
  Effect.gen(function* () {
    const redis = yield* Redis
    const from = options.after === undefined ? "-" : `(${options.after}`
    const entries = yield* redis.run(Command.xrange(dead(stream.key), from, "+", options.count))
    return entries.map(({ fields, id }) => ({
      id,
      eventId: fields.get("id") ?? "",
      group: fields.get("group") ?? "",
      text: fields.get("value") ?? "",
      problem: fields.get("problem") ?? ""
    }))
  })

/**
 * Appends a dead letter's event to its stream again, for all groups, and takes it out of the dead letters; gives its new
 * id, or undefined where there is no such letter.
 */
export const replay = <A, Slot extends string>(
  stream: EventStream<A, Slot>,
  id: string
): Effect.Effect<string | undefined, RedisFailure, Redis> =>
  Effect.flatMap(Redis, (redis) => redis.run(replayOne(stream.key, id)))
