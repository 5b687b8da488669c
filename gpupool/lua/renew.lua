-- Let a lease that has not ended live longer.
--
-- KEYS[1]  ends  zset: lease id, scored by the millisecond it ends
-- ARGV[1]  lease id
-- ARGV[2]  time to live from now, in milliseconds
--
-- Returns 1, or 0 when the lease had already ended.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ends = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not ends or tonumber(ends) <= now then
  return 0
end
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
return 1
