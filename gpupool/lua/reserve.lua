-- Which node a request waits for, and what is kept free there.

local choose = choice()

-- Whether the GPU could serve the request if nobody used it.
local function is_suitable(gpu, request)
  return gpu.total >= request.min_memory_mb and (request.gpus == 1 or gpu.island >= 0)
end

-- The host memory of a node, and all its GPUs that can be granted sooner or later: {total, island, frees:
-- when it may be free}.
local function node_of(name)
  if looked_up[name] then
    return looked_up[name]
  end
  local offer = cjson.decode(call('HGET', BOOK, 'offer ' .. name))
  local node, uuids = {host = offer.host, gpus = {}}, {}
  looked_up[name] = node
  for i, gpu in ipairs(offer.gpus) do
    uuids[i] = gpu[1]
  end
  for i, entry in ipairs(#uuids > 0 and call('HMGET', HELD, unpack(uuids)) or {}) do
    local gpu = offer.gpus[i]
    local ill_until = gpu[7] or 0
    if ill_until >= 0 then -- Else until somebody returns it
      local frees = entry and tonumber(string.match(entry, ' (%d+) ')) or 0
      table.insert(node.gpus, {total = gpu[4], island = gpu[6], frees = math.max(frees, ill_until)})
    end
  end
  return node
end

-- When so many GPUs of the node will be free for the request, as far as anybody knows; nil when the
-- node is too small, even empty.
local function free_at(name, request)
  local node = node_of(name)
  if request.min_host_memory_mb > node.host then
    return nil
  end
  local times = {}
  for _, gpu in ipairs(node.gpus) do
    if is_suitable(gpu, request) then
      table.insert(times, math.max(now, gpu.frees))
    end
  end
  table.sort(times)
  return times[request.gpus]
end

local taken = {} -- the nodes that older requests have reserved, by name
local frees -- by node: when its leased GPUs may be free, as far as it was asked for

-- The nodes that are large enough, with the time before which so many of their GPUs are not free: told
-- by what is held, without a look at each node.
local function earliest(request)
  if not frees then
    frees = {}
    for _, entry in ipairs(call('HVALS', HELD)) do
      local at, name = string.match(entry, '^%S+ (%d+) (.*)$')
      frees[name] = frees[name] or {}
      table.insert(frees[name], math.max(now, tonumber(at)))
    end
    for _, times in pairs(frees) do
      table.sort(times)
    end
  end
  local found = {}
  for _, name in ipairs(call('HKEYS', SIZES)) do
    local size = not taken[name] and size_of(name)
    if size and size.usable >= request.gpus and size.largest >= request.min_memory_mb then
      local times = frees[name] or {}
      local missing = request.gpus - (size.total - #times)
      table.insert(found, {name = name, at = missing > 0 and times[missing] or now})
    end
  end
  table.sort(found, function(a, b)
    if a.at ~= b.at then
      return a.at < b.at
    end
    return a.name < b.name
  end)
  return found
end

-- The node that the request has reserved, else the one that is free soonest, and not reserved by
-- somebody older. Nil when there is none.
local function choose_node(request)
  local own = call('HGET', BOOK, 'reserved ' .. request.holder)
  local size = own and not taken[own] and size_of(own)
  if size and size.usable >= request.gpus then
    -- Most nodes are all alike, and need no closer look
    local is_plain = size.smallest >= request.min_memory_mb and not size.alone
    if is_plain and size.host >= request.min_host_memory_mb or free_at(own, request) then
      return own
    end
  end
  local soonest, chosen
  for _, bound in ipairs(earliest(request)) do
    if soonest and bound.at > soonest then
      break
    end
    local at = free_at(bound.name, request)
    if at and (not soonest or at < soonest or (at == soonest and bound.name < chosen)) then
      soonest, chosen = at, bound.name
    end
  end
  if chosen then
    call('HSET', BOOK, 'reserved ' .. request.holder, chosen)
  else
    call('HDEL', BOOK, 'reserved ' .. request.holder)
  end
  return chosen
end

-- Where the request waits, from now on. Nil: nowhere, and it keeps nothing from the younger.
local function reservation(request)
  local name = choose_node(request)
  if name then
    taken[name] = true
  end
  return name
end

-- Keep for the request what is free on its node. Where only host memory is missing, its GPUs are
-- enough; else all that it could use.
local function keep(node, request)
  local size = size_of(node.name)
  if request.min_host_memory_mb == 0 and not size.alone and size.smallest >= request.min_memory_mb then
    node.left, node.count = {}, 0
    return
  end
  local kept, left, all = {}, {}, left_of(node)
  for _, gpu in ipairs(choose(node, request) or all) do
    kept[gpu.uuid] = is_suitable(gpu, request)
  end
  for _, gpu in ipairs(all) do
    if not kept[gpu.uuid] then
      table.insert(left, gpu)
    end
  end
  node.left, node.count = left, #left
  node.host_is_kept = node.host_is_kept or request.min_host_memory_mb > 0
end

return {reservation = reservation, keep = keep}
