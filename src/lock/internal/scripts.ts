import * as Result from "effect/Result"
import * as Command from "../../redis/Command.ts"
import * as Key from "../../redis/Key.ts"
import { UnexpectedReply } from "../../redis/RedisError.ts"
import * as Script from "../../redis/Script.ts"
import type { Answer } from "./backend.ts"

/** How long the last token of a key is kept: as long a clock may be behind that was set back. */
const fenceMillis = 86_400_000

/** The time of the server, in microseconds. */
const clock = `
local now
local function clock()
  if not now then
    local time = redis.call('time')
    now = time[1] * 1000000 + time[2]
  end
  return now
end
`

/**
 * Whose turn it is: the first of the queue that still waits, with the channel that it hears. A place in the queue ends
 * when the one who has it does not look for too long. The queue is a sorted set of tokens, the tickets a hash from token
 * to "<until, in microseconds> <how long it lasts, in milliseconds> <channel>". One that has longer than that was made
 * before the clock was set back, by hand or since another server has taken over: it lasts that long from now.
 */
const turn = `
local function ticket(token, till, life, channel)
  redis.call('hset', KEYS[3], token, string.format('%.0f', till) .. ' ' .. life .. ' ' .. channel)
end
local function turn()
  while true do
    local token = redis.call('zrange', KEYS[2], 0, 0)[1]
    if not token then return false end
    local till, life, channel = string.match(redis.call('hget', KEYS[3], token) or '', '^(%d+) (%d+) (.*)$')
    if till and tonumber(till) > clock() then
      local latest = clock() + life * 1000
      if tonumber(till) > latest then ticket(token, latest, life, channel) end
      return token, channel
    end
    redis.call('zrem', KEYS[2], token)
    redis.call('hdel', KEYS[3], token)
  end
end
local function leave(token)
  if redis.call('zrem', KEYS[2], token) == 1 then redis.call('hdel', KEYS[3], token) end
end
-- A key that holds no text is another's: the error that reading it gives is no token.
local holder = redis.pcall('get', KEYS[1])
`

/**
 * Takes the lock when it is free and it is the claimant's turn, or nobody waits; otherwise queues the claimant, if it
 * wants that. The token is the server's time in microseconds, and one more than the last one where that is higher.
 *
 * Most locks are free and nobody waits: that is seen first, with as few commands as can be.
 */
const claimLua = `${clock}
local function fence()
  local next = clock()
  local last = tonumber(redis.call('set', KEYS[4], string.format('%.0f', next), 'px', ${fenceMillis}, 'get'))
  if last and last >= next then
    next = last + 1
    redis.call('set', KEYS[4], string.format('%.0f', next), 'px', ${fenceMillis})
  end
  return next
end
if redis.call('exists', KEYS[2]) == 0 and redis.call('set', KEYS[1], ARGV[1], 'px', ARGV[2], 'nx') then
  return fence()
end
${turn}
if holder == ARGV[1] then
  redis.call('pexpire', KEYS[1], ARGV[2])
  return tonumber(redis.call('get', KEYS[4])) or fence()
end
local first = turn()
if not holder and (not first or first == ARGV[1]) then
  redis.call('set', KEYS[1], ARGV[1], 'px', ARGV[2], 'nx')
  if first then leave(ARGV[1]) end
  return fence()
end
if ARGV[3] then
  if not redis.call('zscore', KEYS[2], ARGV[1]) then
    local last = redis.call('zrange', KEYS[2], -1, -1, 'withscores')[2] or 0
    redis.call('zadd', KEYS[2], last + 1, ARGV[1])
  end
  ticket(ARGV[1], clock() + ARGV[4] * 1000, ARGV[4], ARGV[3])
  redis.call('pexpire', KEYS[2], ARGV[4] * 2)
  redis.call('pexpire', KEYS[3], ARGV[4] * 2)
  first = first or ARGV[1]
end
return {first == ARGV[1] and 1 or 0, redis.call('pttl', KEYS[1])}
`

/** A token when the lock was given, otherwise a list. */
const answer: Command.Decode<Answer> = (reply) => {
  if (typeof reply === "number") return Result.succeed({ _tag: "Granted", fence: BigInt(reply) })
  const [isNext, left] = Array.isArray(reply) ? reply : []
  return typeof left === "number"
    ? Result.succeed({ _tag: "Busy", isNext: isNext === 1, leftMillis: left })
    : Result.fail(new UnexpectedReply({ problem: "not an answer to a claim" }))
}

type Own = Key.Key<string>

type Keys = readonly [lock: Own, queue: Own, tickets: Own, fence: Own]

/** Each lock needs them twice at least, and many use one key again and again. */
const known = new WeakMap<Key.Any, Keys>()

/** The keys of a lock: the text that is the lock, and beside it, in its slot, what others need not know. */
export const keysOf = (key: Key.Any): Keys => {
  const before = known.get(key)
  if (before !== undefined) return before
  const own = key as Own
  const keys: Keys = [own, Key.beside(own, "xd:lock"), Key.beside(own, "xd:waiting"), Key.beside(own, "xd:fence")]
  known.set(key, keys)
  return keys
}

/** See {@link claimLua}. `waiting`: where the claimant hears that it is its turn, and how long it keeps its place. */
export const claim = Script.make({
  name: "lock.claim",
  lua: claimLua,
  keys: ["lock", "queue", "tickets", "fence"],
  args: (token: string, ttlMillis: number, waiting: readonly [channel: string, ticketMillis: number] | undefined) =>
    waiting === undefined ? [token, ttlMillis] : [token, ttlMillis, ...waiting],
  reply: answer,
  idempotent: true
})

/** Lets the lock live so long from now when the token holds it. */
export const extend = Script.make({
  name: "lock.extend",
  lua: `
if redis.pcall('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) else return 0 end
`,
  keys: ["lock"],
  args: (token: string, ttlMillis: number) => [token, ttlMillis],
  reply: Command.flag,
  idempotent: true
})

/** Gives up what a token has, and tells the one whose turn it is. */
export const leave = Script.make({
  name: "lock.leave",
  lua: `
local isOurs = redis.pcall('get', KEYS[1]) == ARGV[1]
if isOurs then
  redis.call('del', KEYS[1])
  -- Who holds it has left the queue when it was given the lock.
  if redis.call('exists', KEYS[2]) == 0 then return 1 end
end
${clock}
${turn}
leave(ARGV[1])
if not holder then
  local first, channel = turn()
  if first then redis.call('publish', channel, '"' .. first .. '"') end
end
return isOurs and 1 or 0
`,
  keys: ["lock", "queue", "tickets"],
  args: (token: string) => [token],
  reply: Command.flag,
  idempotent: true
})

/**
 * Sets a key unless a higher token was seen there. Tokens are compared as decimal text: they may have more digits than a
 * number of Lua's.
 */
export const guardedSet = Script.make({
  name: "lock.guardedSet",
  lua: `
local seen = redis.call('get', KEYS[2]) or '0'
if #ARGV[1] < #seen or (#ARGV[1] == #seen and ARGV[1] < seen) then return 0 end
redis.call('set', KEYS[2], ARGV[1])
if ARGV[3] == '' then redis.call('set', KEYS[1], ARGV[2]) else redis.call('set', KEYS[1], ARGV[2], 'px', ARGV[3]) end
return 1
`,
  keys: ["key", "seen"],
  args: (fence: bigint, value: string | Uint8Array, ttlMillis: number | undefined) => [
    String(fence),
    value,
    ttlMillis ?? ""
  ],
  reply: Command.flag
})
