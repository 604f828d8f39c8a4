// The scripts. Each begins with what kind of board it is for and the functions below. KEYS begin with those of `usesOf`.
import type { Score, View } from "../Leaderboard.ts"
import { storedOf, widthsOf } from "./codec.ts"

/**
 * Which keys the scripts of a board take, first of all and in this order: the sorted set, the hash of what each stored
 * member begins with, the sorted set of the scores, and what the board, or the closed season that is read, knows of
 * itself. A key less is a slot less to compute, and an argument less to send.
 */
export const usesOf = (view: View<Score>): readonly [rows: true, members: boolean, scores: boolean, state: boolean] => {
  const { digits, tick } = widthsOf(view)
  return [true, digits + tick > 0, view.ties === "dense", tick > 0 || view.keepMillis !== undefined]
}

const constants = (view: View<Score>): string => {
  const { digits, tick } = widthsOf(view)
  let number = 0
  const keys = usesOf(view).map((isUsed) => (isUsed ? `KEYS[${++number}]` : "nil"))
  return `
local Z, H, D, M = ${keys.join(", ")}
local N = ${number}
local REVERSED, WIDE, TICK, TIES = ${view.ties === "plan"}, ${digits > 0}, ${tick > 0}, '${view.ties}'
local ZERO = '${view.score === "int64" ? storedOf(view, 0n).digits : ""}'`
}

const functions = `
local call, sub, format = redis.call, string.sub, string.format
local PREFIXED = WIDE or TICK

-- The score of a member and what its stored form begins with, or nil.
local function find(member)
  if not PREFIXED then
    local z = call('ZSCORE', Z, member)
    if not z then return nil end
    return z, ''
  end
  local prefix = call('HGET', H, member)
  if not prefix then return nil end
  return call('ZSCORE', Z, prefix .. member), prefix
end

local function digits(prefix) return WIDE and sub(prefix, 1, 20) or '' end

-- How many have a better score, and how many this or a better one.
local function better(z, part)
  if WIDE then return call('ZLEXCOUNT', Z, '-', '(' .. part) end
  if REVERSED then return call('ZCOUNT', Z, '(' .. z, '+inf') end
  return call('ZCOUNT', Z, '-inf', '(' .. z)
end
local function reached(z, part)
  if WIDE then return call('ZLEXCOUNT', Z, '-', '(' .. part .. '\\255') end
  if REVERSED then return call('ZCOUNT', Z, z, '+inf') end
  return call('ZCOUNT', Z, '-inf', z)
end

local function index(stored) return call(REVERSED and 'ZREVRANK' or 'ZRANK', Z, stored) end
local function rows(from, to) return call(REVERSED and 'ZREVRANGE' or 'ZRANGE', Z, from, to, 'WITHSCORES') end

-- The name of a score in the set of all scores.
local function name(z, part) return WIDE and part or format('%.17g', tonumber(z)) end

local function rank(z, part, at)
  if TIES == 'competition' then return better(z, part) + 1 end
  if TIES == 'dense' then return call('ZRANK', D, name(z, part)) + 1 end
  return at + 1
end

-- What a write is refused with: 'any' is an open season, whichever; '' is no season at all.
local function shut(season)
  if season == '' then return nil end
  local open = M and call('HGET', M, 'season') or ''
  if open == '' or (season ~= 'any' and season ~= '=' .. open) then return { 'closed', open } end
end

local function millis()
  local time = call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end`

// A stored member is compared by its bytes: Lua's own < goes by the server's locale.
const position = `
local function less(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

-- How many come no later than a stored member with a score, which may be gone.
local function position(z, stored)
  if WIDE then return call('ZLEXCOUNT', Z, '-', '[' .. stored) end
  local there = call('ZSCORE', Z, stored)
  if there and tonumber(there) == tonumber(z) then return index(stored) + 1 end
  local low, high = better(z, ''), reached(z, '')
  while low < high do
    local middle = math.floor((low + high) / 2)
    local one = call(REVERSED and 'ZREVRANGE' or 'ZRANGE', Z, middle, middle)[1]
    local before
    if REVERSED then before = less(stored, one) else before = less(one, stored) end
    if before then low = middle + 1 else high = middle end
  end
  return low
end`

