// What is done to one player, as Lua on two keys of one slot: the plan's value, and ours beside it.
//
// Ours is JSON, see StoredRecord in judge.ts, with times in milliseconds of the server's clock, which cjson writes whole up
// to 14 digits.
//
// The plan's value decides: where it is not that of `m`, by token and gateway, a Go service has taken over and every
// session of ours is void.

/** The server's time in milliseconds, and a number as text, since Lua would cut or shorten it. */
export const clock = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function text(number) return string.format('%.0f', number) end
`

const prelude = `${clock}
local player, channel, retention = ARGV[1], ARGV[2], tonumber(ARGV[3])
local current = redis.pcall('GET', KEYS[1])
if type(current) == 'table' then current = '' end

local record = cjson.decode(redis.call('GET', KEYS[2]) or '{}')
local sessions, past = record.d or {}, record.p or {}
record.d, record.p = sessions, past

local function parts(json)
  local ok, object = pcall(cjson.decode, json)
  local found = {}
  if ok and type(object) == 'table' then
    for name, value in pairs(object) do
      if type(name) == 'string' and type(value) == 'string' then found[string.lower(name)] = value end
    end
  end
  return found
end

local function belongs(json, token, gateway)
  local found = parts(json)
  return found.token == token and (found.gateway or '') == gateway
end

local function same(json, other)
  if json == other then return true end
  local found = parts(other)
  return found.token ~= nil and belongs(json, found.token, found.gateway or '')
end

local function isBanned()
  return record.b ~= nil and (record.b == 'forever' or tonumber(record.b) > now)
end

local main = record.m and sessions[record.m]
local anchored = current and main and same(current, main.v)

local function tell(device, epoch, gateway, reason, to)
  if gateway ~= nil and gateway ~= '' then
    redis.call('PUBLISH', channel .. ':' .. gateway,
      cjson.encode({ playerId = player, device = device, epoch = epoch, reason = reason, to = to }))
  end
end

local function drop(device, reason, isQuiet)
  local s = sessions[device]
  sessions[device] = nil
  past[device] = reason .. ' ' .. text(s.e) .. ' ' .. s.h
  if not isQuiet then tell(device, s.e, s.g, reason) end
end

-- Ends what is over already: what has expired, and everything when a Go service has taken over.
local function tidy()
  for device, s in pairs(sessions) do
    if not anchored then
      drop(device, current and 'superseded' or s.x <= now and 'ended' or 'revoked')
    elseif device ~= record.m and s.x <= now then
      drop(device, 'ended')
    end
  end
end

local function put(value, ttl)
  if ttl % 1000 == 0 then
    redis.call('SET', KEYS[1], value, 'EX', text(ttl / 1000))
  else
    redis.call('SET', KEYS[1], value, 'PX', text(ttl))
  end
end

-- Leaves the newest of the remaining sessions as the plan's value, or none.
local function settle()
  if sessions[record.m] then return end
  local newest
  for device, s in pairs(sessions) do
    if not newest or s.e > sessions[newest].e then newest = device end
  end
  record.m = newest
  if newest then
    put(sessions[newest].v, math.max(1, sessions[newest].x - now))
  else
    redis.call('DEL', KEYS[1])
  end
end

local function keep()
  local last = now
  for _, s in pairs(sessions) do last = math.max(last, s.x) end
  if next(sessions) == nil then record.d = nil end
  if next(past) == nil then record.p = nil end
  local json = cjson.encode(record)
  if json == '{}' then return redis.call('DEL', KEYS[2]) end
  if record.b == 'forever' then return redis.call('SET', KEYS[2], json) end
  last = math.max(last, tonumber(record.b or 0))
  redis.call('SET', KEYS[2], json, 'PX', text(last - now + retention))
end
`

/** Logs in. */
export const login = `${prelude}
local device, ttl, most, floor, value = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8]
local digest, gateway = ARGV[9], ARGV[10]
if isBanned() then return { record.b, '0' } end
past = {}
record.p = past
tidy()
if sessions[device] then drop(device, 'superseded') end
while true do
  local count, oldest = 0, nil
  for other, s in pairs(sessions) do
    count = count + 1
    if not oldest or s.e < sessions[oldest].e then oldest = other end
  end
  if count < most then break end
  drop(oldest, 'superseded')
