-- How leases are written down, and how they end; at last, what time alone has ended. Each has one way in
-- and one way out, so that what is counted in two places is changed in both.

local function count_lease(name, change, limit)
  if name ~= '' then
    local queue = queue()
    local group = queue.group_of(name)
    group.limit = limit or group.limit
    group.leases = math.max(0, group.leases + change)
    queue.settle(group)
  end
end

-- Write a lease down, but for its group's count.
local function record(lease, text)
  call('HSET', BOOK, 'token', token, 'lease ' .. lease.id, text, 'holder ' .. lease.holder, lease.id)
  call('ZADD', DUE, now + ttl, 'lease ' .. lease.id)
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
    call('HINCRBY', BOOK, 'host ' .. lease.node, lease.min_host_memory_mb)
  end
  looked_up[lease.node] = nil
end

-- The one way for a lease to end. Returns its text, nil when there is none.
local function finish(id)
  local text = call('HGET', BOOK, 'lease ' .. id)
  if not text then
    return nil
  end
  local lease = cjson.decode(text)
  call('HDEL', BOOK, 'lease ' .. id, 'holder ' .. lease.holder)
  call('ZREM', DUE, 'lease ' .. id)
  call('HDEL', HELD, unpack(lease.gpus))
  local host, reserved = 'host ' .. lease.node, lease.min_host_memory_mb
  if reserved > 0 and call('HINCRBY', BOOK, host, -reserved) <= 0 then
    call('HDEL', BOOK, host)
  end
  count_lease(lease.group, -1)
  mark({name = lease.node}, lease.gpus, '1')
  return text
end

-- A lease as it is told to people and programs: the millisecond it ends, and its JSON.
local function told(text, ends)
  return ends .. ' ' .. text
end

-- The lease with this id, as `told`; nil when it has ended.
local function find(id)
  local text = call('HGET', BOOK, 'lease ' .. id)
  return text and told(text, call('ZSCORE', DUE, 'lease ' .. id)) or nil
end

-- The holder's lease, as `told`; nil when it has none. After lost data, it is told to
-- nobody until all could say again what they hold: it may have been given back, and its GPUs be
-- another's, also when it was renewed since, by a message that came late.
local function lease_of(holder)
  local id = now >= opens and call('HGET', BOOK, 'holder ' .. holder)
  return id and find(id) or nil
end

-- Let the holder know that its lease has ended, or will not be renewed.
local function tell(id)
  call('PUBLISH', CHANNEL .. 'told:' .. id, '')
end

-- What time alone has ended ---------------------------------------------------------------------

local ended = {} -- the leases that ended now, as `told`
local over = call('ZRANGEBYSCORE', DUE, '-inf', now, 'WITHSCORES')
for i = 1, #over, 2 do
  local kind, name = string.match(over[i], '^(%l+) (.*)$')
  if kind == 'lease' then
    table.insert(ended, told(finish(name), over[i + 1]))
    tell(name)
  elseif kind == 'request' then
    queue().dequeue(name, 0)
  elseif kind == 'quarantine' then
    nodes().end_quarantine(name)
  elseif kind == 'node' then -- It was not heard from
    call('ZREM', DUE, over[i])
    nodes().close(name)
  else -- 'listed': nor for so long that it is forgotten
    call('ZREM', DUE, over[i])
    call('HDEL', BOOK, 'node ' .. name, 'heard ' .. name)
  end
end
