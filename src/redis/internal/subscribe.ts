import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Queue from "effect/Queue"
import * as RcMap from "effect/RcMap"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Channel from "../Channel.ts"
import type { Redis, RedisOptions } from "../Redis.ts"
import { Closed, RedisFailure } from "../RedisError.ts"
import { passes } from "./classify.ts"
import type { Nodes } from "./Nodes.ts"
import * as Link from "./link.ts"
import { slotOf } from "./slot.ts"

/** How far a reader may fall behind: messages, and UTF-16 units of their text. */
const limit = { messages: 1024, size: 2 * 1024 * 1024 } as const

/** What a subscriber has not read yet: texts, and `undefined` for a gap. */
type Queued = Queue.Queue<string | undefined, RedisFailure>

class Reader {
  readonly queue: Queued
  private size = 0

  constructor(queue: Queued) {
    this.queue = queue
  }

  offer(text: string | undefined): void {
    const behind = this.size
    this.size += text?.length ?? 0
    // A single message may be larger than what is kept for those who are behind.
    if (Queue.sizeUnsafe(this.queue) >= limit.messages || (behind > 0 && this.size > limit.size)) {
      while (Queue.sizeUnsafe(this.queue) > 0) Queue.takeUnsafe(this.queue)
      this.size = 0
      Queue.offerUnsafe(this.queue, undefined)
    } else Queue.offerUnsafe(this.queue, text)
  }

  read(text: string): void {
    this.size = Math.max(0, this.size - text.length)
  }
}

/** A channel that somebody hears: one subscription on the server, however many hear it. */
class Topic implements Link.Ear {
  isOpen = false
  readonly name: Link.Name
  private readonly readers = new Set<Reader>()
  private failed: Cause.Cause<RedisFailure> | undefined

  constructor(name: Link.Name) {
    this.name = name
  }

  message(text: string): void {
    for (const reader of this.readers) reader.offer(text)
  }

  gap(): void {
    for (const reader of this.readers) reader.offer(undefined)
  }

  fail(cause: Cause.Cause<RedisFailure>): void {
    this.failed = cause
    for (const { queue } of this.readers) Queue.failCauseUnsafe(queue, cause)
  }

  join(reader: Reader): void {
    this.readers.add(reader)
    if (this.failed !== undefined) Queue.failCauseUnsafe(reader.queue, this.failed)
    else if (this.isOpen) reader.offer(undefined)
  }

  leave(reader: Reader): void {
    this.readers.delete(reader)
  }
}

const backoff = Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("400 millis")]).pipe(Schedule.jittered)

/** Where a channel is heard. */
const placeOf = (nodes: Nodes, { isSharded, text }: Link.Name): string =>
  nodes.isCluster && isSharded ? (nodes.addressOfSlot(slotOf(text)) ?? Link.anywhere) : Link.anywhere

/** Connects until it succeeds, or no longer makes sense: the node is none any more that has slots. */
const dial = (nodes: Nodes, place: string) =>
  Effect.andThen(nodes.gate, Link.open(nodes, place)).pipe(
    Effect.tapError(() => nodes.lookedUp),
    Effect.retry({
      schedule: backoff,
      while: (error: RedisFailure) =>
        (passes(error) || error.reason._tag === "Rejected") && (place === Link.anywhere || nodes.isPrimary(place))
    })
  )

/** Subscriptions of one client. They share a connection, on a cluster one to each node that is needed. */
export const make = (
  nodes: Nodes,
  options: RedisOptions
): Effect.Effect<Redis["Service"]["subscribe"], never, Scope.Scope> =>
  Effect.gen(function* () {
    const links: RcMap.RcMap<string, Link.Link, RedisFailure> = yield* RcMap.make({
      lookup: (place: string) =>
        Effect.tap(dial(nodes, place), (link) =>
          Effect.forkScoped(
            Effect.andThen(
              link.lost,
              Effect.suspend(() => RcMap.invalidate(links, place))
            )
          )
        )
    })

    /** Hears the topic on one connection, until that is lost or the channel has moved. */
    const once = (topic: Topic) =>
      Effect.gen(function* () {
        const link = yield* RcMap.get(links, placeOf(nodes, topic.name))
        const moved = topic.name.isSharded ? link.moved : Effect.never
        yield* Effect.raceFirst(
          Effect.andThen(link.hear(topic.name, topic), Effect.raceFirst(link.lost, moved)),
          link.lost
        )
      }).pipe(Effect.scoped)

    const follow = (topic: Topic) =>
      once(topic).pipe(
        Effect.andThen(topic.name.isSharded ? nodes.lookedUp : Effect.void),
        Effect.tapError(() => nodes.lookedUp),
        Effect.retry({ schedule: backoff, while: passes }),
        Effect.forever
      )

    const heard = new Set<Topic>()
    const topics: RcMap.RcMap<string, Topic> = yield* RcMap.make({
      lookup: (id: string) =>
        Effect.gen(function* () {
          const topic = new Topic({ isSharded: id.startsWith("s"), text: id.slice(1) })
          yield* Effect.acquireRelease(
            Effect.sync(() => heard.add(topic)),
            () => Effect.sync(() => heard.delete(topic))
          )
          yield* follow(topic).pipe(
            Effect.catchCause((cause) =>
              Effect.andThen(
                Effect.sync(() => topic.fail(cause)),
                RcMap.invalidate(topics, id)
              )
            ),
            Effect.forkScoped
          )
          return topic
        })
    })

    // Before the fibers end that would otherwise leave their readers waiting.
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        for (const topic of heard) topic.fail(Cause.fail(closed()))
      })
    )

    return <A>(channel: Channel.Typed<A>) =>
      Effect.gen(function* () {
        if (nodes.isClosed) return yield* closed()
        const text = Channel.render(channel, options.keyPrefix)
        const topic = yield* RcMap.get(topics, Link.idOf({ isSharded: channel.isSharded, text }))
        const reader = new Reader(yield* Queue.unbounded<string | undefined, RedisFailure>())
        yield* Effect.acquireRelease(
          Effect.sync(() => topic.join(reader)),
          () => Effect.sync(() => topic.leave(reader))
        )
        return events(channel, reader)
      }).pipe(Stream.unwrap)
  })

const closed = () => new RedisFailure({ reason: new Closed() })

const gap = { _tag: "Gap" } as const

/** What a reader reads, decoded. */
const events = <A>(channel: Channel.Typed<A>, reader: Reader): Stream.Stream<Channel.Event<A>, RedisFailure> => {
  let isLogged = false
  const skip = Effect.suspend(() => {
    const log = isLogged
      ? Effect.void
      : Effect.logWarning("a message of a channel is left out: its schema does not decode it").pipe(
          Effect.annotateLogs({ channel: channel.key.name })
        )
    isLogged = true
    return Effect.as(Effect.andThen(Metric.update(Channel.undecodable, 1), log), [])
  })
  return Stream.fromQueue(reader.queue).pipe(
    Stream.mapEffect((text): Effect.Effect<ReadonlyArray<Channel.Event<A>>> => {
      if (text === undefined) return Effect.succeed([gap])
      reader.read(text)
      const decoded = Channel.decode(channel, text)
      return Result.isSuccess(decoded) ? Effect.succeed([{ _tag: "Message", value: decoded.success }]) : skip
    }),
    Stream.flattenIterable
  )
}
