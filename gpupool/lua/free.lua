-- What is free on the nodes.
--
-- FREE has, for each node with something free, "how many, the best score, the most on one island"
-- and the GPUs as JSON; or nothing, when it has changed and has to be looked up. Written down is
-- what a script has looked up and left as it was.

local function gpu_of(row)
  return {uuid = row[1], index = row[2], free = row[3], total = row[4], score = row[5], island = row[6]}
end

-- The GPUs of a node that nobody has and that are sound, each {uuid, index, free, total, score, island}.
-- An island is a set of NVLink neighbours; below 0 is a MIG instance, which only works alone.
local function look_up(name)
  local text = call('HGET', BOOK, 'offer ' .. name)
  local gpus, uuids, left = text and cjson.decode(text).gpus or {}, {}, {}
  for i, gpu in ipairs(gpus) do
    uuids[i] = gpu[1]
  end
  for i, entry in ipairs(#gpus > 0 and call('HMGET', HELD, unpack(uuids)) or {}) do
    if not entry and not gpus[i][7] then
      left[#left + 1] = gpu_of(gpus[i])
    end
  end
  return left
end

-- How large a node is, as `write_offer` has written; nil when nothing is granted there.
local function size_of(name)
  local text = call('HGET', SIZES, name)
  if not text then
    return nil
  end
  local usable, total, largest, smallest, alone, host =
    string.match(text, '^(%d+) (%d+) (%d+) (%d+) (%d) (%d+)$')
  return {
    usable = tonumber(usable), total = tonumber(total), largest = tonumber(largest),
    smallest = tonumber(smallest), alone = alone == '1', host = tonumber(host),
  }
end

-- How many there are, the best score (they are in its order), and the most on one island.
local function outline(gpus)
  local most, on = 0, {}
  for _, gpu in ipairs(gpus) do
    local count = (on[gpu.island] or 0) + 1
    on[gpu.island] = count
    most = math.max(most, count)
  end
  return #gpus, gpus[1].score, most
end

local function write_free(node)
  local rows = {}
  for i, gpu in ipairs(node.free) do
    rows[i] = {gpu.uuid, gpu.index, gpu.free, gpu.total, gpu.score, gpu.island}
  end
  local count, best, most = outline(node.free)
  call('HSET', FREE, node.name, table.concat({count, best, most, cjson.encode(rows)}, ' '))
end

local function goes_before(a, b)
  if a.best ~= b.best then
    return a.best > b.best
  end
  if a.count ~= b.count then
    return a.count < b.count
  end
  return a.name < b.name
end

-- The nodes that have something free, the best first: {name, count, best, most, left, free}. `left`
-- are its free GPUs less those that older requests keep, both nil until they are wanted.
local function open_nodes()
  local open, flat = {}, call('HGETALL', FREE)
  for i = 1, #flat, 2 do
    local node = {name = flat[i]}
    if flat[i + 1] == '' then
      node.left = look_up(node.name)
      node.free, node.is_new = node.left, true
      if #node.left > 0 then
        node.count, node.best, node.most = outline(node.left)
      else
        call('HDEL', FREE, node.name)
      end
    else
      local count, best, most, rows = string.match(flat[i + 1], '^(%d+) (%d+) (%d+) (.*)$')
      node.count, node.best, node.most = tonumber(count), tonumber(best), tonumber(most)
      node.rows = rows
    end
    if node.count then
      open[#open + 1] = node
    end
  end
  table.sort(open, goes_before)
  return open
end

-- Write down what was looked up and has not changed.
local function close_nodes(open)
  for _, node in ipairs(open) do
    if node.is_new then
      write_free(node)
    end
  end
end

local function left_of(node)
  if not node.left then
    node.left = {}
    for i, gpu in ipairs(cjson.decode(node.rows)) do
      node.left[i] = gpu_of(gpu)
    end
    node.free = node.left
  end
  return node.left
end

return {size_of = size_of, open_nodes = open_nodes, close_nodes = close_nodes, left_of = left_of}
