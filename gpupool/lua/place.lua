-- Where a request gets its GPUs, and the grant.

local choose = choice()

local function host_memory_fits(node, request)
  if request.min_host_memory_mb == 0 then
    return true
  end
  local reserved = tonumber(call('HGET', BOOK, 'host ' .. node.name) or 0)
  return not node.host_is_kept and reserved + request.min_host_memory_mb <= size_of(node.name).host
end

-- Whether GPUs on so many islands with this score, of a node with so many left, go before the best.
local function is_better(best, islands, score, count, name)
  if not best.node or islands ~= best.islands then
    return not best.node or islands < best.islands
  end
  if score ~= best.score then
    return score > best.score
  end
  if count ~= best.node.count then
    return count < best.node.count
  end
  return name < best.node.name
end

-- The node, and its GPUs, that the request gets now: neighbours first, then the best score, then the
-- node where the fewest are left, so that whole nodes stay whole. Nil when there is none.
local function place(request, open)
  local best = {}
  for _, node in ipairs(open) do
    if node.count >= request.gpus and is_better(
      best, math.ceil(request.gpus / node.most), node.best, node.count, node.name
    ) and host_memory_fits(node, request) then
      local set, islands, score = choose(node, request)
      if set and is_better(best, islands, score, node.count, node.name) then
        best = {node = node, gpus = set, islands = islands, score = score}
      end
    end
  end
  return best.node, best.gpus
end

local function without(gpus, mine)
  local left = {}
  for _, gpu in ipairs(gpus) do
    if not mine[gpu.uuid] then
      left[#left + 1] = gpu
    end
  end
  return left
end

-- Write the lease down. Returns it as `told`.
local function grant(request, node, gpus, is_new_request)
  table.sort(gpus, function(a, b) return a.index < b.index end)
  local uuids, mine = {}, {}
  for i, gpu in ipairs(gpus) do
    uuids[i] = gpu.uuid
    mine[gpu.uuid] = true
  end
  mark(node, uuids, '0')
  node.left = node.left and without(node.left, mine)
  node.count = node.left and #node.left or node.count - #gpus
  token = token + 1
  local lease = {
    id = redis.sha1hex(token .. ' ' .. time[1] .. time[2] .. ' ' .. request.holder),
    token = token,
    holder = request.holder,
    group = request.group,
    node = node.name,
    gpus = uuids,
    granted_at = now / 1000,
    since = request.since / 1000,
    min_memory_mb = request.min_memory_mb,
    min_host_memory_mb = request.min_host_memory_mb,
    group_limit = request.group_limit,
    priority = request.priority,
    expected = request.expected,
  }
  local text = cjson.encode(lease)
  if is_new_request or not queue().dequeue(request.holder, 1) then
    count_lease(request.group, 1, request.group_limit)
  end
  record(lease, text)
  return told(text, now + ttl)
end

return {place = place, grant = grant}
