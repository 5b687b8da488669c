-- What the nodes offer, and the quarantine of their GPUs.

-- Write down a row of each sound GPU, and which of them are free: see free.lua.
local function write_rows(name, gpus)
  local lines, uuids, width, best, most, on = {}, {}, 0, nil, 0, {}
  for _, gpu in ipairs(gpus) do
    if not gpu[7] then
      local island = gpu[6]
      on[island] = (on[island] or 0) + 1
      best, most = best or gpu[5], math.max(most, on[island])
      uuids[#uuids + 1] = gpu[1]
      lines[#lines + 1] = '\n' .. gpu[1] .. '\n' .. table.concat(gpu, ' ', 2, 6)
      width = math.max(width, #lines[#lines])
    end
  end
  if #lines == 0 then
    call('HDEL', BOOK, 'rows ' .. name)
    call('HDEL', FREE, name)
    return
  end
  for i, line in ipairs(lines) do
    lines[i] = line .. string.rep(' ', width - #line)
  end
  call('HSET', BOOK, 'rows ' .. name, table.concat({#lines, best, most}, ' ') .. table.concat(lines))
  local mask = {}
  for i, entry in ipairs(call('HMGET', HELD, unpack(uuids))) do
    mask[i] = entry and '0' or '1'
  end
  write_free({name = name, best = best, most = most, mask = table.concat(mask)})
end

-- Keep what a node offers, and an outline of it: how many of its GPUs can be granted sooner or later
-- (not those that somebody has to return first), how many there are, of the first the memory of the
-- largest and of the smallest, whether some work only alone; and its host memory.
local function write_offer(name, offer)
  write_rows(name, offer.gpus)
  local usable, largest, smallest, alone = 0, 0, math.huge, 0
  for _, gpu in ipairs(offer.gpus) do
    if (gpu[7] or 0) >= 0 then
      usable, largest, smallest = usable + 1, math.max(largest, gpu[4]), math.min(smallest, gpu[4])
      alone = gpu[6] < 0 and 1 or alone
    end
  end
  smallest = math.min(smallest, largest)
  call('HSET', BOOK, 'offer ' .. name, cjson.encode(offer))
  call('HSET', SIZES, name, table.concat({usable, #offer.gpus, largest, smallest, alone, offer.host}, ' '))
end

-- Grant nothing there until it is published again.
local function close(name)
  call('HDEL', BOOK, 'offer ' .. name, 'rows ' .. name)
  call('HDEL', SIZES, name)
  call('HDEL', FREE, name)
end

-- Note in what the node offers until when one of its GPUs is in quarantine, nil: it is not.
local function mark_quarantine(uuid, node, ends)
  local text = call('HGET', BOOK, 'offer ' .. node)
  if text then
    local offer = cjson.decode(text)
    for _, gpu in ipairs(offer.gpus) do
      if gpu[1] == uuid then
        gpu[7] = ends
      end
    end
    write_offer(node, offer)
  end
end

local function quarantine(uuid, node, why, ends)
  call('HSET', BOOK, 'quarantine ' .. uuid, cjson.encode({node = node, why = why, ['until'] = ends}))
  if ends >= 0 then
    call('ZADD', DUE, ends, 'quarantine ' .. uuid)
  else
    call('ZREM', DUE, 'quarantine ' .. uuid)
  end
  mark_quarantine(uuid, node, ends)
end

-- Whether there was one.
local function end_quarantine(uuid)
  local text = call('HGET', BOOK, 'quarantine ' .. uuid)
  if not text then
    return false
  end
  call('HDEL', BOOK, 'quarantine ' .. uuid)
  call('ZREM', DUE, 'quarantine ' .. uuid)
  mark_quarantine(uuid, cjson.decode(text).node, nil)
  return true
end

return {write_offer = write_offer, close = close, quarantine = quarantine, end_quarantine = end_quarantine}
