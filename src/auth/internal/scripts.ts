// What is done to one player, and to the attempts of one account or address, on Redis.
//
// A player is a hash, `xd:auth-player:<id>`: `generation`, `ban` (an instant, or `forever`), and `f:<family>` for each login:
// `expires used current previous salt roles`, where `-` stands for nothing; each role ends with a comma, so that it is never
// that. Instants are milliseconds of the server's clock.
import * as Result from "effect/Result"
import * as Command from "../../redis/Command.ts"
import type * as Key from "../../redis/Key.ts"
import * as Script from "../../redis/Script.ts"
import type { Limit } from "./lockout.ts"
import { aheadMillis } from "./revocations.ts"
import {
  expiredMillis,
  type Keeping,
  type Kept,
  type Barred,
  type Login,
  mostFamilies,
  type Outcome,
  type Place,
  pendingMillis,
  type Renewal,
  type Until,
  type Use
} from "./store.ts"

/** The server's time in milliseconds, and a number as text, since Lua would cut or shorten it. */
export const clock = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function text(number) return string.format('%.0f', number) end
`

const player = `${clock}
local key = KEYS[1]
local function get(field) return redis.call('HGET', key, field) end

local function barred()
  local ban = get('ban')
  if ban == 'forever' or (ban and tonumber(ban) > now) then return ban end
end

local function endAll()
  for _, field in ipairs(redis.call('HKEYS', key)) do
    if string.sub(field, 1, 2) == 'f:' then redis.call('HDEL', key, field) end
  end
end

-- The generation, unless it is no time that has been: above it no other would be.
local function known()
  local generation = tonumber(get('generation'))
  if generation and generation >= 0 and generation <= now + ${aheadMillis} then return generation end
end

-- A generation is a time, so that one which was lost does not come again.
local function raise(least)
  local generation = math.max((known() or 0) + 1, least, now)
  redis.call('HSET', key, 'generation', text(generation))
  return generation
end

-- What has ended up to the floor, the server may have forgotten in a failover: then it ends again.
local function generation(floor)
  local stored = known()
  if stored and stored >= floor then return stored end
  endAll()
  return raise(floor)
end

local function keep(millis)
  if get('ban') == 'forever' then return redis.call('PERSIST', key) end
  if redis.call('PTTL', key) < millis then redis.call('PEXPIRE', key, text(millis)) end
end
`

const texts: Command.Decode<ReadonlyArray<string>> = Command.listOf(Command.text)

const untilOf = (text: string | undefined): Until => (text === "forever" ? text : Number(text))

const keys = ["player"] as const

/** Begins a family. */
export const Begin = Script.make({
  name: "auth.begin",
  lua: `${player}
local field, digest, roles, ttl, floor = 'f:' .. ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local ban = barred()
if ban then return {'barred', ban} end
local current = generation(floor)
local count, first, least = 0, nil, nil
local all = redis.call('HGETALL', key)
for i = 1, #all, 2 do
  if string.sub(all[i], 1, 2) == 'f:' and all[i] ~= field then
    local expires = tonumber(string.match(all[i + 1], '^%d+')) or 0
    if expires + ${expiredMillis} <= now then
      redis.call('HDEL', key, all[i])
    else
      count = count + 1
      if not least or expires < least then first, least = all[i], expires end
    end
  end
end
-- One comes at a time, so that one at most is too many.
if count >= ${mostFamilies} then redis.call('HDEL', key, first) end
local expires = now + ttl
redis.call('HSET', key, field, text(expires) .. ' 0 ' .. digest .. ' - - ' .. roles)
keep(ttl + ${expiredMillis})
return {'kept', text(current), text(expires)}
`,
  keys,
  args: ({ digest, family, roles }: Login, { refreshTtl }: Keeping, floor: number) => [
    family,
    digest,
    roles.length === 0 ? "-" : roles.map((role) => `${role},`).join(""),
    refreshTtl,
    floor
  ],
  reply: (reply) =>
    Result.map(texts(reply), ([tag, first, second]): Kept | Barred =>
      tag === "barred"
        ? { _tag: "Barred", until: untilOf(first) }
        : { _tag: "Kept", generation: Number(first), refreshExpiresAt: Number(second) }
    ),
  // The family is the same.
  idempotent: true
})

const renewal = ([tag, first, second, salt = "", roles = "-"]: ReadonlyArray<string>): Renewal => {
  switch (tag) {
    case "barred":
      return { _tag: "Barred", until: untilOf(first) }
    case "renewed":
      return {
        _tag: "Renewed",
        generation: Number(first),
        refreshExpiresAt: Number(second),
        salt,
        roles: roles === "-" ? [] : roles.split(",").filter((role) => role !== "")
      }
    case "expired":
      return { _tag: "Expired" }
    case "replayed":
      return { _tag: "Replayed" }
    default:
      return { _tag: "Absent" }
  }
}

/** Uses a refresh token. */
export const Renew = Script.make({
  name: "auth.renew",
  lua: `${player}
