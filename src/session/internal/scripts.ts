// What is done to one player on Redis, with what it is given and what it replies. See lua.ts.
import * as Result from "effect/Result"
import type * as Channel from "../../redis/Channel.ts"
import * as Command from "../../redis/Command.ts"
import type * as Key from "../../redis/Key.ts"
import { UnexpectedReply } from "../../redis/RedisError.ts"
import * as Script from "../../redis/Script.ts"
import { Question, type Reading } from "./judge.ts"
import type { Notice } from "./members.ts"
import * as Lua from "./lua.ts"
import { recordOf } from "./record.ts"

/** What every change of a player is given: where kicks are published, and how long our record is kept. */
export interface Common {
  readonly channel: Channel.Channel<Notice>
  /** In milliseconds, as every time here. */
  readonly retention: number
}

const common = ({ channel, retention }: Common) => [channel, retention] as const

/** A session of a player that a caller holds. */
export interface Held {
  readonly device: string
  readonly epoch: number
}

const held = ({ device, epoch }: Held) => [device, epoch] as const

const keys = ["value", "record"] as const

const unexpected = (expected: string) => Result.fail(new UnexpectedReply({ problem: `not ${expected}` }))

/**
 * The reply of a script that may have to ask whose the plan's value is; it has changed nothing then. It is run again with
 * the answer as `said`, which is empty at first.
 */
const orQuestion =
  <A>(decode: Command.Decode<A>): Command.Decode<A | Question> =>
  (reply) => {
    const [mark, sum, current, main] = Array.isArray(reply) ? reply.map(optional) : []
    return mark === "?" && sum !== undefined && current !== undefined && main !== undefined
      ? Result.succeed(new Question(sum, current, main))
      : decode(reply)
  }

const optional = (reply: Command.Reply | undefined): string | undefined =>
  typeof reply === "string" ? reply : undefined

const decodeReading =
  (device: string | undefined, now: number): Command.Decode<Reading> =>
  (reply) => {
    const [current, record] = Array.isArray(reply) ? reply.slice(-2).map(optional) : []
    const stored = recordOf(record)
    return Result.succeed({ now, device: device ?? stored.m ?? "", current, record: stored })
  }

/** What a login stores. */
export interface Stored {
  readonly device: string
  readonly ttl: number
  /** The plan's value, and what of it is needed without reading it. */
  readonly value: string
  readonly digest: string
  readonly gateway: string
}

/** What a login gives: the end of a ban, or the epoch, and whether it took the place of a session. */
export interface LoggedIn {
  readonly ban: string | undefined
  readonly epoch: number
  readonly supersedes: boolean
}

const loggedIn: Command.Decode<LoggedIn> = (reply) => {
  if (typeof reply === "string") return Result.succeed({ ban: undefined, epoch: Number(reply), supersedes: false })
  const [first, supersedes] = Array.isArray(reply) ? reply : []
  if (typeof first !== "string") return unexpected("an epoch or a ban")
  return Result.succeed(
    supersedes === undefined
      ? { ban: first, epoch: 0, supersedes: false }
      : { ban: undefined, epoch: Number(first), supersedes: supersedes === 1 }
  )
}

/** Logs in. */
export const Login = Script.make({
  name: "session.login",
  lua: Lua.login,
  keys,
  args: (of: Common, said: string, { device, digest, gateway, ttl, value }: Stored, most: number, floor: number) => [
    ...common(of),
    said,
    device,
    ttl,
    most,
    floor,
    value,
    digest,
    gateway
  ],
  reply: orQuestion(loggedIn)
})

/**
 * Reads what stands for a player's device, or for the newest session, at no time: right unless it depends on one, or the
 * plan's value is absent, which may be one of another type.
 */
export const Peek = <Slot extends string>(
  [value, record]: readonly [Key.Key<Slot>, Key.Key<Slot>],
  device: string | undefined
): Command.Command<Reading, Slot> =>
  Command.make("MGET", [value, record], decodeReading(device, 0), { idempotent: true })

/** Reads it at the server's time. */
export const Read = <Slot extends string>(
  of: readonly [Key.Key<Slot>, Key.Key<Slot>],
  device: string | undefined
): Command.Command<Reading, Slot> =>
  Command.map(ReadNow(of), ({ current, now, record }) => ({
    now,
    device: device ?? record.m ?? "",
    current,
    record
  }))

const ReadNow = Script.make({
  name: "session.read",
  lua: Lua.read,
  keys,
  args: () => [],
  reply: (reply) => {
    const [now, current, record] = Array.isArray(reply) ? reply.map(optional) : []
    return now === undefined
      ? unexpected("a time and two values")
      : Result.succeed({ now: Number(now), current, record: recordOf(record) })
  },
  idempotent: true
})

/** Prolongs a session, by its own time when `slide` is more than 0; whether it was valid. */
export const Touch = Script.make({
  name: "session.touch",
  lua: Lua.touch,
  keys,
  args: (of: Common, said: string, session: Held, floor: number, slide: number) => [
    ...common(of),
    said,
    ...held(session),
    floor,
    slide
  ],
  reply: orQuestion(Command.flag),
  idempotent: true
})

/** Ends one session; whether the player still has one. */
export const Logout = Script.make({
  name: "session.logout",
  lua: Lua.logout,
  keys,
  args: (of: Common, said: string, session: Held) => [...common(of), said, ...held(session)],
  reply: orQuestion(Command.flag),
  idempotent: true
})

/** How sessions are ended by somebody else: `at` is the end of a ban, or the instant of a revocation, or empty. */
export interface Ending {
  readonly reason: "revoked" | "banned"
  readonly device: string | undefined
  readonly at: string
}

/** How many were ended, and whether the player still has a session. */
export const End = Script.make({
  name: "session.end",
  lua: Lua.end,
  keys,
  args: (of: Common, said: string, { at, device, reason }: Ending) => [...common(of), said, reason, device ?? "*", at],
  reply: orQuestion((reply) =>
    Array.isArray(reply) && typeof reply[0] === "number"
      ? Result.succeed({ ended: reply[0], remains: reply[1] === 1 })
      : unexpected("a count and a flag")
  )
})

/** Hands a session over; gives its new epoch, if it was valid. */
export const Move = Script.make({
  name: "session.move",
  lua: Lua.move,
  keys,
  args: (of: Common, said: string, session: Held, to: string, value: string) => [
    ...common(of),
    said,
    ...held(session),
    to,
    value
  ],
  reply: orQuestion((reply) =>
    Result.map(Command.text(reply), (epoch): number | undefined => (epoch === "" ? undefined : Number(epoch)))
  )
})

/** Ends a ban. */
export const Unban = Script.make({
  name: "session.unban",
  lua: Lua.unban,
  keys,
  args: common,
  reply: Command.flag
})
