// What is done to one player, as Lua on two keys of one slot: the plan's value, and ours beside it.
//
// Ours is a hash: `e` the last epoch; `m` the device whose session is the plan's value; `b` end of a ban; `r` sessions
// that began until then are void; `s` last seen; `d:<device>` a session as `epoch issued ttl expires value`, times in
// milliseconds of the server's clock; `x:<device>` what became of the last session as `reason epoch sha1(token)`, or
// `moved epoch - gateway`.
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

local record, sessions = {}, {}
local fields = redis.call('HGETALL', KEYS[2])
for i = 1, #fields, 2 do
  record[fields[i]] = fields[i + 1]
  if string.sub(fields[i], 1, 2) == 'd:' then
    local epoch, issued, ttl, expires, value = string.match(fields[i + 1], '^(%d+) (%d+) (%d+) (%d+) (.*)$')
    sessions[string.sub(fields[i], 3)] = { epoch = tonumber(epoch), issued = tonumber(issued), ttl = tonumber(ttl),
      expires = tonumber(expires), value = value }
  end
end

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
local anchored = current and main and same(current, main.value)

local function save(device)
  local s = sessions[device]
  redis.call('HSET', KEYS[2], 'd:' .. device,
    text(s.epoch) .. ' ' .. text(s.issued) .. ' ' .. text(s.ttl) .. ' ' .. text(s.expires) .. ' ' .. s.value)
end

local function tell(device, epoch, value, reason, to)
  local gateway = parts(value).gateway
  if gateway ~= nil and gateway ~= '' then
    redis.call('PUBLISH', channel .. ':' .. gateway,
      cjson.encode({ playerId = player, device = device, epoch = epoch, reason = reason, to = to }))
  end
end

local function drop(device, reason, isQuiet)
  local s = sessions[device]
  sessions[device] = nil
  redis.call('HDEL', KEYS[2], 'd:' .. device)
  local digest = redis.sha1hex(parts(s.value).token or '')
  redis.call('HSET', KEYS[2], 'x:' .. device, reason .. ' ' .. text(s.epoch) .. ' ' .. digest)
  if not isQuiet then tell(device, s.epoch, s.value, reason) end
end

-- Ends what is over already: what has expired, and everything when a Go service has taken over.
local function tidy()
  for device, s in pairs(sessions) do
    if not anchored then
      drop(device, current and 'superseded' or s.expires <= now and 'ended' or 'revoked')
    elseif device ~= record.m and s.expires <= now then
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
    if not newest or s.epoch > sessions[newest].epoch then newest = device end
  end
  if newest then
    put(sessions[newest].value, math.max(1, sessions[newest].expires - now))
    redis.call('HSET', KEYS[2], 'm', newest)
  else
    redis.call('DEL', KEYS[1])
    redis.call('HDEL', KEYS[2], 'm')
  end
end

local function keep()
  if record.b == 'forever' then return redis.call('PERSIST', KEYS[2]) end
  local last = math.max(now, tonumber(record.b or 0))
  for _, s in pairs(sessions) do last = math.max(last, s.expires) end
  redis.call('PEXPIRE', KEYS[2], text(last - now + retention))
end
`

export const login = `${prelude}
local device, ttl, most, floor, value = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8]
if isBanned() then return { record.b, '0' } end
for field in pairs(record) do
  if string.sub(field, 1, 2) == 'x:' then redis.call('HDEL', KEYS[2], field) end
end
tidy()
if sessions[device] then drop(device, 'superseded') end
while true do
  local count, oldest = 0, nil
  for other, s in pairs(sessions) do
    count = count + 1
    if not oldest or s.epoch < sessions[oldest].epoch then oldest = other end
  end
  if count < most then break end
  drop(oldest, 'superseded')