local field, digest, salt, following = 'f:' .. ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local ttl, grace, floor = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local ban = barred()
if ban then return {'barred', ban} end
if not get(field) then return {'absent'} end
local current = generation(floor)
local stored = get(field)
if not stored then return {'absent'} end
local expires, used, last, previous, before, roles =
  string.match(stored, '^(%d+) (%d+) ([^ ]+) ([^ ]+) ([^ ]+) ([^ ]+)$')
if not expires or tonumber(expires) <= now then return {'expired'} end
if digest == last then
  expires = text(now + ttl)
  before = salt
  redis.call('HSET', key, field, table.concat({expires, text(now), following, digest, salt, roles}, ' '))
  keep(ttl + ${expiredMillis})
elseif digest ~= previous or (before ~= salt and tonumber(used) + grace < now) then
  redis.call('HDEL', key, field)
  return {'replayed'}
end
return {'renewed', text(current), expires, before, roles}
`,
  keys,
  args: ({ digest, family, next, salt }: Use, { grace, refreshTtl }: Keeping, floor: number) => [
    family,
    digest,
    salt,
    next,
    refreshTtl,
    grace,
    floor
  ],
  reply: (reply) => Result.map(texts(reply), renewal),
  // Its salt tells a repetition from another use.
  idempotent: true
})

/** Ends a family. */
export const EndFamily = <Slot extends string>(key: Key.Key<Slot>, family: string): Command.Command<number, Slot> =>
  Command.idempotent(Command.hdel(key, `f:${family}`))

/** Ends all that a player has, and bans it if that is said; gives the generation from which on tokens are good. */
export const EndAll = Script.make({
  name: "auth.end",
  lua: `${player}
local ban, floor = ARGV[1], tonumber(ARGV[2])
endAll()
local kept = ${expiredMillis}
if ban ~= '-' then
  redis.call('HSET', key, 'ban', ban)
  if ban ~= 'forever' then kept = kept + math.max(0, tonumber(ban) - now) end
end
local generation = raise(floor + 1)
keep(kept)
return text(generation)
`,
  keys,
  args: (ban: Until | undefined, floor: number) => [ban ?? "-", floor],
  reply: (reply) => Result.map(Command.text(reply), Number),
  idempotent: true
})

/** Lifts a ban. */
export const Unban = Script.make({
  name: "auth.unban",
  lua: `${player}
if redis.call('HDEL', key, 'ban') == 1 then keep(${expiredMillis}) end
return 1
`,
  keys,
  args: () => [],
  reply: Command.flag,
  idempotent: true
})

const attempts = `${clock}
local failures, pending, id = KEYS[1], KEYS[2], ARGV[1]
local most, window = tonumber(ARGV[2]), tonumber(ARGV[3])

-- How long it is locked, from the failure that locked; forgets what is too old when it is not.
local function look()
  redis.call('ZREMRANGEBYSCORE', pending, '-inf', text(now - ${pendingMillis}))
  local lockedAt = redis.call('ZRANGE', failures, most - 1, most - 1, 'WITHSCORES')[2]
  local left = lockedAt and tonumber(lockedAt) + window - now or 0
  if left > 0 then return left end
  redis.call('ZREMRANGEBYSCORE', failures, '-inf', text(now - window))
  return 0
end

local function add(key, millis)
  redis.call('ZADD', key, 'NX', text(now), id)
  redis.call('PEXPIRE', key, millis)
end
`

/** Takes a place among the attempts that may still fail. */
export const Reserve = Script.make({
  name: "auth.reserve",
  lua: `${attempts}
if redis.call('ZSCORE', pending, id) then return -1 end
local left = look()
if left > 0 then return left end
if redis.call('ZCARD', failures) + redis.call('ZCARD', pending) >= most then return 0 end
add(pending, ${pendingMillis})
return -1
`,
  keys: ["failures", "pending"],
  args: (id: string, { most, windowMillis }: Limit) => [id, most, windowMillis],
  reply: (reply) =>
    Result.map(Command.integer(reply), (left): Place =>
      left > 0 ? { _tag: "Locked", leftMillis: left } : { _tag: left < 0 ? "Taken" : "Busy" }
    ),
  idempotent: true
})

/** Gives a place up. */
export const Settle = Script.make({
  name: "auth.settle",
  lua: `${attempts}
look()
redis.call('ZREM', pending, id)
if ARGV[4] == 'succeeded' then redis.call('DEL', failures) end
if ARGV[4] == 'failed' then add(failures, window) end
return 1
`,
  keys: ["failures", "pending"],
  args: (id: string, { most, windowMillis }: Limit, outcome: Outcome) => [id, most, windowMillis, outcome],
  reply: Command.flag,
  idempotent: true
})
