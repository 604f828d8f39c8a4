import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Uuid from "../../utils/Uuid.ts"
import { checkMessage, checkSequence, keptFor, keptMessages, numberedFor, playerOf, sinceOf } from "./messages.ts"
import { type Heard, type Numbered, Push } from "./Push.ts"

/** How many events wait for a gateway at most. */
const mostEvents = 1_024

interface Log {
  readonly series: string
  sequence: number
  messages: Array<Numbered>
  /** When the last one was sent, in milliseconds of the epoch. */
  sentAt: number
}

const noLog = { series: "", sequence: 0, messages: [] }

/** Gateways that listen; one that falls too far behind loses what waits for it, and is told so. */
const makeListeners = () => {
  const queues = new Set<Queue.Queue<Heard>>()
  const tell = (heard: Heard) => {
    for (const queue of queues) {
      if (Queue.sizeUnsafe(queue) < mostEvents) Queue.offerUnsafe(queue, heard)
      else {
        while (Queue.sizeUnsafe(queue) > 0) Queue.takeUnsafe(queue)
        Queue.offerUnsafe(queue, { _tag: "Gap" })
      }
    }
  }
  const listen = Stream.unwrap(
    Effect.map(
      Effect.acquireRelease(
        Effect.map(Queue.unbounded<Heard>(), (queue) => {
          Queue.offerUnsafe(queue, { _tag: "Gap" })
          queues.add(queue)
          return queue
        }),
        (queue) => Effect.sync(() => queues.delete(queue))
      ),
      Stream.fromQueue
    )
  )
  return { listen, tell }
}

/**
 * Messages in memory, for development and tests: those of this process alone. Every gateway hears the messages to all
 * players. They are gone when the scope closes.
 */
export const makeEmbedded: Effect.Effect<Push["Service"], never, Scope.Scope> = Effect.gen(function* () {
  const clock = yield* Clock.Clock
  const now = () => clock.currentTimeMillisUnsafe()
  const logs = new Map<string, Log>()
  const { listen, tell } = makeListeners()

  const isOver = ({ sentAt }: Log, kept: Duration.Duration) => sentAt + Duration.toMillis(kept) <= now()
  /** What is still kept of a player. */
  const logOf = (playerId: string): Log | undefined => {
    const log = logs.get(playerId)
    if (log === undefined || isOver(log, numberedFor)) return undefined
    if (isOver(log, keptFor)) log.messages = []
    return log
  }
  const purge = Effect.sync(() => {
    for (const playerId of logs.keys()) if (logOf(playerId) === undefined) logs.delete(playerId)
  })
  yield* Effect.forkScoped(Effect.repeat(purge, Schedule.spaced("1 minute")))

  return {
    send: Effect.fnUntraced(function* (playerId, message) {
      yield* Effect.fromResult(playerOf(playerId))
      const { payload, topic } = yield* Effect.fromResult(checkMessage(message))
      const newSeries = yield* Uuid.v4
      const log = logOf(playerId) ?? { series: newSeries, sequence: 0, messages: [], sentAt: 0 }
      const numbered = { sequence: log.sequence + 1, topic, payload }
      log.sequence = numbered.sequence
      log.messages = [...log.messages.slice(1 - keptMessages), numbered]
      log.sentAt = now()
      logs.set(playerId, log)
      tell({ _tag: "Message", playerId, series: log.series, message: numbered })
      return numbered.sequence
    }),
    broadcast: (message) =>
      Effect.map(Effect.fromResult(checkMessage(message)), ({ payload, topic }) =>
        tell({ _tag: "Broadcast", message: { topic, payload } })
      ),
    since: Effect.fnUntraced(function* (playerId, sequence, series = "") {
      yield* Effect.fromResult(playerOf(playerId))
      const after = yield* Effect.fromResult(checkSequence(sequence))
      const { messages, ...last } = logOf(playerId) ?? noLog
      return sinceOf({ series, sequence: after }, { series: last.series, sequence: last.sequence }, messages)
    }),
    listen: () => listen
  }
})

/** Messages in memory. See {@link makeEmbedded}. */
export const PushEmbedded: Layer.Layer<Push> = Layer.effect(Push, makeEmbedded)
