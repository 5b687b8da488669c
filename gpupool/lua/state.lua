-- What every script of the pool begins with: its names, its clock, and what time alone has ended.
--
-- KEYS: all keys of the pool, in the order of `KEYS` in scripts.py, which says what is in each
-- ARGV[1]  time to live of a lease, in milliseconds
-- ARGV[2]  '1' when this Redis may have come back with less than it had confirmed
-- ARGV[3]  and following: the script's own

local POOL, NODES, HEARD, DRAINING, OFFERS, FREE = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local HELD, HOST, QUARANTINE, LEASES, HOLDERS = KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11]
local WAITING, QUEUE, SHAPES, RESERVED = KEYS[12], KEYS[13], KEYS[14], KEYS[15]
local GROUPS, MEMBERS, DUE, SIZES = KEYS[16], KEYS[17], KEYS[18], KEYS[19]
local CHANNEL = string.sub(POOL, 1, -5) -- The prefix of all keys, with its colon

local call = redis.call
local ttl = tonumber(ARGV[1])

local SILENT_AFTER = 10000 -- ms without a word from a node until nothing is granted on it
local FORGOTTEN_AFTER = 86400000 -- ms until a silent node is no longer listed
local WAITS_FOR = 60000 -- ms for which a request that is not repeated keeps its place
local WRITE_EVERY = 20 -- ms: of the clock
local LONGEST_STEP = 5000 -- ms that the pool's clock advances at most between two scripts
local USUAL_DURATION = 300000 -- ms: of a lease of which nobody said how long it will be

-- The clock -------------------------------------------------------------------------------------
--
-- Redis's clock, made steady: it does not go back (but for WRITE_EVERY, the time for which it is not
-- written down), and a step forward (an administrator, a suspended machine, an outage) counts for no
-- more than LONGEST_STEP, so that it ends nobody's lease, nor the time in which holders may say again
-- what they hold. While there is neither it may step as it likes.

local time = call('TIME')
local wall = time[1] * 1000 + math.floor(time[2] / 1000)
local kept = call('HMGET', POOL, 'epoch', 'run', 'opens', 'clock', 'wall')
local passed = wall - (tonumber(kept[5]) or wall)
local step = math.max(0, passed)
if step > LONGEST_STEP then
  local may_be_leased = call('HLEN', LEASES) > 0 or tonumber(kept[3]) > tonumber(kept[4])
  step = may_be_leased and LONGEST_STEP or step
end
local now = (tonumber(kept[4]) or wall) + step
local is_first = not kept[4] or passed >= WRITE_EVERY or passed < 0 -- in so long
if is_first then
  call('HSET', POOL, 'clock', now, 'wall', wall)
end

-- Lost data -------------------------------------------------------------------------------------
--
-- A Redis without our epoch has lost everything, or is new; one with another run id was restarted
-- or took over, and may lack the last writes. In both cases nothing is granted until every holder
-- has had a full time to live to say again what it holds. Tokens go on above all that were given:
-- they are counted from ten thousand times the seconds of the clock.

local opens = tonumber(kept[3]) or 0
local is_new = not kept[1]
local run = ''
if ARGV[2] == '1' then
  run = string.match(call('INFO', 'server'), 'run_id:(%w+)') or ''
end
if is_new or (run ~= '' and run ~= kept[2]) then
  opens = now + ttl
  local token = math.max(tonumber(call('HGET', POOL, 'token') or 0), math.floor(wall / 1000) * 10000)
  call('HSET', POOL, 'epoch', kept[1] or wall, 'run', run, 'opens', opens,
    'token', string.format('%.0f', token))
end

-- Nodes -----------------------------------------------------------------------------------------

local nodes = {} -- by name, as far as this script has looked: see `node_of`

