// The scripts of seasons. `turn` and `advance` begin as those of lua.ts do.
/** Compares texts by their bytes: Lua's own < goes by the server's locale. */
export const less = `
local function less(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x < y end
  end
  return #a < #b
end`

const millis = `
local function millis()
  local time = call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end`

/**
 * Ends one season and begins another. KEYS go on with the list of seasons, then of the closing one what it knows of
 * itself, its sorted set, its hash and its scores, then what the opening one knows of itself. Nothing is written before everything was checked. `reached` is the
 * latest date that a season was named by: an earlier one is never opened by a reset.
 */
export const turn = `${less}${millis}
local closing, opening, by, forward = unpack(ARGV)
local list, closed, opened = KEYS[N + 1], KEYS[N + 2], KEYS[N + 6]
local open = call('HGET', M, 'season') or ''
local reached = call('HGET', M, 'reached') or ''
local closes = closing ~= '' and open == closing
local opens = opening ~= '' and open ~= opening
local function foreign(key, type)
  local own = key and call('TYPE', key).ok
  return own and own ~= 'none' and own ~= type
end
if foreign(Z, 'zset') or foreign(H, 'hash') or foreign(D, 'zset') or foreign(list, 'zset')
  or (closing ~= '' and foreign(closed, 'hash')) or (opening ~= '' and foreign(opened, 'hash')) then
  return redis.error_reply('WRONGTYPE a key of the board is of another type')
end
if forward == 'forward' then
  if not less(open, opening) or not less(reached, opening) or call('EXISTS', opened) == 1 then
    closes, opens = false, false
  elseif open ~= '' and not closes then
    return { 'open', open }
  end
else
  if closing ~= '' and not closes and call('EXISTS', closed) == 0 then return { 'missing' } end
  if opens and open ~= '' and not closes then return { 'open', open } end
  if opens and call('EXISTS', opened) == 1 then return { 'closed', open } end
end

local function freeze(key, result)
  if key and call('EXISTS', key) == 1 then call('RENAME', key, result) end
end
if closes then
  freeze(Z, KEYS[N + 3])
  freeze(H, KEYS[N + 4])
  freeze(D, KEYS[N + 5])
  local members = call('ZCARD', KEYS[N + 3])
  call('HSET', closed, 'state', 'closed', 'closed', format('%.0f', millis()), 'members', members, 'closer', by)
  call('HDEL', M, 'season')
end
if opens then
  local number = call('HINCRBY', M, 'seasons', 1)
  call('HSET', opened, 'state', 'open', 'opened', format('%.0f', millis()))
  call('ZADD', list, number, opening)
  call('HSET', M, 'season', opening)
  if string.find(opening, '^%d%d%d%d%-%d%d%-%d%d$') and less(reached, opening) then
    call('HSET', M, 'reached', opening)
  end
end
local isClosedByIt = closing ~= '' and call('HGET', closed, 'closer') == by
return { 'done', isClosedByIt and 1 or 0, call('HGET', M, 'season') or '' }`

/**
 * Notes how far the rewards came, and whose they are to give. KEYS go on with what the season knows of itself, its sorted
 * set, its hash, its scores. The settler that is noted has the season until the instant beside it; when it is over, whoever asks next.
 */
export const advance = `${millis}
local I = KEYS[N + 1]
local rewarded, step, by, claim, keep = unpack(ARGV)
local known = call('HMGET', I, 'state', 'members', 'rewarded', 'settler', 'claimed')
local state, members, noted = known[1] or 'open', tonumber(known[2] or '0'), tonumber(known[3] or '0')
if state == 'open' then return { 'missing' } end
local now = millis()
local left = tonumber(known[5] or '0') - now
local isOwn = known[4] == by
local isMine = isOwn or (state == 'closed' and left <= 0)
if tonumber(rewarded) > noted then
  noted = tonumber(rewarded)
  call('HSET', I, 'rewarded', rewarded)
end
if state == 'closed' and isMine then
  if step == 'leave' then
    call('HSET', I, 'claimed', '0')
  else
    call('HSET', I, 'settler', by, 'claimed', format('%.0f', now + claim))
  end
  if step == 'all' then
    state = 'settled'
    call('HSET', I, 'state', state)
    if keep ~= '' then
      for i = 1, 4 do call('PEXPIRE', KEYS[N + i], keep) end
    end
  end
end
return { 'done', state, members, noted, isMine and 1 or 0, math.max(left, 0) }`

/** What a season knows of itself; one that has expired leaves the list. KEYS: the list, what it knows of itself. */
export const season = `
local one = redis.call('HMGET', KEYS[2], 'state', 'opened', 'closed', 'members', 'rewarded')
if one[1] then return one end
redis.call('ZREM', KEYS[1], ARGV[1])
return false`
