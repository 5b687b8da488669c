-- Grant a request GPUs of one node, all of them or none; not granted, it waits.
--
-- 1. A holder that has a lease gets the same one again: a doubled message takes no second one.
-- 2. The requests that wait before this one (by priority, then by age) reserve what they need.
-- 3. The best of what is left is granted.
--
-- A lease whose end has passed counts for nothing here; finish.lua clears it away.
--
-- KEYS[1]  nodes    hash: node -> JSON list of its GPUs
-- KEYS[2]  heard    zset: node, scored by the millisecond it was last heard from
-- KEYS[3]  leases   hash: lease id -> JSON
-- KEYS[4]  ends     zset: lease id, scored by the millisecond it ends
-- KEYS[5]  waiting  hash: holder -> JSON of its request
-- KEYS[6]  token    the newest lease token
-- ARGV[1]  the request as JSON: holder, gpus, min_memory_mb, group, group_limit, priority
-- ARGV[2]  the id of the lease, should there be one
-- ARGV[3]  time to live of the lease, in milliseconds
-- ARGV[4]  milliseconds after which a node that was not heard from is silent
-- ARGV[5]  milliseconds after which a request that was not repeated waits no more
--
-- Returns {lease as JSON, millisecond it ends}, or nil when it has to wait.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local request = cjson.decode(ARGV[1])

local held = {} -- uuid -> true
local leases_of = {} -- group -> its leases; in step 2 also those kept for requests that wait
local running = redis.call('ZRANGEBYSCORE', KEYS[4], '(' .. now, '+inf', 'WITHSCORES')
for i = 1, #running, 2 do
  local text = redis.call('HGET', KEYS[3], running[i])
  if text then
    local lease = cjson.decode(text)
    if lease.holder == request.holder then
      redis.call('HDEL', KEYS[5], request.holder)
      return {text, running[i + 1]}
    end
    leases_of[lease.group] = (leases_of[lease.group] or 0) + 1
    for _, uuid in ipairs(lease.gpus) do
      held[uuid] = true
    end
  end
end

local function score(gpu)
  if gpu.memory_total_mb <= 0 then
    return 0
  end
  return 0.6 * gpu.memory_free_mb / gpu.memory_total_mb + 0.4 * (1 - gpu.utilization)
end

local nodes = {} -- those heard from, by name: {name, all = its GPUs, left = those nobody has}
local names = redis.call('ZRANGEBYSCORE', KEYS[2], now - ARGV[4], '+inf')
table.sort(names)
for _, name in ipairs(names) do
  local node = {name = name, all = cjson.decode(redis.call('HGET', KEYS[1], name) or '[]'), left = {}}
  for _, gpu in ipairs(node.all) do
    gpu.score = score(gpu)
    if not held[gpu.uuid] then
      table.insert(node.left, gpu)
    end
  end
  table.insert(nodes, node)
end

local function better(a, b)
  if a.score ~= b.score then
    return a.score > b.score
  end
  return a.index < b.index
end

-- The best GPUs for `wanted` whose memory is within 20 % of each other, with their mean score;
-- nil when there are not enough. The third result is every GPU with enough memory.
local function best(gpus, wanted, memory)
  local fitting = {}
  for _, gpu in ipairs(gpus) do
    if gpu[memory] >= wanted.min_memory_mb then
      table.insert(fitting, gpu)
    end
  end
  table.sort(fitting, better)
  local chosen, mean
  for _, largest in ipairs(fitting) do
    local band, sum = {}, 0
    for _, gpu in ipairs(fitting) do
      local alike = gpu[memory] <= largest[memory] and gpu[memory] * 10 >= largest[memory] * 8
      if alike and #band < wanted.gpus then
        table.insert(band, gpu)
        sum = sum + gpu.score
      end
    end
    if #band == wanted.gpus and (not mean or sum / #band > mean) then
      chosen, mean = band, sum / #band
    end
  end
  return chosen, mean, fitting
end

-- The node, and its GPUs, that `wanted` gets from what is left; nil when there is none.
local function place(wanted)
  local chosen, gpus, highest
  for _, node in ipairs(nodes) do
    local set, mean = best(node.left, wanted, 'memory_free_mb')
    if set and (not highest or mean > highest) then
      chosen, gpus, highest = node, set, mean
    end
  end
  return chosen, gpus
end

-- The node, and its free GPUs to keep, where `wanted` waits for the fewest GPUs; nil when no
-- node is large enough even when empty: such a request reserves nothing.
local function nearest(wanted)
  local chosen, gpus, fewest
  for _, node in ipairs(nodes) do
    if best(node.all, wanted, 'memory_total_mb') then
      local _, _, fitting = best(node.left, wanted, 'memory_free_mb')
      local missing = math.max(1, wanted.gpus - #fitting)
      if not fewest or missing < fewest then
        chosen, gpus, fewest = node, fitting, missing
      end
    end
  end
  return chosen, gpus
end

local function group_is_full(wanted)
  return wanted.group_limit > 0 and (leases_of[wanted.group] or 0) >= wanted.group_limit
end

-- Keep for `earlier` what it needs, and its place in its group.
local function reserve(earlier)
  local node, gpus = place(earlier)
  if not node then
    node, gpus = nearest(earlier)
  end
  if not node then
    return
  end
  leases_of[earlier.group] = (leases_of[earlier.group] or 0) + 1
  local kept, left = {}, {}
  for _, gpu in ipairs(gpus) do
    kept[gpu.uuid] = true
  end
  for _, gpu in ipairs(node.left) do
    if not kept[gpu.uuid] then
      table.insert(left, gpu)
    end
  end
  node.left = left
end

local function before(a, b)
  if a.priority ~= b.priority then
    return a.priority > b.priority
  end
  if a.since ~= b.since then
    return a.since < b.since
  end
  return a.holder < b.holder
end

request.since, request.seen = now, now
local others = {}
for _, text in ipairs(redis.call('HVALS', KEYS[5])) do
  local other = cjson.decode(text)
  if other.seen < now - ARGV[5] then
    redis.call('HDEL', KEYS[5], other.holder)
  elseif other.holder == request.holder then
    request.since = other.since
  else
    table.insert(others, other)
  end
end
table.sort(others, before)
for _, other in ipairs(others) do
  -- Blocked by its own group's limit, a request blocks nobody.
  if before(other, request) and not group_is_full(other) then
    reserve(other)
  end
end

local node, gpus
if not group_is_full(request) then
  node, gpus = place(request)
end
if not node then
  redis.call('HSET', KEYS[5], request.holder, cjson.encode(request))
  return nil
end

table.sort(gpus, function(a, b) return a.index < b.index end)
local uuids = {}
for i, gpu in ipairs(gpus) do
  uuids[i] = gpu.uuid
end
local text = cjson.encode({
  id = ARGV[2],
  token = redis.call('INCR', KEYS[6]),
  holder = request.holder,
  group = request.group,
  node = node.name,
  gpus = uuids,
  granted_at = now / 1000,
})
local ends = now + ARGV[3]
redis.call('HSET', KEYS[3], ARGV[2], text)
redis.call('ZADD', KEYS[4], ends, ARGV[2])
redis.call('HDEL', KEYS[5], request.holder)
return {text, tostring(ends)}
