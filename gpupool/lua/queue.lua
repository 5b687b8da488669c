-- The queue: who waits, and who of them may be granted. Each has one way in and one way out, so that
-- what is counted in two places is changed in both.

-- Groups ----------------------------------------------------------------------------------------
--
-- The book has, for each group with leases or requests, "leases,eligible,limit"; QUEUE, under its
-- name, all its waiting requests in their order. Those that may be granted, within the limit, are the
-- first `eligible` of them, and only they are in QUEUE by their shape as well: a request blocked by
-- its own group blocks nobody.
-- The group without a name has no limit, and is not counted.

local function group_of(name)
  local text = call('HGET', BOOK, 'group ' .. name)
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
  call('HDEL', BOOK, 'reserved ' .. request.holder)
end

local function request_of(holder)
  local text = call('HGET', BOOK, 'request ' .. holder)
  return text and cjson.decode(text)
end

local function member(request)
  return 'group ' .. request.group .. '\0' .. request.order .. '\0' .. request.holder
end

-- How many requests of its group are before this one.
local function place_in_group(request)
  return call('ZLEXCOUNT', QUEUE, '[group ' .. request.group .. '\0', '(' .. member(request))
end

local function nth(group, index)
  local found = call('ZRANGEBYLEX', QUEUE, '[group ' .. group.name .. '\0', '(group ' .. group.name .. '\1',
    'LIMIT', index, 1)
  return request_of(string.match(found[1], '%z([^%z]*)$'))
end

-- Let as many wait in the queue as the limit allows beside the leases, and write the group down.
local function settle(group)
  local members = call('ZLEXCOUNT', QUEUE, '[group ' .. group.name .. '\0', '(group ' .. group.name .. '\1')
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
    call('HDEL', BOOK, 'group ' .. group.name)
  else
    call('HSET', BOOK, 'group ' .. group.name, group.leases .. ',' .. group.eligible .. ',' .. group.limit)
  end
end

-- Requests --------------------------------------------------------------------------------------

-- The request was made, or repeated.
local function seen(holder)
  call('ZADD', DUE, now + WAITS_FOR, 'request ' .. holder)
end

-- Begin to wait.
local function enqueue(request)
  request.shape = request.gpus .. ':' .. request.min_memory_mb .. ':' .. request.min_host_memory_mb
  request.order = string.format('%07d%014d%010d', 1000000 - request.priority, request.since,
    call('HINCRBY', BOOK, 'requests', 1) % 10000000000)
  call('HSET', BOOK, 'request ' .. request.holder, cjson.encode(request))
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
  call('ZADD', QUEUE, 0, member(request))
  settle(group)
end

-- Wait no more: forgotten, or with `leases` (1), which count at once. False when it did not wait.
local function dequeue(holder, leases)
  local request = request_of(holder)
  if not request then
    return false
  end
  call('HDEL', BOOK, 'request ' .. holder)
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
  call('ZREM', QUEUE, member(request))
  group.leases = group.leases + leases
  settle(group)
  return true
end

return {
  group_of = group_of, settle = settle, request_of = request_of, seen = seen, enqueue = enqueue, dequeue = dequeue,
}
