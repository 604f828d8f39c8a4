import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Channel from "../../redis/Channel.ts"
import * as Command from "../../redis/Command.ts"
import * as Key from "../../redis/Key.ts"
import { Redis } from "../../redis/Redis.ts"
import { type RedisFailure, UnexpectedReply } from "../../redis/RedisError.ts"
import * as Script from "../../redis/Script.ts"
import * as Uuid from "../../utils/Uuid.ts"
import {
  checkMessage,
  checkSequence,
  keptFor,
  keptMessages,
  numberedFor,
  type Place,
  playerOf,
  sinceOf
} from "./messages.ts"
import {
  type Heard,
  InvalidInput,
  Message,
  Numbered,
  OutcomeUnknown,
  Push,
  PushError,
  Refused,
  Unavailable
} from "./Push.ts"

/** What a failure of Redis is for who pushes. */
export const fromRedis = ({ partial, reason }: RedisFailure): PushError => {
  const detail = "detail" in reason ? reason.detail : reason._tag
  // A script that failed on its way is not undone.
  const isUnknown = partial === true || reason._tag === "OutcomeUnknown" || reason._tag === "UnexpectedReply"
  if (isUnknown) return new PushError({ reason: new OutcomeUnknown({ detail }) })
  return new PushError({ reason: reason.isRetryable ? new Unavailable({ detail }) : new Refused({ detail }) })
}

/** What is kept of a player, in the slot of its session: the messages, and the number of the last one with its series. */
const keysOf = (session: Key.Key<"session">) =>
  [session, Key.beside(session, "xd:push"), Key.beside(session, "xd:push-series")] as const

const text = `local function text(number) return string.format('%.0f', number) end`

/**
 * Keeps a message; gives its number and series, which is a new one when there is none, and the gateway that the player's newest session names, or none. A value of the plan
 * that does not read names none: this only decides who is told at once.
 */
const Append = Script.make({
  name: "push.append",
  lua: `${text}
if redis.call('HSETNX', KEYS[3], 'series', ARGV[5]) == 1 then redis.call('DEL', KEYS[2]) end
local number = redis.call('HINCRBY', KEYS[3], 'number', 1)
redis.call('RPUSH', KEYS[2], '{"sequence":' .. text(number) .. ',' .. ARGV[1])
redis.call('LTRIM', KEYS[2], text(-ARGV[2]), '-1')
redis.call('PEXPIRE', KEYS[2], ARGV[3])
redis.call('PEXPIRE', KEYS[3], ARGV[4])
local value, gateway = redis.pcall('GET', KEYS[1]), ''
if type(value) == 'string' then
  local reads, session = pcall(cjson.decode, value)
  if reads and type(session) == 'table' and type(session.gateway) == 'string' then gateway = session.gateway end
end
return { text(number), redis.call('HGET', KEYS[3], 'series'), gateway }
`,
  keys: ["session", "messages", "series"],
  args: ({ newSeries, payload, topic }: Message & { readonly newSeries: string }) => [
    JSON.stringify({ topic, payload }).slice(1),
    keptMessages,
    Duration.toMillis(keptFor),
    Duration.toMillis(numberedFor),
    newSeries
  ],
  reply: (reply) => {
    const [number, series, gateway] = Array.isArray(reply) ? reply : []
    return typeof number === "string" && typeof series === "string" && typeof gateway === "string"
      ? Result.succeed({ sequence: Number(number), series, gateway })
      : Result.fail(new UnexpectedReply({ problem: "not a number, a series and a gateway" }))
  }
})

const decodeNumbered = Schema.decodeUnknownResult(Schema.fromJsonString(Numbered))

/** The number of the last message and its series, and the messages after a number; all when that is of another series. */
const Read = Script.make({
  name: "push.read",
  lua: `${text}
local last = redis.call('HMGET', KEYS[3], 'series', 'number')
local series, number = last[1] or '', tonumber(last[2] or '0')
local after = (ARGV[3] == '' or ARGV[3] == series) and ARGV[1] or 0
local count = math.min(number - after, ARGV[2])
return { text(number), series, count > 0 and redis.call('LRANGE', KEYS[2], text(-count), '-1') or {} }
`,
  keys: ["session", "messages", "series"],
  args: ({ sequence, series }: Place) => [sequence, keptMessages, series],
  reply: (reply) => {
    const [number, series, messages] = Array.isArray(reply) ? reply : []
    return typeof number === "string" && typeof series === "string" && Array.isArray(messages)
      ? Result.succeed({
          last: { sequence: Number(number), series },
          // One that does not read is missing.
          messages: messages
            .map((text) => decodeNumbered(text))
            .filter(Result.isSuccess)
            .map(({ success }) => success)
        })
      : Result.fail(new UnexpectedReply({ problem: "not a number, a series and messages" }))
  },
  idempotent: true
})

