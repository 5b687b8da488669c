-- Whose turn it is, and which GPUs it gets: the whole policy of the pool.
--
-- Requests are served in one order: priority, then age. Whoever cannot be served reserves one node
-- and keeps what is free there, so that nothing younger delays it; a younger one may take what is
-- left elsewhere. A reservation stays on its node, and so only older leases can be waited for.
--
-- Requests of one shape (GPUs, memory, host memory) can all be served or none: the queue is walked
-- shape by shape, always the oldest head of all, until nothing is left to give. The work depends on
-- how many nodes and shapes there are, not on how many wait.

local place = place()

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
local function serve(request, open, reserve)
  local node, gpus = place.place(request, open)
  if node then
    call('PUBLISH', CHANNEL .. 'granted:' .. request.holder, place.grant(request, node, gpus))
    return node.count > 0 and open or without_the_full(open)
  end
  if request.gpus == 1 and request.min_host_memory_mb == 0 then
    return nil -- Nothing fits; and one GPU is kept by taking it
  end
  local name = reserve.reservation(request)
  if not name then
    return nil
  end
  for _, one in ipairs(open) do
    if one.name == name then
      reserve.keep(one, request)
      return one.count > 0 and open or without_the_full(open)
    end
  end
  return open
end

-- Grant everything that can be granted now.
local function serve_all()
  local open, heads = open_nodes(), {}
  if #open == 0 then
    return
  end
  local reserve = reserve()
  for _, shape in ipairs(call('HKEYS', SHAPES)) do
    heads[shape] = head_after(shape, '[' .. shape .. '\0')
  end
  local head = oldest(heads)
  while head and #open > 0 do
    local still_open = serve(queue().request_of(head.holder), open, reserve)
    heads[head.shape] = still_open and head_after(head.shape, head.last)
    open = still_open or open
    head = oldest(heads)
  end
end

return serve_all
