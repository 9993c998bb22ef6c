-- Returns how many members a channel has, the time in microseconds, and the members with their connections.
-- KEYS  the channel's members    ARGV  of more members than this only the number
local count = redis.call('HLEN', KEYS[1])
local time = redis.call('TIME')
local members = {}
if count <= tonumber(ARGV[1]) then
  members = redis.call('HGETALL', KEYS[1])
end
return {count, time[1] * 1000000 + time[2], members}
