-- Whose turn it is, and which GPUs it gets: the whole policy of the pool.
--
-- Requests are served in one order: priority, then age. Whoever cannot be served reserves one node
-- and keeps what is free there, so that nothing younger delays it; a younger one may take what is
-- left elsewhere. A reservation stays on its node, and so only older leases can be waited for.
--
-- Requests of one shape (GPUs, memory, host memory) can all be served or none: the queue is walked
-- shape by shape, always the oldest head of all, until nothing is left to give. The work depends on
-- how many nodes and shapes there are, not on how many wait.

local function policy() -- All of it in one, for most scripts end without a look at it

  local function host_memory_fits(node, request)
    if request.min_host_memory_mb == 0 then
      return true
    end
    local reserved = tonumber(call('HGET', HOST, node.name) or 0)
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
        local set, islands, score = choose(left_of(node), request)
        if set and is_better(best, islands, score, node.count, node.name) then
          best = {node = node, gpus = set, islands = islands, score = score}
        end
      end
    end
    return best.node, best.gpus
  end

  -- When so many GPUs of the node will be free for the request, as far as anybody knows; nil when the
  -- node is too small, even empty.
  local function free_at(node, request)
    if request.min_host_memory_mb > node.host then
      return nil
    end
    local times = {}
    for _, gpu in ipairs(node.all) do
      if is_suitable(gpu, request) then
        table.insert(times, math.max(now, gpu.frees))
      end
    end
    table.sort(times)
    return times[request.gpus]
  end

  local frees -- by node: when its leased GPUs may be free, as far as it was asked for

  -- The nodes that are large enough, with the time before which so many of their GPUs are not free: told
  -- by what is held, without a look at each node.
  local function earliest(request, taken)
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

  -- Where the request waits: the node that it has reserved, else the one that is free soonest, and not
  -- reserved by somebody older. Nil when there is none: then it keeps nothing from the younger.
  local function reservation(request, taken)
    local own = call('HGET', RESERVED, request.holder)
    local size = own and not taken[own] and size_of(own)
    if size and size.usable >= request.gpus then
      -- Most nodes are all alike, and need no closer look
      local is_plain = size.smallest >= request.min_memory_mb and not size.alone
      if is_plain and size.host >= request.min_host_memory_mb or free_at(node_of(own), request) then
        return own
      end
    end
    local soonest, chosen
    for _, bound in ipairs(earliest(request, taken)) do
      if soonest and bound.at > soonest then
        break
      end
      local at = free_at(node_of(bound.name), request)
      if at and (not soonest or at < soonest or (at == soonest and bound.name < chosen)) then
        soonest, chosen = at, bound.name
      end
    end
    if chosen then
      call('HSET', RESERVED, request.holder, chosen)
    else
      call('HDEL', RESERVED, request.holder)
    end
    return chosen
  end

  -- Keep for the request what is free on its node. Where only host memory is missing, its GPUs are
  -- enough; else all that it could use.
  local function keep(node, request)
    local size = size_of(node.name)
    if request.min_host_memory_mb == 0 and not size.alone and size.smallest >= request.min_memory_mb then
      node.left, node.free, node.count = {}, node.free or {}, 0
      return
    end
    local kept, left = {}, {}
    for _, gpu in ipairs(choose(left_of(node), request) or node.left) do
      kept[gpu.uuid] = is_suitable(gpu, request)
    end
    for _, gpu in ipairs(node.left) do
      if not kept[gpu.uuid] then
        table.insert(left, gpu)
      end
    end
    node.left, node.count = left, #left
    node.host_is_kept = node.host_is_kept or request.min_host_memory_mb > 0
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

  -- Write the lease down and say so. Returns {its text, the millisecond it ends}.
  local function grant(request, node, gpus, is_new_request)
    table.sort(gpus, function(a, b) return a.index < b.index end)
    local uuids, mine = {}, {}
    for i, gpu in ipairs(gpus) do
      uuids[i] = gpu.uuid
      mine[gpu.uuid] = true
    end
    local has_kept = node.left ~= node.free
    node.free = without(node.free, mine)
    node.left = has_kept and without(node.left, mine) or node.free
    node.count, node.is_new = #node.left, false
    if #node.free == 0 then
      call('HDEL', FREE, node.name)
    elseif node.rows then
      call('HSET', FREE, node.name, '')
    end
    local token = call('HINCRBY', POOL, 'token', 1)
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
    if is_new_request or not dequeue(request.holder, 1) then
      count_lease(request.group, 1, request.group_limit)
    end
    record(lease, text)
    return {text, string.format('%.0f', now + ttl)}
  end

  local function head_after(shape, last)
    local found = call('ZRANGEBYLEX', QUEUE, last, '(' .. shape .. '\1', 'LIMIT', 0, 1)[1]
    if not found then
      return nil
    end
    local order, holder = string.match(found, '^[^%z]*%z([^%z]*)%z([^%z]*)$')
    return {shape = shape, order = order, holder = holder, last = '(' .. found}
  end

  local function oldest(heads)
    local first
    for _, head in pairs(heads) do
      if not first or head.order < first.order then
        first = head
      end
    end
    return first
  end

  local function without_the_full(open)
    local left = {}
    for _, node in ipairs(open) do
      if node.count > 0 then
        left[#left + 1] = node
      end
    end
    return left
  end

  -- Serve the request, or let it keep what it waits for. Returns the nodes that still have something
  -- left; nil when it can do nothing, as then all others of its shape.
  local function serve(request, open, taken)
    local node, gpus = place(request, open)
    if node then
      local lease = grant(request, node, gpus)
      call('PUBLISH', CHANNEL .. 'granted:' .. request.holder, cjson.encode(lease))
      return node.count > 0 and open or without_the_full(open)
    end
    if request.gpus == 1 and request.min_host_memory_mb == 0 then
      return nil -- Nothing fits; and one GPU is kept by taking it
    end
    local name = reservation(request, taken)
    if not name then
      return nil
    end
    taken[name] = true
    for _, one in ipairs(open) do
      if one.name == name then
        keep(one, request)
        return one.count > 0 and open or without_the_full(open)
      end
    end
    return open
  end

  -- Grant everything that can be granted now.
  local function serve_all()
    local all, heads, taken = open_nodes(), {}, {}
    local open = all
    if #open == 0 then
      return
    end
    for _, shape in ipairs(call('HKEYS', SHAPES)) do
      heads[shape] = head_after(shape, '[' .. shape .. '\0')
    end
    local head = oldest(heads)
    while head and #open > 0 do
      local still_open = serve(request_of(head.holder), open, taken)
      heads[head.shape] = still_open and head_after(head.shape, head.last)
      open = still_open or open
      head = oldest(heads)
    end
    close_nodes(all)
  end

  -- Grant a new request, if there are GPUs for it; else nil.
  local function serve_one(request)
    local open = open_nodes()
    local node, gpus = place(request, open)
    local lease = node and grant(request, node, gpus, true)
    close_nodes(open)
    return lease
  end

  return serve_all, serve_one
end

-- Grant everything that can be granted now.
local function schedule()
  if now >= opens and call('HLEN', SHAPES) > 0 then
    local serve_all = policy()
    serve_all()
  end
end

-- Grant a new request at once, if nobody waits whom that could delay. Returns as `grant`, or nil.
local function grant_at_once(request)
  if now < opens or call('HLEN', SHAPES) > 0 then
    return nil
  end
  if request.group ~= '' then
    local group = group_of(request.group)
    local is_known = group.leases > 0 or group.eligible > 0
    if is_known and group.limit ~= request.group_limit then
      return nil -- Another limit may let an older one of the group go first
    end
    if group.limit > 0 and group.leases >= group.limit then
      return nil
    end
  end
  local _, serve_one = policy()
  return serve_one(request)
end