const update = `
local season, mode, member, value, z2, part2, operation, keep = unpack(ARGV)
local print = mode .. '|' .. value .. '|' .. member
if operation ~= '' then
  local known = call('GET', KEYS[#KEYS])
  if known then
    local cut = string.find(known, '\\n', 1, true)
    if sub(known, 1, cut - 1) ~= print then return { 'reused' } end
    return cjson.decode(sub(known, cut + 1))
  end
end
local refused = shut(season)
if refused then return refused end

-- Both as 20 digits: halves of 10, which a double holds with their sum.
local function plus(digits, by)
  local sign = sub(by, 1, 1) == '-' and -1 or 1
  local high = tonumber(sub(digits, 1, 10)) + sign * tonumber(sub(by, 2, 11))
  local low = tonumber(sub(digits, 11, 20)) + sign * tonumber(sub(by, 12, 21))
  if low >= 1e10 then high, low = high + 1, low - 1e10 elseif low < 0 then high, low = high - 1, low + 1e10 end
  if high < 0 or high > 1844674407 or (high == 1844674407 and low > 3709551615) then return nil end
  return format('%010.0f%010.0f', high, low)
end

local z, prefix = find(member)
local part = z and digits(prefix)
local before = z and rank(z, part, TIES ~= 'competition' and TIES ~= 'dense' and index(prefix .. member))
if mode == 'increment' then
  if WIDE then
    part2 = plus(part or ZERO, value)
    if not part2 then return { 'range' } end
  else
    local sum = tonumber(z or '0') + tonumber(value)
    if not (math.abs(sum) <= 9007199254740991) then return { 'range' } end
    z2 = sum == 0 and '0' or format('%.17g', sum)
  end
end

local function isBetter()
  if WIDE then
    local a, b = tonumber(sub(part2, 1, 10)), tonumber(sub(part, 1, 10))
    if a ~= b then return a < b end
    return tonumber(sub(part2, 11)) < tonumber(sub(part, 11))
  end
  if REVERSED then return tonumber(z2) > tonumber(z) end
  return tonumber(z2) < tonumber(z)
end

local stays = z and (mode == 'add' or (part == part2 and tonumber(z) == tonumber(z2)) or (mode == 'best' and not isBetter()))
local after
if stays then
  z2, part2, after = z, part, before
else
  local prefix2 = part2
  if TICK then
    local time = call('TIME')
    local tick = time[1] * 1000000 + time[2]
    local last = tonumber(call('HGET', M, 'tick') or '0')
    if tick <= last then tick = last + 1 end
    local text = format('%016.0f', tick)
    call('HSET', M, 'tick', text)
    prefix2 = prefix2 .. text
  end
  if z and PREFIXED then call('ZREM', Z, prefix .. member) end
  call('ZADD', Z, z2, prefix2 .. member)
  if PREFIXED then call('HSET', H, member, prefix2) end
  if TIES == 'dense' then
    if z and better(z, part) == reached(z, part) then call('ZREM', D, name(z, part)) end
    call('ZADD', D, z2, name(z2, part2))
  end
  after = rank(z2, part2, TIES ~= 'competition' and TIES ~= 'dense' and index(prefix2 .. member))
end
local reply = { z or false, part or false, before or false, z2, part2, after }
if operation ~= '' then call('SET', KEYS[#KEYS], print .. '\\n' .. cjson.encode(reply), 'PX', keep) end
return reply`

const remove = `
local season, member = unpack(ARGV)
local refused = shut(season)
if refused then return refused end
local z, prefix = find(member)
if not z then return false end
local part = digits(prefix)
local before = rank(z, part, index(prefix .. member))
call('ZREM', Z, prefix .. member)
if PREFIXED then call('HDEL', H, member) end
if TIES == 'dense' and better(z, part) == reached(z, part) then call('ZREM', D, name(z, part)) end
return { z, part, before }`

// A season that has expired, or is still open, has no result: that is not an empty one.
const present = `
if ARGV[1] == 'frozen' and (call('HGET', M, 'state') or 'open') == 'open' then return { 'missing' } end`

// The ends of a range of scores: z and digits of the best and of the worst, z empty for an open end.
const span = `
local function span(z, part, z2, part2)
  local from = z == '' and 0 or better(z, part)
  local to = z2 == '' and call('ZCARD', Z) or reached(z2, part2)
  return from, math.max(from, to)
end`

