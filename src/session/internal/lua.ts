// What is done to one player, as Lua on two keys of one slot: the plan's value, and ours beside it.
//
// Ours is text, see internal/record.ts, with times in milliseconds of the server's clock. It is not JSON, since reading and
// writing that is most of what a login would cost.
//
// The plan's value decides: where it is not that of `m`, by token and gateway, a Go service has taken over and every
// session of ours is void. Lua does not read JSON as Go does, so it reads none: where the bytes are not those that we wrote,
// a script changes nothing, hands them back, and is run again with what the caller says of them (see judge.ts).

/** The server's time in milliseconds, and a number as text, since Lua would cut or shorten it. */
export const clock = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function text(number) return string.format('%.0f', number) end
`

const start = `${clock}
local stored = redis.pcall('GET', KEYS[2])
-- A value of another type is none of ours: it is replaced.
if type(stored) == 'table' then stored = '' end

local function put(value, ttl, ...)
  if ttl % 1000 == 0 then
    return redis.call('SET', KEYS[1], value, 'EX', text(ttl / 1000), ...)
  else
    return redis.call('SET', KEYS[1], value, 'PX', text(ttl), ...)
  end
end
`

/** What is stored, and what is done with it, in terms of the scripts below. */
const player = `
local channel, retention = ARGV[1], tonumber(ARGV[2])
local current = redis.pcall('GET', KEYS[1])
if type(current) == 'table' then current = '' end

