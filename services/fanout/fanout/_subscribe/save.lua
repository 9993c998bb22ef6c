-- Saves a subscriber's record, unless the name has another owner by now.
-- KEYS  position    ARGV  owner, generation, record, seconds to keep it
-- Returns '', or the other owner. A record with a lower generation does not count: a rollback brought it back.
local saved = redis.call('MGET', KEYS[1])[1] -- a key of another type counts as none, and is replaced
if saved then
  local owner, generation = string.match(saved, '^(%S+) (%d+)\n')
  if owner and owner ~= ARGV[1] and #generation <= 16 and tonumber(generation) >= tonumber(ARGV[2]) then
    return owner
  end
end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2] .. '\n' .. ARGV[3], 'EX', ARGV[4])
return ''