const slice = `
local _, mode, a, b, c, d, offset, limit = unpack(ARGV)
local total, from, to = nil, 0, 0
if mode == 'offset' then
  from = tonumber(offset)
  to = from + limit
elseif mode == 'after' then
  from = position(a, b)
  to = from + limit
elseif mode == 'around' then
  local z, prefix = find(a)
  if not z then return { 0, 0, 0, {} } end
  local at = index(prefix .. a)
  from, to = math.max(0, at - limit), at + limit + 1
else
  local first, last = span(a, b, c, d)
  total, from = last - first, first + offset
  to = math.min(last, from + limit)
end
total = total or call('ZCARD', Z)
if from >= to or from >= call('ZCARD', Z) then return { total, 0, 0, {} } end
local found = rows(format('%.0f', from), format('%.0f', to - 1))
local z, part = found[2], digits(found[1])
return { total, from, rank(z, part, from), found }`

const many = `
local found = { call('ZCARD', Z) }
for i = 2, #ARGV do
  local z, prefix = find(ARGV[i])
  if z then
    local part = digits(prefix)
    local at = index(prefix .. ARGV[i])
    local ahead = (TIES == 'competition' or TIES == 'dense') and better(z, part) or at
    found[i] = { prefix .. ARGV[i], z, at, rank(z, part, at), ahead }
  else
    found[i] = false
  end
end
return found`

const count = `
if ARGV[2] == '' and ARGV[4] == '' then return call('ZCARD', Z) end
local from, to = span(ARGV[2], ARGV[3], ARGV[4], ARGV[5])
return to - from`

// KEYS go on with the list of seasons, then of the closing one what it knows of itself, its sorted set, its hash and its
// scores, then what the opening one knows of itself. Nothing is written before everything was checked.
const turn = `
local closing, opening = ARGV[1], ARGV[2]
local list, closed, opened = KEYS[N + 1], KEYS[N + 2], KEYS[N + 6]
local open = call('HGET', M, 'season') or ''
local closes = closing ~= '' and open == closing
if closing ~= '' and not closes and call('EXISTS', closed) == 0 then return { 'missing' } end
local opens = opening ~= '' and open ~= opening
if opens and open ~= '' and not closes then return { 'open', open } end
if opens and call('EXISTS', opened) == 1 then return { 'closed', open } end

local function freeze(key, result)
  if key and call('EXISTS', key) == 1 then call('RENAME', key, result) end
end
if closes then
  freeze(Z, KEYS[N + 3])
  freeze(H, KEYS[N + 4])
  freeze(D, KEYS[N + 5])
  call('HSET', closed, 'state', 'closed', 'closed', format('%.0f', millis()), 'members', call('ZCARD', KEYS[N + 3]))
  call('HDEL', M, 'season')
end
if opens then
  local number = call('HINCRBY', M, 'seasons', 1)
  call('HSET', opened, 'state', 'open', 'opened', format('%.0f', millis()))
  call('ZADD', list, number, opening)
  call('HSET', M, 'season', opening)
end
return { 'done' }`

// KEYS go on with what the season knows of itself, its sorted set, its hash, its scores.
const advance = `
local I = KEYS[N + 1]
local state = call('HGET', I, 'state')
if not state then return { 'missing' } end
if tonumber(ARGV[1]) > tonumber(call('HGET', I, 'rewarded') or '0') then call('HSET', I, 'rewarded', ARGV[1]) end
if ARGV[2] == 'settled' and state == 'closed' then
  call('HSET', I, 'state', 'settled')
  for i = 1, 4 do call('PEXPIRE', KEYS[N + i], ARGV[3]) end
end
return { 'done' }`

/** What a season knows of itself; one that has expired leaves the list. KEYS: the list, what it knows of itself. */
export const season = `
local one = redis.call('HMGET', KEYS[2], 'state', 'opened', 'closed', 'members', 'rewarded')
if one[1] then return one end
redis.call('ZREM', KEYS[1], ARGV[1])
return false`

/** The texts of the scripts for a kind of board. */
export const textsOf = (view: View<Score>) => {
  const head = `${constants(view)}\n${functions}\n`
  return {
    update: head + update,
    remove: head + remove,
    slice: head + present + position + span + slice,
    many: head + present + many,
    count: head + present + span + count,
    turn: head + turn,
    advance: head + advance
  }
}
