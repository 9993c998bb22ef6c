-- Appends a producer's events to a channel's history, one entry per batch, and publishes each batch: all or nothing.
--
-- KEYS  history, marks, head, producer, then a request key for each event that has an Idempotency-Key
-- ARGV  1 channel       4 the last seq                 7 CHANNEL_TTL, seconds
--       2 source        5 HISTORY_SIZE                 8 the seq that the events join on to
--       3 the first seq 6 HISTORY_TTL, milliseconds    9 for each request key its entry, hash and TTL ("2:9f:600")
--       10 30 random bits   11 a name for the history if it has none, 16 hexadecimal digits
--       then for each entry the number of its events, and their JSON without its end: `{...` or `[{...},{...`
-- Without entries it only returns the last seq that is held, and renews the keys.
-- Returns an error, and changes nothing, if the channel or its keys cannot be used. Returns {held} if the events do not
-- join on, or if only some of them are held. Else returns {held, streamid of the first entry appended, or ''}, followed
-- by two elements for each entry that was not appended since its Idempotency-Key is known: the entry's index, from 0,
-- and the source, id, streamid and hash of the event that the key had become, separated by line breaks. The streamids
-- of the appended entries count up from the first.
local history, marks, head_key, producer = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local channel, first, last_seq, size = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local keep = ARGV[7]
local begin = 12
local call, format = redis.call, string.format