-- The node: `all` its usable GPUs, `left` those of them that nobody has, each {uuid, index, free,
-- total, score, island, frees: when it may be free}; nil when nothing is granted there.
-- An island is a set of NVLink neighbours; below 0 is a MIG instance, which only works alone.
local function node_of(name)
  if nodes[name] then
    return nodes[name]
  end
  local text = call('HGET', OFFERS, name)
  if not text then
    return nil
  end
  local offer = cjson.decode(text)
  local node = {name = name, all = {}, left = {}, host = offer.host}
  nodes[name] = node
  if #offer.gpus == 0 then
    return node
  end
  local uuids = {}
  for i, gpu in ipairs(offer.gpus) do
    uuids[i] = gpu[1]
  end
  for i, entry in ipairs(call('HMGET', HELD, unpack(uuids))) do
    local gpu = offer.gpus[i]
    local ill_until = gpu[7] -- Below 0: until somebody returns it
    local one = {
      uuid = gpu[1], index = gpu[2], free = gpu[3], total = gpu[4], score = gpu[5], island = gpu[6],
      frees = math.max(entry and tonumber(string.match(entry, ' (%d+) ')) or 0, ill_until or 0),
    }
    if not ill_until or ill_until >= 0 then
      node.all[#node.all + 1] = one
    end
    if not entry and not ill_until then
      node.left[#node.left + 1] = one
    end
  end
  return node
end

-- Keep what a node offers, and an outline of it: how many of its GPUs can be granted sooner or later
-- (not those that somebody has to return first), how many there are, of the first the memory of the
-- largest and of the smallest, whether some work only alone; and its host memory.
local function write_offer(name, offer)
  local usable, largest, smallest, alone = 0, 0, math.huge, 0
  for _, gpu in ipairs(offer.gpus) do
    if (gpu[7] or 0) >= 0 then
      usable, largest, smallest = usable + 1, math.max(largest, gpu[4]), math.min(smallest, gpu[4])
      alone = gpu[6] < 0 and 1 or alone
    end
  end
  smallest = math.min(smallest, largest)
  call('HSET', OFFERS, name, cjson.encode(offer))
  call('HSET', SIZES, name, table.concat({usable, #offer.gpus, largest, smallest, alone, offer.host}, ' '))
end

-- Something of the node may be free now. What it is, the next look at it will tell.
local function reopen(name)
  nodes[name] = nil
  call('HSET', FREE, name, '')
end

-- Grant nothing there until it is published again.
local function close(name)
  nodes[name] = nil
  call('HDEL', OFFERS, name)
  call('HDEL', SIZES, name)
  call('HDEL', FREE, name)
end

-- Groups ----------------------------------------------------------------------------------------
--
-- GROUPS has, for each group with leases or requests, "leases,eligible,limit"; MEMBERS all its
-- waiting requests in their order. Those that may be granted, within the limit, are the first
-- `eligible` of them, and only they are in QUEUE: a request blocked by its own group blocks nobody.
-- The group without a name has no limit, and is not counted.

local function group_of(name)
  local text = call('HGET', GROUPS, name)
  if not text then
    return {name = name, leases = 0, eligible = 0, limit = 0}
  end
  local leases, eligible, limit = string.match(text, '^(%d+),(%d+),(%d+)$')
  return {name = name, leases = tonumber(leases), eligible = tonumber(eligible), limit = tonumber(limit)}
end

local function enter_queue(request)
  call('ZADD', QUEUE, 0, request.shape .. '\0' .. request.order .. '\0' .. request.holder)
  call('HINCRBY', SHAPES, request.shape, 1)
end

local function leave_queue(request)
  call('ZREM', QUEUE, request.shape .. '\0' .. request.order .. '\0' .. request.holder)
  if call('HINCRBY', SHAPES, request.shape, -1) <= 0 then
    call('HDEL', SHAPES, request.shape)
  end
  call('HDEL', RESERVED, request.holder)
end

local function request_of(holder)
  local text = call('HGET', WAITING, holder)
  return text and cjson.decode(text)
end

local function member(request)
  return request.group .. '\0' .. request.order .. '\0' .. request.holder
end

-- How many requests of its group are before this one.
local function place_in_group(request)
  return call('ZLEXCOUNT', MEMBERS, '[' .. request.group .. '\0', '(' .. member(request))
end

local function nth(group, index)
  local found = call('ZRANGEBYLEX', MEMBERS, '[' .. group.name .. '\0', '(' .. group.name .. '\1',
    'LIMIT', index, 1)
  return request_of(string.match(found[1], '%z([^%z]*)$'))
end

-- Let as many wait in the queue as the limit allows beside the leases, and write the group down.
local function settle(group)
  local members = call('ZLEXCOUNT', MEMBERS, '[' .. group.name .. '\0', '(' .. group.name .. '\1')
  local most = members
  if group.limit > 0 then
    most = math.max(0, math.min(members, group.limit - group.leases))
  end
  while group.eligible > most do
    group.eligible = group.eligible - 1
    leave_queue(nth(group, group.eligible))
  end
  while group.eligible < most do
    enter_queue(nth(group, group.eligible))
    group.eligible = group.eligible + 1
  end
  if group.leases == 0 and members == 0 then
    call('HDEL', GROUPS, group.name)
  else
    call('HSET', GROUPS, group.name, group.leases .. ',' .. group.eligible .. ',' .. group.limit)
  end
end

local function count_lease(name, change, limit)
  if name ~= '' then
    local group = group_of(name)
    group.limit = limit or group.limit
    group.leases = math.max(0, group.leases + change)
    settle(group)
  end
end

-- Requests --------------------------------------------------------------------------------------

local function seen(holder)
  call('ZADD', DUE, now + WAITS_FOR, 'request ' .. holder)
end

-- Begin to wait.
local function enqueue(request)
  request.shape = request.gpus .. ':' .. request.min_memory_mb .. ':' .. request.min_host_memory_mb
  request.order = string.format('%07d%014d%010d', 1000000 - request.priority, request.since,
    call('HINCRBY', POOL, 'requests', 1) % 10000000000)
  call('HSET', WAITING, request.holder, cjson.encode(request))
  seen(request.holder)
  if request.group == '' then
    return enter_queue(request)
  end
  local group = group_of(request.group)
  group.limit = request.group_limit
  if place_in_group(request) < group.eligible then
    enter_queue(request)
    group.eligible = group.eligible + 1
  end
  call('ZADD', MEMBERS, 0, member(request))
  settle(group)
end

-- Wait no more: forgotten, or with `leases` (1), which count at once. False when it did not wait.
local function dequeue(holder, leases)
  local request = request_of(holder)
  if not request then
    return false
  end
  call('HDEL', WAITING, holder)
  call('ZREM', DUE, 'request ' .. holder)
  if request.group == '' then
    leave_queue(request)
    return true
  end
  local group = group_of(request.group)
  if place_in_group(request) < group.eligible then
    leave_queue(request)
    group.eligible = group.eligible - 1
  end
  call('ZREM', MEMBERS, member(request))
  group.leases = group.leases + leases
  settle(group)
  return true
end

-- Leases ----------------------------------------------------------------------------------------

-- Write a lease down, but for its group's count.
local function record(lease, text)
  call('HSET', LEASES, lease.id, text)
  call('ZADD', DUE, now + ttl, 'lease ' .. lease.id)
  call('HSET', HOLDERS, lease.holder, lease.id)
  local duration = lease.expected > 0 and lease.expected * 1000 or USUAL_DURATION
  local frees = string.format('%.0f', lease.granted_at * 1000 + duration)
  local entry = lease.id .. ' ' .. frees .. ' ' .. lease.node
  local held = {}
  for _, uuid in ipairs(lease.gpus) do
    table.insert(held, uuid)
    table.insert(held, entry)
  end
  call('HSET', HELD, unpack(held))
  if lease.min_host_memory_mb > 0 then
    call('HINCRBY', HOST, lease.node, lease.min_host_memory_mb)
  end
  nodes[lease.node] = nil
end

-- The one way for a lease to end. Returns its text, nil when there is none.
local function finish(id)
  local text = call('HGET', LEASES, id)
  if not text then
    return nil
  end
  local lease = cjson.decode(text)
  call('HDEL', LEASES, id)
  call('ZREM', DUE, 'lease ' .. id)
  call('HDEL', HELD, unpack(lease.gpus))
  call('HDEL', HOLDERS, lease.holder)
  if lease.min_host_memory_mb > 0 and call('HINCRBY', HOST, lease.node, -lease.min_host_memory_mb) <= 0 then
    call('HDEL', HOST, lease.node)
  end
  count_lease(lease.group, -1)
  reopen(lease.node)
  return text
end

-- When the lease ends; nil when it has ended.
local function end_of(id)
  return call('ZSCORE', DUE, 'lease ' .. id) or nil
end

-- The holder's lease as {text, millisecond it ends}; nil when it has none. After lost data, one that
-- nobody has renewed since may have been given back, and its GPUs be another's: it is told to nobody.
local function lease_of(holder)
  local id = call('HGET', HOLDERS, holder)
  local ends = id and end_of(id)
  if not ends or (now < opens and tonumber(ends) <= opens) then
    return nil
  end
  return {call('HGET', LEASES, id), ends}
end

-- Let the holder know that its lease has ended, or will not be renewed.
local function tell(id)
  call('PUBLISH', CHANNEL .. 'told:' .. id, '')
end

-- Quarantine ------------------------------------------------------------------------------------

-- Note in what the node offers until when one of its GPUs is in quarantine, nil: it is not.
local function mark_quarantine(uuid, node, ends)
  local text = call('HGET', OFFERS, node)
  if text then
    local offer = cjson.decode(text)
    for _, gpu in ipairs(offer.gpus) do
      if gpu[1] == uuid then
        gpu[7] = ends
      end
    end
    write_offer(node, offer)
    reopen(node)
  end
end

local function quarantine(uuid, node, why, ends)
  call('HSET', QUARANTINE, uuid, cjson.encode({node = node, why = why, ['until'] = ends}))
  if ends >= 0 then
    call('ZADD', DUE, ends, 'quarantine ' .. uuid)
  else
    call('ZREM', DUE, 'quarantine ' .. uuid)
  end
  mark_quarantine(uuid, node, ends)
end

-- Whether there was one.
local function end_quarantine(uuid)
  local text = call('HGET', QUARANTINE, uuid)
  if not text then
    return false
  end
  call('HDEL', QUARANTINE, uuid)
  call('ZREM', DUE, 'quarantine ' .. uuid)
  mark_quarantine(uuid, cjson.decode(text).node, nil)
  return true
end

-- What time alone has ended ---------------------------------------------------------------------

local ended = {} -- the leases that ended now, flat: text, end, text, …
local over = call('ZRANGEBYSCORE', DUE, '-inf', now, 'WITHSCORES')
for i = 1, #over, 2 do
  local kind, name = string.match(over[i], '^(%l+) (.*)$')
  if kind == 'lease' then
    table.insert(ended, finish(name))
    table.insert(ended, over[i + 1])
    tell(name)
  elseif kind == 'request' then
    dequeue(name, 0)
  elseif kind == 'quarantine' then
    end_quarantine(name)
  else -- 'node': it was not heard from
    call('ZREM', DUE, over[i])
    close(name)
  end
end