const ToPlayer = Schema.Struct({ playerId: Schema.String, series: Schema.String, message: Numbered })

const everybody = Result.getOrThrow(Channel.make("xd:push-broadcast", Message)())

/** Where a gateway hears the messages to its players: a channel that only the node of its slot carries. */
const channelOf = (gateway: string) =>
  Result.mapBoth(Key.make("xd:gateway", gateway), {
    onFailure: () => new PushError({ reason: new InvalidInput({ problem: "the gateway has no name" }) }),
    onSuccess: (key) => Channel.sharded(key, "xd:push", ToPlayer)
  })

const gap: Heard = { _tag: "Gap" }

/** What two subscriptions hear together, once both do. A gap of the broadcasts is no news: they are not kept. */
const together = (): {
  readonly own: (event: Channel.Event<typeof ToPlayer.Type>) => ReadonlyArray<Heard>
  readonly all: (event: Channel.Event<Message>) => ReadonlyArray<Heard>
} => {
  let hearsOwn = false
  let hearsAll = false
  return {
    own: (event) => {
      if (event._tag === "Message") return hearsAll ? [{ _tag: "Message", ...event.value }] : []
      hearsOwn = true
      return hearsAll ? [gap] : []
    },
    all: (event) => {
      if (event._tag === "Message") return hearsOwn ? [{ _tag: "Broadcast", message: event.value }] : []
      const isNews = !hearsAll && hearsOwn
      hearsAll = true
      return isNews ? [gap] : []
    }
  }
}

/**
 * Messages on Redis. A message is kept in the slot of the player's session, which says where the player is connected, and
 * published to that gateway; where that fails, the gateway finds it with the player's next message, or by looking.
 */
export const makeLive: Effect.Effect<Push["Service"], never, Redis> = Effect.gen(function* () {
  const redis = yield* Redis
  const tell = (gateway: string, heard: typeof ToPlayer.Type) => {
    const command = Result.flatMap(channelOf(gateway), (channel) => Command.publish(channel, heard))
    // A second one is known by its number.
    return Result.isSuccess(command) ? Effect.ignore(redis.run(Command.idempotent(command.success))) : Effect.void
  }
  return {
    send: Effect.fnUntraced(function* (playerId, message) {
      const player = yield* Effect.fromResult(playerOf(playerId))
      const { payload, topic } = yield* Effect.fromResult(checkMessage(message))
      const append = Append(keysOf(player), { topic, payload, newSeries: yield* Uuid.v4 })
      const { gateway, sequence, series } = yield* Effect.mapError(redis.run(append), fromRedis)
      if (gateway !== "") yield* tell(gateway, { playerId, series, message: { sequence, topic, payload } })
      return sequence
    }),
    broadcast: Effect.fnUntraced(function* (message) {
      const { payload, topic } = yield* Effect.fromResult(checkMessage(message))
      const command = yield* Effect.mapError(
        Effect.fromResult(Command.publish(everybody, { topic, payload })),
        fromRedis
      )
      yield* Effect.mapError(redis.run(command), fromRedis)
    }),
    since: Effect.fnUntraced(function* (playerId, sequence, series = "") {
      const player = yield* Effect.fromResult(playerOf(playerId))
      const after = { series, sequence: yield* Effect.fromResult(checkSequence(sequence)) }
      const { last, messages } = yield* Effect.mapError(redis.run(Read(keysOf(player), after)), fromRedis)
      return sinceOf(after, last, messages)
    }),
    listen: (gateway) =>
      Stream.unwrap(
        Effect.map(Effect.fromResult(channelOf(gateway)), (channel) => {
          const { all, own } = together()
          return Stream.merge(
            Stream.map(redis.subscribe(channel), own),
            Stream.map(redis.subscribe(everybody), all)
          ).pipe(Stream.flattenIterable, Stream.mapError(fromRedis))
        })
      )
  }
})

/** Messages on Redis. See {@link makeLive}. */
export const PushLive: Layer.Layer<Push, never, Redis> = Layer.effect(Push, makeLive)
