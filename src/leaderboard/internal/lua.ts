// The scripts. Each begins with what kind of board it is for and the functions below. KEYS begin with those of `usesOf`.
import type { Score, View } from "../Leaderboard.ts"
import { storedOf, widthsOf } from "./codec.ts"
import { advance, less, turn } from "./luaSeasons.ts"
import { lastBytes } from "./store.ts"

/**
 * Which keys the scripts of a board take, first of all and in this order: the sorted set, the hash of what each stored
 * member begins with, the sorted set of the scores, and what the board, or the closed season that is read, knows of
 * itself. A key less is a slot less to compute, and an argument less to send.
 */
export const usesOf = (view: View<Score>): readonly [rows: true, members: boolean, scores: boolean, state: boolean] => {
  const { digits, tick } = widthsOf(view)
  return [true, digits + tick > 0, view.ties === "dense", view.keepMillis !== undefined]
}

/** What of a board its scripts are written by. A choice that is made here costs nothing in the script. */
const kindOf = (view: View<Score>) => {
  const { digits, tick } = widthsOf(view)
  return {
    isWide: digits > 0,
    hasTick: tick > 0,
    isPrefixed: digits + tick > 0,
    hasSeasons: view.keepMillis !== undefined,
    isReversed: view.ties === "plan",
    isShared: view.ties === "competition" || view.ties === "dense",
    ties: view.ties,
    zero: view.score === "int64" ? storedOf(view, 0n).digits : ""
  }
}

type Kind = ReturnType<typeof kindOf>

const constants = (view: View<Score>): string => {
  let number = 0
  const keys = usesOf(view).map((isUsed) => (isUsed ? `KEYS[${++number}]` : "nil"))
  return `
local call, sub, format = redis.call, string.sub, string.format
local Z, H, D, M = ${keys.join(", ")}
local N = ${number}`
}

/** The digits of a score that a stored member begins with. */
const digitsOf = ({ isWide }: Kind, prefix: string): string => (isWide ? `sub(${prefix}, 1, 20)` : "''")

/** What a caller is told of a score. */
const scoreOf = ({ isWide }: Kind, z: string, part: string): string => (isWide ? part : z)

const indexOf = ({ isReversed }: Kind, stored: string): string =>
  `call('${isReversed ? "ZREVRANK" : "ZRANK"}', Z, ${stored})`

/** How many have a better score. */
const betterThan = ({ isReversed, isWide }: Kind, z: string, part: string): string =>
  isWide
    ? `call('ZLEXCOUNT', Z, '-', '(' .. ${part})`
    : isReversed
      ? `call('ZCOUNT', Z, '(' .. ${z}, '+inf')`
      : `call('ZCOUNT', Z, '-inf', '(' .. ${z})`

/** The name of a score in the set of all scores. */
const nameOf = ({ isWide }: Kind, z: string, part: string): string =>
  isWide ? part : `format('%.17g', tonumber(${z}))`

/** The rank of a score, or of the member at an index. */
const rankOf = (kind: Kind, z: string, part: string, index: string): string => {
  if (kind.ties === "competition") return `${betterThan(kind, z, part)} + 1`
  return kind.ties === "dense" ? `call('ZRANK', D, ${nameOf(kind, z, part)}) + 1` : `${index} + 1`
}

/** The function that reads the score of a member and what its stored form begins with, or nothing. */
const find = ({ isPrefixed }: Kind): string =>
  isPrefixed
    ? `
local function find(member)
  local prefix = call('HGET', H, member)
  if not prefix then return nil end
  return call('ZSCORE', Z, prefix .. member), prefix
end`
    : `
local function find(member) return call('ZSCORE', Z, member), '' end`

/** Functions of the reading scripts. `reached`: how many have this score or a better one. */
const functions = (kind: Kind): string => `
local WIDE, REVERSED, SHARED = ${kind.isWide}, ${kind.isReversed}, ${kind.isShared}
${find(kind)}
local function digits(prefix) return ${digitsOf(kind, "prefix")} end
local function better(z, part) return ${betterThan(kind, "z", "part")} end
local function reached(z, part)
  if WIDE then return call('ZLEXCOUNT', Z, '-', '(' .. part .. '\\255') end
  if REVERSED then return call('ZCOUNT', Z, z, '+inf') end
  return call('ZCOUNT', Z, '-inf', z)
end
local function index(stored) return ${indexOf(kind, "stored")} end
local function rows(from, to) return call(REVERSED and 'ZREVRANGE' or 'ZRANGE', Z, from, to, 'WITHSCORES') end
local function rank(z, part, at) return ${rankOf(kind, "z", "part", "at")} end
`

