-- Replace what is known of a node's GPUs, and note that the node was heard from.
--
-- KEYS[1]  nodes  hash: node -> JSON list of its GPUs
-- KEYS[2]  heard  zset: node, scored by the millisecond it was last heard from
-- ARGV[1]  node
-- ARGV[2]  JSON list of its GPUs
-- ARGV[3]  milliseconds after which a node that was not heard from is forgotten
--
-- Returns nothing.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], now, ARGV[1])
for _, node in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[3])) do
  redis.call('HDEL', KEYS[1], node)
  redis.call('ZREM', KEYS[2], node)
end
