-- End one lease now, or all whose time is over: the one way for a lease to leave.
--
-- A lease whose time is over cannot be ended by its id: it is not its holder's any more. The clock
-- is read here, so a renewal that came before is respected.
--
-- KEYS[1]  leases  hash: lease id -> JSON
-- KEYS[2]  ends    zset: lease id, scored by the millisecond it ends
-- ARGV[1]  lease id, or '' for all whose time is over
--
-- Returns the ended leases, flat: JSON, millisecond of its end, JSON, …

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local finished = {}
if ARGV[1] == '' then
  finished = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'WITHSCORES')
else
  local ends = redis.call('ZSCORE', KEYS[2], ARGV[1])
  if ends and tonumber(ends) > now then
    finished = {ARGV[1], tostring(now)}
  end
end

local ended = {}
for i = 1, #finished, 2 do
  local text = redis.call('HGET', KEYS[1], finished[i])
  if text then
    table.insert(ended, text)
    table.insert(ended, finished[i + 1])
  end
  redis.call('HDEL', KEYS[1], finished[i])
  redis.call('ZREM', KEYS[2], finished[i])
end
return ended