end
local epoch = math.max(tonumber(record.e or 0) + 1, now)
local issued = math.max(now, tonumber(record.r or 0) + 1, floor + 1)
sessions[device] = { epoch = epoch, issued = issued, ttl = ttl, expires = now + ttl, value = value }
save(device)
redis.call('HSET', KEYS[2], 'e', text(epoch), 'm', device)
local left = redis.call('PTTL', KEYS[1])
put(value, ttl)
-- The value stands for the other sessions too: it lasts as long as the longest.
if anchored and next(sessions, next(sessions)) and left > ttl then redis.call('PEXPIRE', KEYS[1], text(left)) end
keep()
return { '', text(epoch) }
`

export const read = `${clock}
local device = ARGV[1]
local current = redis.call('GET', KEYS[1])
local fields = redis.call('HMGET', KEYS[2], 'b', 'r', 'm')
local mainDevice = fields[3]
if device == '*' then device = mainDevice or '' end
local main, own = false, false
if mainDevice then main = redis.call('HGET', KEYS[2], 'd:' .. mainDevice) end
if device ~= mainDevice then own = redis.call('HGET', KEYS[2], 'd:' .. device) end
local past = redis.call('HGET', KEYS[2], 'x:' .. device)
return { text(now), device, current, fields[1], fields[2], mainDevice, main, own, past }
`

export const touch = `${prelude}
local device, epoch, token, gateway = ARGV[4], tonumber(ARGV[5]), ARGV[6], ARGV[7]
local floor, slide = tonumber(ARGV[8]), tonumber(ARGV[9])
if isBanned() then return 0 end
local ttl = slide
if epoch == 0 then
  if not current or anchored or not belongs(current, token, gateway) then return 0 end
else
  local s = sessions[device]
  if not s or not anchored or s.epoch ~= epoch then return 0 end
  if device ~= record.m and s.expires <= now then return 0 end
  if s.issued <= math.max(tonumber(record.r or 0), floor) then return 0 end
  if slide > 0 then
    ttl = s.ttl
    s.expires = math.max(s.expires, now + ttl)
    save(device)
  end
end
if ttl > 0 then
  local left = redis.call('PTTL', KEYS[1])
  if left >= 0 and left < ttl then redis.call('PEXPIRE', KEYS[1], text(ttl)) end
end
redis.call('HSET', KEYS[2], 's', text(now))
keep()
return 1
`

export const logout = `${prelude}
local device, epoch, token, gateway, isQuiet = ARGV[4], tonumber(ARGV[5]), ARGV[6], ARGV[7], ARGV[8] == '1'
if epoch == 0 then
  if current and not anchored and belongs(current, token, gateway) then redis.call('DEL', KEYS[1]) end
elseif sessions[device] and sessions[device].epoch == epoch then
  drop(device, 'ended', isQuiet)
  if anchored then settle() end
  keep()
end
return redis.call('EXISTS', KEYS[1])
`

export const end = `${prelude}
local reason, target, at = ARGV[4], ARGV[5], ARGV[6]
local ended, from = 0, ''
tidy()
if reason == 'banned' then
  record.b = at
  redis.call('HSET', KEYS[2], 'b', at)
elseif at ~= '' then
  record.r = text(math.max(tonumber(record.r or 0), math.min(tonumber(at), now)))
  redis.call('HSET', KEYS[2], 'r', record.r)
end
for device, s in pairs(sessions) do
  if (target == '*' or target == device) and (reason == 'banned' or at == '' or s.issued <= tonumber(record.r)) then
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

export const move = `${prelude}
local device, epoch, token, gateway, to, value = ARGV[4], tonumber(ARGV[5]), ARGV[6], ARGV[7], ARGV[8], ARGV[9]
if epoch == 0 then
  if not current or anchored or not belongs(current, token, gateway) then return '' end
  tell(device, 0, current, 'moved', to)
  redis.call('SET', KEYS[1], value, 'KEEPTTL')
  return '0'
end
local s = sessions[device]
if not s or not anchored or s.epoch ~= epoch then return '' end
tell(device, epoch, s.value, 'moved', to)
redis.call('HSET', KEYS[2], 'x:' .. device, 'moved ' .. text(epoch) .. ' - ' .. to)
s.epoch = math.max(tonumber(record.e) + 1, now)
s.value = value
save(device)
redis.call('HSET', KEYS[2], 'e', text(s.epoch))
if device == record.m then redis.call('SET', KEYS[1], value, 'KEEPTTL') end
return text(s.epoch)
`

export const unban = `${prelude}
record.b = nil
redis.call('HDEL', KEYS[2], 'b')
keep()
return 1
`

export const discard = `
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
`
