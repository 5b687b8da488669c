-- Give a lease back because some of its GPUs cannot be used: they are quarantined, and the request
-- waits again with the age it had.
--
-- ARGV[3]  lease id
-- ARGV[4]  milliseconds that the GPUs are quarantined
-- ARGV[5]  JSON: UUID -> why
--
-- Returns 1, or 0 when the lease had ended; then nothing is changed.

local text = finish(ARGV[3])
if text then
  local lease = cjson.decode(text)
  for uuid, why in pairs(cjson.decode(ARGV[5])) do
    nodes().quarantine(uuid, lease.node, why, now + ARGV[4])
  end
  queue().enqueue({
    holder = lease.holder,
    gpus = #lease.gpus,
    min_memory_mb = lease.min_memory_mb,
    min_host_memory_mb = lease.min_host_memory_mb,
    group = lease.group,
    group_limit = lease.group_limit,
    priority = lease.priority,
    expected = lease.expected,
    since = lease.since * 1000,
  })
end
schedule()
return text and 1 or 0
