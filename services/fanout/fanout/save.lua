-- Saves a subscriber's record, unless the name has another owner by now.
-- KEYS  position    ARGV  owner, generation, record, seconds to keep it
-- Returns '' or who else owns the name. An owner of a lower generation is what a rollback brought back.
local saved = redis.call('GET', KEYS[1])
if saved then
  local owner, generation = string.match(saved, '^(%S+) (%d+)\n')
  if owner and owner ~= ARGV[1] and tonumber(generation) >= tonumber(ARGV[2]) then
    return owner
  end
end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2] .. '\n' .. ARGV[3], 'EX', ARGV[4])
return ''
