-- Replace what is known of a node, and note that it was heard from.
--
-- ARGV[3]  node
-- ARGV[4]  JSON of what it has, for people
-- ARGV[5]  what of it can be granted, as JSON: {host: MiB of memory, gpus: [[uuid, index, free MiB,
--          total MiB, score in hundredths, island], …]}; kept with a
--          seventh of each GPU in quarantine: the millisecond it ends, -1 if somebody has to end it

-- While a GPU is leased, its readings are those of its holder. What counts for the next one is how it
-- was before: else it would look full until the publication after its release.
local function as_before_their_leases(offer, old)
  local before, uuids = {}, {}
  for _, gpu in ipairs(old.gpus) do
    before[gpu[1]] = gpu
  end
  for i, gpu in ipairs(offer.gpus) do
    uuids[i] = gpu[1]
  end
  for i, entry in ipairs(#uuids > 0 and call('HMGET', HELD, unpack(uuids)) or {}) do
    local gpu = offer.gpus[i]
    if entry and before[gpu[1]] then
      gpu[3], gpu[5] = before[gpu[1]][3], before[gpu[1]][5]
    end
  end
end

local name = ARGV[3]
call('HSET', BOOK, 'node ' .. name, ARGV[4], 'heard ' .. name, now)
call('ZADD', DUE, now + FORGOTTEN_AFTER, 'listed ' .. name)
if call('HEXISTS', BOOK, 'draining ' .. name) == 0 then
  local offer, old = cjson.decode(ARGV[5]), call('HGET', BOOK, 'offer ' .. name)
  if old then
    as_before_their_leases(offer, cjson.decode(old))
  end
  for _, gpu in ipairs(offer.gpus) do
    local ill = call('HGET', BOOK, 'quarantine ' .. gpu[1])
    gpu[7] = ill and cjson.decode(ill)['until'] or nil
  end
  table.sort(offer.gpus, function(a, b)
    if a[5] ~= b[5] then
      return a[5] > b[5]
    end
    return a[2] < b[2]
  end)
  nodes().write_offer(name, offer)
  call('ZADD', DUE, now + SILENT_AFTER, 'node ' .. name)
end
schedule()
