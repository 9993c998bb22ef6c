-- Notes until when a gateway is alive unless it says so again.
-- KEYS  all gateways    ARGV  the gateway, milliseconds
-- Returns the gateways that are not alive any more.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
return redis.call('ZRANGEBYSCORE', KEYS[1], 0, now)
