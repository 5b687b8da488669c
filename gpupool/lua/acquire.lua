-- Ask for GPUs of one node, all or none; not granted, the request waits for its turn.
--
-- A holder that has a lease gets the same one again: a doubled message takes no second one. One
-- that waits already keeps its place; a changed request keeps its age.
--
-- ARGV[3]  the request, a line each: holder, gpus, min_memory_mb, min_host_memory_mb, group, group_limit,
--          priority, expected (seconds, 0: not known), since (milliseconds; may be empty)
--
-- Returns the lease as `told`, or the millisecond since when it waits.

local holder, gpus, memory, host_memory, group, limit, priority, expected, since =
  string.match(ARGV[3], '^(.-)\n(.-)\n(.-)\n(.-)\n(.-)\n(.-)\n(.-)\n(.-)\n(.*)$')
local request = {
  holder = holder,
  gpus = tonumber(gpus),
  min_memory_mb = tonumber(memory),
  min_host_memory_mb = tonumber(host_memory),
  group = group,
  group_limit = tonumber(limit),
  priority = tonumber(priority),
  expected = tonumber(expected),
  since = math.min(now, tonumber(since) or now),
}
local known = call('HMGET', BOOK, 'holder ' .. request.holder, 'request ' .. request.holder)
if known[1] then
  schedule()
  return lease_of(request.holder) or request.since
end

local waiting = known[2] and cjson.decode(known[2])
if waiting then
  request.since = waiting.since
  local is_changed = false
  for name, value in pairs(request) do
    is_changed = is_changed or (waiting[name] ~= value and name ~= 'expected')
  end
  if is_changed then
    queue().dequeue(request.holder, 0)
    queue().enqueue(request)
  else
    queue().seen(request.holder)
  end
else
  local lease = grant_at_once(request)
  if lease then
    return lease
  end
  queue().enqueue(request)
end
schedule()
return lease_of(request.holder) or request.since
