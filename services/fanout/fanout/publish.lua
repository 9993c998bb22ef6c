-- Appends a batch of one producer's events to a channel's history and publishes them, all or nothing.
--
-- KEYS  history, producer, then a request key for each event that has an Idempotency-Key
-- ARGV  1 channel            4 HISTORY_SIZE               7 force: take the batch though it does not join on ("1")
--       2 source             5 HISTORY_TTL, milliseconds  8 which events the request keys belong to ("2,5")
--       3 the first seq      6 CHANNEL_TTL, seconds       9 30 random bits, then the events as JSON
-- An empty batch asks what is held of the producer's events, and renews the keys.
-- Returns {held} for a batch that does not join on, else {held, streamid of the first event appended, or ''}, and then
-- for each event that was not appended its index, from 0, and '' (it was in already) or, in lines, the source, id and
-- streamid of the event that its Idempotency-Key became before. The other streamids of a batch count up from the first.
local history, producer = KEYS[1], KEYS[2]
local channel, source, seq = ARGV[1], ARGV[2], tonumber(ARGV[3])
local keep, ttl, force = ARGV[6], 86400, ARGV[7] == '1'
local first = 10
local call, format = redis.call, string.format

local held = tonumber(redis.call('GET', producer) or '0')
local count = #ARGV - first + 1
if count > 0 and seq > held + 1 and not force then
  return {held}
end

local request_of, position = {}, 3
for index in string.gmatch(ARGV[8], '%d+') do
  request_of[tonumber(index)] = KEYS[position]
  position = position + 1
end

local info = redis.pcall('XINFO', 'STREAM', history)
local added, last = 0, '0-0'
if info.err then
  if not string.find(info.err, 'no such key', 1, true) then return info end
else
  for i = 1, #info, 2 do
    if info[i] == 'entries-added' then added = info[i + 1] end
    if info[i] == 'last-generated-id' then last = info[i + 1] end
  end
end

local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local ms, extra = string.match(last, '^(%d+)-(%d+)$')
ms, extra = tonumber(ms), tonumber(extra)
local next_second = math.floor(now / 1000) ~= math.floor(ms / 1000)

-- An ID is given once, also when a rollback took entries away and the clock stepped back: it starts at a random
-- number within its millisecond, so that two histories that part ways do not meet in an ID.
local function first_id()
  local jump = tonumber(ARGV[9])
  if now > ms then
    ms, extra = now, jump
  elseif extra + jump < 2 ^ 52 then
    extra = extra + jump
  else
    ms, extra = ms + 1, jump
  end
  -- Lua's .. would write a number of this size as 1e14, and %.0f takes three times as long
  return format('%d-%d', ms, extra), format('%d-*', ms)
end

local reply, id, more = {held, ''}, nil, nil
for i = 1, count do
  local request = request_of[i]
  local became = request and redis.call('GET', request)
  if seq <= held or became then
    reply[#reply + 1] = i - 1
    reply[#reply + 1] = became or ''
    held = math.max(held, seq)
  else
    local event = ARGV[first + i - 1]
    added = added + 1
    local streamseq = format('%d', added)
    if id then
      id = call('XADD', history, more, 'event', event, 'streamseq', streamseq)
    else
      id, more = first_id()
      call('XADD', history, id, 'event', event, 'streamseq', streamseq)
      reply[2] = id
    end
    call('PUBLISH', channel, string.sub(event, 1, -2) .. ',"streamid":"' .. id ..
      '","streamseq":"' .. streamseq .. '","streamprev":"' .. last .. '"}')
    if request then
      redis.call('SET', request, source .. '\n' .. format('%d', seq) .. '\n' .. id, 'EX', ttl)
    end
    last, held = id, seq
  end
  seq = seq + 1
end

if id then
  -- After the appends: a script that frees memory first would pass the memory check of a server that is full.
  redis.call('XTRIM', history, 'MAXLEN', '~', ARGV[4])
  if next_second then
    redis.call('XTRIM', history, 'MINID', '~', format('%d', math.max(0, now - ARGV[5])))
  end
end
-- The SET first: of an empty batch it is the command that a server without memory refuses.
redis.call('SET', producer, format('%d', held), 'EX', keep)
if next_second or count == 0 then
  redis.call('EXPIRE', history, keep)
end
reply[1] = held
return reply