-- MGET treats a key of another type as missing; it is replaced.
local known = call('MGET', unpack(KEYS, 3))
local held = tonumber(known[2] or '0') or 0
local count = (#ARGV - begin + 1) / 2
if count > 0 and (held < tonumber(ARGV[8]) or (held >= first and held < last_seq)) then
  return {held}
end
-- All or nothing: missing permissions must show before the first append.
if count > 0 and not redis.acl_check_cmd('PUBLISH', channel, '') then
  return redis.error_reply('NOPERM no permission to publish on the channel')
end
if not known[2] then
  for name, command in pairs({
    XADD = {history, '*', 'a', 'b'}, XTRIM = {history, 'MAXLEN', '1'}, SET = {producer, ''}, EXPIRE = {producer, '1'},
    RPUSH = {marks, ''}, LPOP = {marks}, LINDEX = {marks, '0'}, DEL = {marks}, TYPE = {marks},
  }) do
    if not redis.acl_check_cmd(name, unpack(command)) then
      return redis.error_reply("NOPERM no permissions to run '" .. name .. "'")
    end
  end
end

-- The head says where the history ends, and how many entries it has had. If it is missing, both come from the stream.
local last, seq, entries, name = string.match(known[1] or '', '^(%d+%-%d+) (%d+) (%d+) (%x+)$')
if name and (#name ~= 16 or #seq > 14 or #entries > 14) then last = nil end
for number in string.gmatch(last or '', '%d+') do
  if tonumber(number) > 2 ^ 52 then last = nil end
end
local rebuilt = not last
local there = last
if not last or count == 0 then
  local kind = call('TYPE', history).ok
  if kind ~= 'none' and kind ~= 'stream' then
    return redis.error_reply('WRONGTYPE the key of the history holds something else')
  end
  there = kind == 'stream'
end
local function stream(field)
  local info = call('XINFO', 'STREAM', history)
  for i = 1, #info, 2 do
    if info[i] == field then return info[i + 1] end
  end
end
if not last then
  last, seq, entries, name = '0-0', '0', '0', ARGV[11]
  if there then
    last, seq, entries = stream('last-generated-id'), nil, stream('entries-added')
    for _, entry in ipairs(call('XREVRANGE', history, '+', '-', 'COUNT', '16')) do -- others may have added some
      local fields = entry[2]
      if not seq and fields[3] == 'streamseq' and #fields[4] <= 14 then seq = string.match(fields[4], '^%d+$') end
    end
    seq = seq or 0
  end
end
local added, appends = tonumber(seq), tonumber(entries)

local hash_of, became_of = {}, {}
if ARGV[9] ~= '' then
  local position = 5
  for index, hash, ttl in string.gmatch(ARGV[9], '(%d+):(%x+):(%d+)') do
    local request, before = KEYS[position], known[position - 2]
    hash_of[tonumber(index)] = {request, hash, ttl}
    if before and string.find(before, '^[^\n]+\n%d+\n%d+%-%d+\n?%x*$') then became_of[request] = before end
    position = position + 1
  end
end

local now = call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local ms, extra = string.match(last, '^(%d+)-(%d+)$')
ms, extra = tonumber(ms), tonumber(extra)
local ms_before = ms
local next_second = math.floor(now / 1000) ~= math.floor(ms / 1000)

-- IDs are never reused, even if a rollback removed entries and the clock stepped back: the second part starts at a
-- random number, so that two histories that diverge do not share an ID.
local function next_id()
  local jump = tonumber(ARGV[10])
  if now > ms then
    ms, extra = now, jump
  elseif extra + jump < 2 ^ 52 then
    extra = extra + jump
  else
    ms, extra = ms + 1, jump
  end
  -- Not Lua's .., which would write a large number as 1e14, nor %.0f, which takes three times as long.
  return format('%d-%d', ms, extra)
end

local function append(id, events, streamseq)
  return redis.pcall('XADD', history, id, 'events', events, 'streamseq', streamseq)
end

local reply, id, more = {held, ''}, nil, nil
local before = added
for i = 1, held < last_seq and count or 0 do
  local request = hash_of[i]
  local became = request and became_of[request[1]]
  if became then
    reply[#reply + 1] = i - 1
    reply[#reply + 1] = became
  else
    local events, text = tonumber(ARGV[begin + 2 * i - 2]), ARGV[begin + 2 * i - 1]
    local streamseq = format('%d', added + events)
    local appended
    if id then
      appended = append(more, text, streamseq)
    else
      appended = append(next_id(), text, streamseq)
      if appended.err and string.find(appended.err, 'equal or smaller', 1, true) then -- another program added an entry
        ms, extra = string.match(stream('last-generated-id'), '^(%d+)-(%d+)$')
        ms, extra = tonumber(ms), tonumber(extra)
        appended = append(next_id(), text, streamseq)
      end
      more = format('%d-*', ms)
    end
    if appended.err then return appended end
    if not id then reply[2] = appended end
    id, added, appends = appended, added + events, appends + 1
    call('PUBLISH', channel, text .. ',"streamid":"' .. id .. '","streamseq":"' .. streamseq .. '","streamprev":"' ..
      last .. '","streamname":"' .. name .. (events > 1 and '"}]' or '"}'))
    if request then
      became = ARGV[2] .. '\n' .. format('%d', first + i - 1) .. '\n' .. id .. '\n' .. request[2]
      call('SET', request[1], became, 'EX', request[3])
      became_of[request[1]] = became
    end
    last = id
  end
end
held = math.max(held, last_seq)

-- After the appends: if a script frees memory first, a server that is out of memory does not refuse it.
if id then
  call('SET', head_key, format('%s %d %d %s', last, added, appends, name), 'EX', keep)
  if rebuilt then call('DEL', marks) end -- they may count otherwise
  local step = math.max(1, math.floor(size / 100))
  if math.floor(added / step) > math.floor(before / step) then
    if call('TYPE', marks).ok ~= 'list' then call('DEL', marks) end
    call('RPUSH', marks, last .. ' ' .. format('%d', added))
    call('EXPIRE', marks, keep)
    local oldest
    for _ = 1, 200 do
      local mark = call('LINDEX', marks, 0)
      if not mark then break end
      local streamid, streamseq = string.match(mark, '^(%d+%-%d+) (%d+)$')
      local at = tonumber(streamseq)
      if streamid and at > added - size and at <= added then break end
      oldest = streamid or oldest
      call('LPOP', marks)
    end
    if oldest then call('XTRIM', history, 'MINID', '~', oldest) end
  end
end
-- The SET comes first: without entries, it is the command that a server refuses if it is out of memory.
call('SET', producer, format('%d', held), 'EX', keep)
if there and (next_second or count == 0) then
  call('XTRIM', history, 'MINID', '~', format('%d', math.max(0, now - ARGV[6])))
end
if math.floor(now / 60000) ~= math.floor(ms_before / 60000) or count == 0 then
  call('EXPIRE', history, keep)
end
if count == 0 then
  call('EXPIRE', head_key, keep)
  call('EXPIRE', marks, keep)
end
reply[1] = held
return reply