/** Refuses a write to a season that is not open: `any` is an open one, whichever; without a season nothing is asked. */
const gate = ({ hasSeasons }: Kind): string => `
if season and season ~= '' then
  local open = ${hasSeasons ? "call('HGET', M, 'season') or ''" : "''"}
  if open == '' or (season ~= 'any' and season ~= '=' .. open) then return { 'closed', open } end
end`

/** Takes a score that nobody has now out of the set of all scores. */
const forget = (kind: Kind): string =>
  kind.ties === "dense"
    ? kind.isWide
      ? `if not call('ZRANGEBYLEX', Z, '[' .. part, '(' .. part .. '\\255', 'LIMIT', 0, 1)[1] then call('ZREM', D, part) end`
      : `if not call('ZRANGEBYSCORE', Z, z, z, 'LIMIT', 0, 1)[1] then call('ZREM', D, ${nameOf(kind, "z", "part")}) end`
    : ""

const position = `
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

// Both as 20 digits: halves of 10, which a double holds with their sum.
const wideNumbers = `
local function plus(digits, by)
  local sign = sub(by, 1, 1) == '-' and -1 or 1
  local high = tonumber(sub(digits, 1, 10)) + sign * tonumber(sub(by, 2, 11))
  local low = tonumber(sub(digits, 11, 20)) + sign * tonumber(sub(by, 12, 21))
  if low >= 1e10 then high, low = high + 1, low - 1e10 elseif low < 0 then high, low = high - 1, low + 1e10 end
  if high < 0 or high > 1844674407 or (high == 1844674407 and low > 3709551615) then return nil end
  return format('%010.0f%010.0f', high, low)
end

local function isLess(a, b)
  local x, y = tonumber(sub(a, 1, 10)), tonumber(sub(b, 1, 10))
  if x ~= y then return x < y end
  return tonumber(sub(a, 11)) < tonumber(sub(b, 11))
end`

/** What an operation with this id did in its season. It comes first: the season may be closed when it is repeated. */
const recall = ({ hasSeasons }: Kind): string => `
local now = ${hasSeasons ? "call('HGET', M, 'season') or ''" : "''"}
local own = season and sub(season, 1, 1) == '=' and sub(season, 2) or now
local print = mode .. '|' .. value .. '|' .. member
local known = call('GET', KEYS[N + 1])
if known then
  local bar, cut = string.find(known, '|', 1, true), string.find(known, '\\n', 1, true)
  if own == '' or sub(known, 1, bar - 1) == own then
    if sub(known, bar + 1, cut - 1) ~= print then return { 'reused' } end
    return cjson.decode(sub(known, cut + 1))
  end
end`

const remember = `
call('SET', KEYS[N + 1], now .. '|' .. print .. '\\n' .. cjson.encode(reply), 'PX', keep)`

/** Reads where the member is: its score `z`, its `prefix`, and of a board with ticks the `last` one, in field ''. */
const locate = ({ hasTick, isPrefixed }: Kind): string =>
  !isPrefixed
    ? `
local z, prefix = call('ZSCORE', Z, member), ''`
    : `${
        hasTick
          ? `
local known = call('HMGET', H, member, '')
local prefix, last = known[1], known[2]`
          : `
local prefix = call('HGET', H, member)`
      }
local z = prefix and call('ZSCORE', Z, prefix .. member)`

/** What the score is to be: `z2`, on a board of 64 bits `part2`. */
const wanted = ({ isWide, zero }: Kind): string =>
  isWide
    ? `
local z2, part2 = '0', value
if mode == 'increment' then
  part2 = plus(part or '${zero}', value)
  if not part2 then return { 'range' } end
end`
    : `
local z2, part2 = value, ''
if mode == 'increment' then
  local sum = tonumber(z or '0') + tonumber(value)
  if not (math.abs(sum) <= 9007199254740991) then return { 'range' } end
  z2 = sum == 0 and '0' or format('%.17g', sum)
