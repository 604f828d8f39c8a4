// What a stream of events does in one step on the server.
import * as Command from "../Command.ts"
import * as Key from "../Key.ts"
import * as Script from "../Script.ts"

/** The stream of dead letters of a stream. */
export const dead = <Slot extends string>(key: Key.Key<Slot>): Key.Key<Slot> => Key.beside(key, "xd:dead")

const appendScript = Script.make({
  name: "eventStream.append",
  keys: ["stream", "appended", "appendedAt"],
  lua: `
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local old = redis.call("ZRANGE", KEYS[3], "-inf", now, "BYSCORE", "LIMIT", 0, 100)
if #old > 0 then
  redis.call("HDEL", KEYS[2], unpack(old))
  redis.call("ZREM", KEYS[3], unpack(old))
end
local ends = redis.call("ZSCORE", KEYS[3], ARGV[1])
if ends and tonumber(ends) > now then return redis.call("HGET", KEYS[2], ARGV[1]) end
local call = { "XADD", KEYS[1] }
for index = 4, #ARGV do call[#call + 1] = ARGV[index] end
call[#call + 1] = "*"
call[#call + 1] = "value"
call[#call + 1] = ARGV[3]
local id = redis.call(unpack(call))
redis.call("HSET", KEYS[2], ARGV[1], id)
redis.call("ZADD", KEYS[3], now + ARGV[2], ARGV[1])
return id`,
  args: (once: string, rememberMillis: number, text: string, trim: Command.Trim | undefined) => [
    once,
    Math.ceil(rememberMillis),
    text,
    ...(trim === undefined ? [] : Command.trimArgs(trim))
  ],
  reply: Command.text,
  idempotent: true
})

/** Appends an event unless one of this id was; gives where it is. */
export const appendOnce = <Slot extends string>(
  key: Key.Key<Slot>,
  text: string,
  once: string,
  rememberMillis: number,
  trim: Command.Trim | undefined
): Command.Command<string, Slot> =>
  appendScript(
    [key, Key.beside(key, "xd:appended"), Key.beside(key, "xd:appended-at")],
    once,
    rememberMillis,
    text,
    trim
  )

const buryScript = Script.make({
  name: "eventStream.bury",
  keys: ["stream", "dead"],
  lua: `
if redis.call("XACK", KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
redis.call("XADD", KEYS[2], "*", "id", ARGV[2], "group", ARGV[1], "problem", ARGV[3], "value", ARGV[4])
return 1`,
  args: (group: string, id: string, problem: string, text: string) => [group, id, problem, text],
  reply: Command.flag,
  // What is not pending any more is left alone.
  idempotent: true
})

/** Acknowledges an event and makes it a dead letter; gives whether the group was still waiting for it. */
export const bury = <Slot extends string>(
  key: Key.Key<Slot>,
  letter: { readonly group: string; readonly id: string; readonly problem: string; readonly text: string }
): Command.Command<boolean, Slot> => buryScript([key, dead(key)], letter.group, letter.id, letter.problem, letter.text)

const keepScript = Script.make({
  name: "eventStream.keep",
  keys: ["stream"],
  lua: `
for index = 3, #ARGV do
  local pending = redis.call("XPENDING", KEYS[1], ARGV[1], ARGV[index], ARGV[index], 1, ARGV[2])
  if #pending > 0 then redis.call("XCLAIM", KEYS[1], ARGV[1], ARGV[2], 0, ARGV[index], "JUSTID") end
end
return "OK"`,
  args: (group: string, consumer: string, ids: ReadonlyArray<string>) => [group, consumer, ...ids],
  reply: Command.ok,
  idempotent: true
})

/** Tells the group that a consumer still has these events in hand. */
export const keep = <Slot extends string>(
  key: Key.Key<Slot>,
  group: string,
  consumer: string,
  ids: ReadonlyArray<string>
): Command.Command<void, Slot> => keepScript([key], group, consumer, ids)

const inHandScript = Script.make({
  name: "eventStream.inHand",
  keys: ["stream"],
  lua: `
local pending = redis.call("XPENDING", KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1, ARGV[2])
if #pending == 0 then return 0 end
redis.call("XCLAIM", KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], "RETRYCOUNT", ARGV[4], "JUSTID")
return 1`,
  args: (group: string, consumer: string, id: string, deliveries: number) => [group, consumer, id, deliveries],
  reply: Command.flag,
  // It says which delivery it is, so that it is counted once.
  idempotent: true
})

/** Takes down that a consumer begins with an event, and how often it was given by now; gives whether it has it. */
export const inHand = <Slot extends string>(
  key: Key.Key<Slot>,
  group: string,
  consumer: string,
  id: string,
  deliveries: number
): Command.Command<boolean, Slot> => inHandScript([key], group, consumer, id, deliveries)

/**
 * Gives a consumer what others have had for too long; gives where to go on. It does not count as a delivery, and what was
 * taken over in vain is found among what the consumer has: so it may be repeated.
 */
export const takeOver = <Slot extends string>(
  key: Key.Key<Slot>,
  group: string,
  consumer: string,
  options: { readonly minIdleMillis: number; readonly from: string; readonly count: number }
): Command.Command<string, Slot> =>
  Command.make(
    "XAUTOCLAIM",
    [key, group, consumer, Math.ceil(options.minIdleMillis), options.from, "COUNT", options.count, "JUSTID"],
    (reply) => Command.text(Array.isArray(reply) ? reply[0] : reply),
    { idempotent: true }
  )

const replayScript = Script.make({
  name: "eventStream.replay",
  keys: ["stream", "dead"],
  lua: `
local found = redis.call("XRANGE", KEYS[2], ARGV[1], ARGV[1])
if #found == 0 then return false end
local fields = found[1][2]
for index = 1, #fields, 2 do
  if fields[index] == "value" then
    local id = redis.call("XADD", KEYS[1], "*", "value", fields[index + 1])
    redis.call("XDEL", KEYS[2], ARGV[1])
    return id
  end
end
return false`,
  args: (id: string) => [id],
  reply: Command.optionalText
})

/** Appends a dead letter's event again; gives where it is, or undefined without such a letter. */
export const replayOne = <Slot extends string>(
  key: Key.Key<Slot>,
  id: string
): Command.Command<string | undefined, Slot> => replayScript([key, dead(key)], id)