local record, sessions, past = { e = 0, r = 0, s = 0 }, {}, {}
local line = '^=([^ ]*) (%d+) (%d+) (%d+) (%d+) (%x+) ([^ ]*) ()'
if stored then
  local e, r, s, b, m = string.match(stored, '^(%d+) (%d+) (%d+) ([^ \\n]+) ([^ \\n]+)')
  -- What nobody of ours has written is no record.
  if not e or math.max(#e, #r, #s) > 15 then
    stored = ''
  else
    record.e, record.r, record.s = tonumber(e), tonumber(r), tonumber(s)
    if b == 'forever' or (string.find(b, '^%d+$') and #b <= 16) then record.b = b end
    if m ~= '-' then record.m = string.sub(m, 2) end
  end
  -- Patterns are kept off the values, which they would read sign by sign.
  local from = string.find(stored, '\\n', 1, true)
  while from do
    local to = string.find(stored, '\\n', from + 1, true)
    local device, e, i, t, x, h, g, at = string.match(stored, line, from + 1)
    if device and math.max(#e, #i, #t, #x) <= 15 then
      sessions[device] = { e = tonumber(e), i = tonumber(i), t = tonumber(t), x = tonumber(x), h = h, g = g,
        v = string.sub(stored, at, (to or 0) - 1) }
    else
      local gone, what = string.match(stored, '^~([^ ]*) ([^\\n]*)', from + 1)
      if gone then past[gone] = what end
    end
    from = to
  end
end

local function isBanned()
  return record.b ~= nil and (record.b == 'forever' or tonumber(record.b) > now)
end

local function tell(device, epoch, gateway, reason, to, digest)
  if gateway == nil or gateway == '' then return end
  -- No name has a sign that JSON would escape, and no player's a colon.
  local player = string.match(KEYS[2], '([^:]+)}$')
  redis.call('PUBLISH', channel .. ':' .. gateway, '{"playerId":"' .. player .. '","device":"' .. device ..
    '","epoch":' .. text(epoch) .. ',"reason":"' .. reason .. (to and '","to":"' .. to or '') ..
    (digest and '","of":"' .. digest or '') .. '"}')
end

local function drop(device, reason)
  local s = sessions[device]
  sessions[device] = nil
  past[device] = reason .. ' ' .. text(s.e) .. ' ' .. s.h
  tell(device, s.e, s.g, reason)
end

local function keep()
  local b, m = record.b or '-', record.m and '=' .. record.m or '-'
  local last, all = now, string.format('%.0f %.0f %.0f %s %s', record.e, record.r, record.s, b, m)
  for device, s in pairs(sessions) do
    last = math.max(last, s.x)
    all = all .. string.format('\\n=%s %.0f %.0f %.0f %.0f %s %s %s', device, s.e, s.i, s.t, s.x, s.h, s.g, s.v)
  end
  for device, what in pairs(past) do all = all .. '\\n~' .. device .. ' ' .. what end
  if all == '0 0 0 - -' then return redis.call('DEL', KEYS[2]) end
  if b == 'forever' then return redis.call('SET', KEYS[2], all) end
  if record.b then last = math.max(last, tonumber(b)) end
  redis.call('SET', KEYS[2], all, 'PX', text(last - now + retention))
end
`

/** Whose the plan's value is, as the caller says where it is not in the bytes that we wrote. */
const judged = `
local main = record.m and sessions[record.m]
local whose, began, digest, theirs = 'none'
if current and main and current == main.v then
  whose = 'ours'
elseif current == '' then
  whose = 'other'
elseif current then
  -- What is said holds for these bytes beside this session.
  local sum = redis.sha1hex(text(main and main.e or 0) .. ' ' .. current)
  local of
  of, whose, began, digest, theirs = string.match(ARGV[3], '^(%x+) (%a+) (%S+) (%x*) (.*)$')
  if of ~= sum then return { '?', sum, current, main and main.v or '' } end
end
local anchored = whose == 'ours'

-- Tells the gateway of a session that a Go service wrote.
local function displace(reason, to)
  -- Also for a gateway that looks before it hears.
  if digest and not to then past[''] = reason .. ' 0 ' .. digest end
  tell('', 0, theirs, reason, to, digest)
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
`

const prelude = `${start}${player}${judged}`

/** Logs in. Of most players nothing is stored: that comes first, and does no more than it must. */
export const login = `${start}
local device, ttl, most, floor, value = ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8]
local digest, gateway = ARGV[9], ARGV[10]
if not stored and put(value, ttl, 'NX') then
  local epoch = text(now)
  local issued = floor < now and epoch or text(floor + 1)
  redis.call('SET', KEYS[2], epoch .. ' 0 0 - =' .. device .. '\\n=' .. device .. ' ' .. epoch .. ' ' .. issued .. ' ' ..
    ARGV[5] .. ' ' .. text(now + ttl) .. ' ' .. digest .. ' ' .. gateway .. ' ' .. value,
    'PX', text(ttl + tonumber(ARGV[2])))
  return epoch
end
${player}
if isBanned() then return { record.b } end
${judged}
past = {}
tidy()
displace('superseded')
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
record.e = math.max(record.e + 1, now)
-- The value stands for the other sessions too: it lasts as long as the longest.
local left = next(sessions) and redis.call('PTTL', KEYS[1]) or 0
local issued = math.max(now, record.r + 1, floor + 1)
sessions[device] = { e = record.e, i = issued, t = ttl, x = now + ttl, v = value, h = ARGV[9], g = gateway }
record.m = device
put(value, ttl)
if left > ttl then redis.call('PEXPIRE', KEYS[1], text(left)) end
keep()
return { text(record.e), current and 1 or 0 }
`

/** Reads at the server's time. */
export const read = `${clock}
local record = redis.pcall('GET', KEYS[2])
if type(record) == 'table' then record = false end
return { text(now), redis.call('GET', KEYS[1]), record }
`

/** Prolongs a session. */
export const touch = `${prelude}
local device, epoch = ARGV[4], tonumber(ARGV[5])
local floor, slide = tonumber(ARGV[6]), tonumber(ARGV[7])
if isBanned() then return 0 end
local ttl = slide
if epoch == 0 then
  if whose ~= 'held' then return 0 end
else
  local s = sessions[device]
  if not s or not anchored or s.e ~= epoch then return 0 end
  if device ~= record.m and s.x <= now then return 0 end
  if s.i <= math.max(record.r, floor) then return 0 end
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
local device, epoch = ARGV[4], tonumber(ARGV[5])
if epoch == 0 then
  if whose == 'held' then
    redis.call('DEL', KEYS[1])
    displace('ended')
  end
elseif sessions[device] and sessions[device].e == epoch then
  drop(device, 'ended')
  if anchored then settle() end
  keep()
end
return redis.call('EXISTS', KEYS[1])
`

/** Ends sessions of a player. */
export const end = `${prelude}
local reason, target, at = ARGV[4], ARGV[5], ARGV[6]
local ended = 0
tidy()
if reason == 'banned' then
  record.b = at
elseif at ~= '' then
  record.r = math.max(record.r, math.min(tonumber(at), now))
end
for device, s in pairs(sessions) do
  if (target == '*' or target == device) and (reason == 'banned' or at == '' or s.i <= record.r) then
    drop(device, reason)
    ended = ended + 1
  end
end
if anchored then
  settle()
elseif current and (target == '*' or target == '') then
  local since = tonumber(began)
  if reason == 'banned' or at == '' or (since and since <= tonumber(at)) then
    redis.call('DEL', KEYS[1])
    displace(reason)
    ended = ended + 1
  end
end
keep()
return { ended, redis.call('EXISTS', KEYS[1]) }
`

/** Hands a session over. */
export const move = `${prelude}
local device, epoch, to, value = ARGV[4], tonumber(ARGV[5]), ARGV[6], ARGV[7]
if epoch == 0 then
  if whose ~= 'held' then return '' end
  displace('moved', to)
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
export const unban = `${start}${player}
record.b = nil
keep()
return 1
`