end`

/** Whether the wanted score is the one that is there, and whether it is better. */
const isSame = ({ isWide }: Kind): string => (isWide ? "part == part2" : "z == z2 or tonumber(z) == tonumber(z2)")
const isBetter = ({ isReversed, isWide }: Kind): string =>
  isWide ? "isLess(part2, part)" : `tonumber(z2) ${isReversed ? ">" : "<"} tonumber(z)`

/** Moves the member. */
const move = (kind: Kind): string => {
  const { hasTick, isPrefixed, ties } = kind
  const tick = hasTick ? `format('%016.0f', (last or 0) + 1)` : "''"
  const put = hasTick ? `call('HSET', H, member, prefix2, '', tick)` : `call('HSET', H, member, prefix2)`
  return `
${isPrefixed ? `local tick = ${tick}\nlocal prefix2 = part2 .. tick\nlocal stored2 = prefix2 .. member` : "local stored2 = member"}
${isPrefixed ? `if z then call('ZREM', Z, prefix .. member) end` : ""}
call('ZADD', Z, z2, stored2)
${isPrefixed ? put : ""}
${ties === "dense" ? `if z then ${forget(kind)} end\ncall('ZADD', D, z2, ${nameOf(kind, "z2", "part2")})` : ""}`
}

const update = (kind: Kind, isOnce: boolean): string => `
local mode, member, value, season, keep = unpack(ARGV)
${kind.isWide ? wideNumbers : ""}
${isOnce ? recall(kind) : ""}
${gate(kind)}
${locate(kind)}
local part = z and ${digitsOf(kind, "prefix")}
local before = z and ${rankOf(kind, "z", "part", indexOf(kind, "prefix .. member"))}
${wanted(kind)}
local reply
if z and (mode == 'add' or ${isSame(kind)} or (mode == 'best' and not (${isBetter(kind)}))) then
  local score = ${scoreOf(kind, "z", "part")}
  reply = { score, before, score, before }
else
  ${move(kind)}
  local after = ${rankOf(kind, "z2", "part2", indexOf(kind, "stored2"))}
  reply = { ${scoreOf(kind, "z2", "part2")}, after }
  if z then reply[3], reply[4] = ${scoreOf(kind, "z", "part")}, before end
end
${isOnce ? remember : ""}
return reply`

const remove = (kind: Kind): string => `
local member, season = unpack(ARGV)
${gate(kind)}
${find(kind)}
local z, prefix = find(member)
if not z then return false end
local part = ${digitsOf(kind, "prefix")}
local before = ${rankOf(kind, "z", "part", indexOf(kind, "prefix .. member"))}
call('ZREM', Z, prefix .. member)
${kind.isPrefixed ? "call('HDEL', H, member)" : ""}
${forget(kind)}
return { ${scoreOf(kind, "z", "part")}, before }`

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

// Members that others wrote to a plain set may be no text, which a reply does not survive: a cursor has their bytes.
const slice = ({ isReversed }: Kind): string => `
local _, mode, a, b, c, d, offset, limit = unpack(ARGV)
local total, from, to = nil, 0, 0
if mode == 'offset' then
  from = tonumber(offset)
  to = from + limit
elseif mode == 'bytes' then
  from = position(a, (string.gsub(b, '..', function(byte) return string.char(tonumber(byte, 16)) end)))
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
${
  isReversed
    ? `
local last, hex = found[#found - 1], ''
if #last <= ${lastBytes} then hex = string.gsub(last, '.', function(c) return format('%02x', string.byte(c)) end) end
return { total, from, rank(z, part, from), found, hex }`
    : `
return { total, from, rank(z, part, from), found }`
}`

const many = `
local found = { call('ZCARD', Z) }
for i = 2, #ARGV do
  local z, prefix = find(ARGV[i])
  if z then
    local part = digits(prefix)
    local at = index(prefix .. ARGV[i])
    local ahead = SHARED and better(z, part) or at
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

/** The texts of the scripts for a kind of board. `updateOnce` takes a further key, what is known of an operation. */
export const textsOf = (view: View<Score>) => {
  const kind = kindOf(view)
  const head = constants(view)
  const reading = head + functions(kind)
  return {
    update: head + update(kind, false),
    updateOnce: head + update(kind, true),
    remove: head + remove(kind),
    slice: reading + present + less + position + span + slice(kind),
    many: reading + present + many,
    count: reading + present + span + count,
    turn: head + turn,
    advance: head + advance
  }
}
