-- Notes how many connections the members of a channel have at a gateway.
-- KEYS  the channel's members, its members at the gateway    ARGV  replace, seconds to keep it, member, count, ...
-- With replace = 1, members at the gateway that are not named have no connections there any more.
-- Returns how many members there were and are, the time in microseconds, who has come, and who has gone.
local all, here = KEYS[1], KEYS[2]
local come, gone = {}, {}
local before = redis.call('HLEN', all)

local function note(member, count)
  local had = tonumber(redis.call('HGET', here, member) or 0)
  if had == count then
    return
  end
  if count > 0 then
    redis.call('HSET', here, member, count)
  else
    redis.call('HDEL', here, member)
  end
  local left = redis.call('HINCRBY', all, member, count - had)
  if left <= 0 then
    redis.call('HDEL', all, member)
    gone[#gone + 1] = member
  elseif left == count - had then
    come[#come + 1] = member
  end
end

local named = {}
for at = 3, #ARGV, 2 do
  named[ARGV[at]] = true
  note(ARGV[at], tonumber(ARGV[at + 1]))
end
if ARGV[1] == '1' then
  for _, member in ipairs(redis.call('HKEYS', here)) do
    if not named[member] then
      note(member, 0)
    end
  end
end
redis.call('EXPIRE', all, ARGV[2])
redis.call('EXPIRE', here, ARGV[2])
local time = redis.call('TIME')
return {before, redis.call('HLEN', all), time[1] * 1000000 + time[2], come, gone}
