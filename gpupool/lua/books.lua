-- How everything is written down: groups, requests, leases, quarantine. Each has one way in and one way
-- out, so that what is counted in two places is changed in both. At the end: what time alone has ended.

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