end
record.e = math.max((record.e or 0) + 1, now)
-- The value stands for the other sessions too: it lasts as long as the longest.
local left = next(sessions) and redis.call('PTTL', KEYS[1]) or 0
local issued = math.max(now, (record.r or 0) + 1, floor + 1)
sessions[device] = { e = record.e, i = issued, t = ttl, x = now + ttl, v = value, h = digest, g = gateway }
record.m = device
put(value, ttl)
if left > ttl then redis.call('PEXPIRE', KEYS[1], text(left)) end
keep()
return { '', text(record.e) }
`

/** Reads at the server's time. */
export const read = `${clock}
return { text(now), redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2]) }
`

/** Prolongs a session. */
export const touch = `${prelude}
local device, epoch, token, gateway = ARGV[4], tonumber(ARGV[5]), ARGV[6], ARGV[7]
local floor, slide = tonumber(ARGV[8]), tonumber(ARGV[9])
if isBanned() then return 0 end
local ttl = slide
if epoch == 0 then
  if not current or anchored or not belongs(current, token, gateway) then return 0 end
else
  local s = sessions[device]
  if not s or not anchored or s.e ~= epoch then return 0 end
  if device ~= record.m and s.x <= now then return 0 end
  if s.i <= math.max(record.r or 0, floor) then return 0 end
  if slide > 0 then
    ttl = s.t
    s.x = math.max(s.x, now + ttl)
  end
end
if ttl > 0 then
  local left = redis.call('PTTL', KEYS[1])
  if left >= 0 and left < ttl then redis.call('PEXPIRE', KEYS[1], text(ttl)) end
end
record.s = now
keep()
return 1
`

/** Ends one session. */
export const logout = `${prelude}
local device, epoch, token, gateway, isQuiet = ARGV[4], tonumber(ARGV[5]), ARGV[6], ARGV[7], ARGV[8] == '1'
if epoch == 0 then
  if current and not anchored and belongs(current, token, gateway) then redis.call('DEL', KEYS[1]) end
elseif sessions[device] and sessions[device].e == epoch then
  drop(device, 'ended', isQuiet)
  if anchored then settle() end
  keep()
end
return redis.call('EXISTS', KEYS[1])
`

/** Ends sessions of a player. */
export const end = `${prelude}
local reason, target, at = ARGV[4], ARGV[5], ARGV[6]
local ended, from = 0, ''
tidy()
if reason == 'banned' then
  record.b = at
elseif at ~= '' then
  record.r = math.max(record.r or 0, math.min(tonumber(at), now))
end
for device, s in pairs(sessions) do
  if (target == '*' or target == device) and (reason == 'banned' or at == '' or s.i <= record.r) then
    drop(device, reason)
    ended = ended + 1
  end
end
if anchored then
  settle()
elseif current and target == '*' then
  if reason == 'banned' or at == '' then
    redis.call('DEL', KEYS[1])
    ended = ended + 1
  else
    from = current
  end
end
keep()
return { ended, from, redis.call('EXISTS', KEYS[1]) }
`

/** Hands a session over. */
export const move = `${prelude}
local device, epoch, token, gateway, to, value = ARGV[4], tonumber(ARGV[5]), ARGV[6], ARGV[7], ARGV[8], ARGV[9]
if epoch == 0 then
  if not current or anchored or not belongs(current, token, gateway) then return '' end
  tell(device, 0, gateway, 'moved', to)
  redis.call('SET', KEYS[1], value, 'KEEPTTL')
  return '0'
end
local s = sessions[device]
if not s or not anchored or s.e ~= epoch then return '' end
tell(device, epoch, s.g, 'moved', to)
past[device] = 'moved ' .. text(epoch) .. ' - ' .. to
record.e = math.max(record.e + 1, now)
s.e, s.v, s.g = record.e, value, to
if device == record.m then redis.call('SET', KEYS[1], value, 'KEEPTTL') end
keep()
return text(s.e)
`

/** Ends a ban. */
export const unban = `${prelude}
record.b = nil
keep()
return 1
`

/** Deletes a value if it still is this one. */
export const discard = `
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
`
