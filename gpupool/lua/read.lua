-- Everything in the pool, at one moment.
--
-- Returns {now, millisecond from which it grants, Redis's clock, NODES, HEARD, DRAINING, QUARANTINE,
-- HOST, LEASES, the end of each, the waiting requests}: three numbers, then flat lists.

schedule()
local number = '%.0f'
local leases, ends = call('HGETALL', LEASES), {}
for i = 1, #leases, 2 do
  table.insert(ends, leases[i])
  table.insert(ends, end_of(leases[i]))
end
return {
  string.format(number, now), string.format(number, opens), string.format(number, wall),
  call('HGETALL', NODES), call('ZRANGE', HEARD, 0, -1, 'WITHSCORES'), call('HGETALL', DRAINING),
  call('HGETALL', QUARANTINE), call('HGETALL', HOST), leases, ends, call('HVALS', WAITING),
}
