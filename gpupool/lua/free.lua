-- What is free on the nodes.
--
-- The book has the `rows` of each node: how many GPUs it can grant, the best score, the most on one
-- island; and for each GPU a line, the best first, all of one width. FREE has, for each node with
-- something free: how many, the best score and the most on one island that it may have, and for each
-- row 1 or 0: whether it is free.

local function write_free(node)
  local _, count = string.gsub(node.mask, '1', '')
  if count == 0 then
    call('HDEL', FREE, node.name)
  else
    call('HSET', FREE, node.name, table.concat({count, node.best, node.most, node.mask}, ' '))
  end
end

-- Whether the node has rows; they are read once.
local function has_rows(node)
  if not node.lines then
    local size, best, most, lines =
      string.match(call('HGET', BOOK, 'rows ' .. node.name) or '', '^(%d+) (%S+) (%d+)(.*)$')
    node.lines, node.size, node.best, node.most = lines, tonumber(size), tonumber(best), tonumber(most)
  end
  return node.lines
end

-- Say of GPUs of a node that they are free ('1') or not ('0'). One that it cannot grant is in no row.
local function mark(node, uuids, is_free)
  if not has_rows(node) then
    return
  end
  local mask = node.mask or string.match(call('HGET', FREE, node.name) or '', '%d+$')
  mask = mask or string.rep('0', node.size)
  for _, uuid in ipairs(uuids) do
    local found = string.find(node.lines, '\n' .. uuid .. '\n', 1, true)
    if found then
      local before = (found - 1) / (#node.lines / node.size)
      mask = string.sub(mask, 1, before) .. is_free .. string.sub(mask, before + 2)
    end
  end
  node.mask = mask
  write_free(node)
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

local function goes_before(a, b)
  if a.best ~= b.best then
    return a.best > b.best
  end
  if a.count ~= b.count then
    return a.count < b.count
  end
  return a.name < b.name
end

-- The nodes that have something free, the best first: {name, count, best, most, mask, left}. `count` is
-- that of `left`: its free GPUs less those that older requests keep, nil until they are wanted. `best`
-- and `most` may be too high.
local function open_nodes()
  local open, flat = {}, call('HGETALL', FREE)
  for i = 1, #flat, 2 do
    local count, best, most, mask = string.match(flat[i + 1], '^(%d+) (%S+) (%d+) (%d+)$')
    open[#open + 1] = {
      name = flat[i], count = tonumber(count), best = tonumber(best), most = tonumber(most), mask = mask,
    }
  end
  table.sort(open, goes_before)
  return open
end

-- What is in a node's row: {uuid, index, free, total, score, island}. An island is a set of NVLink
-- neighbours; below 0 is a MIG instance, which only works alone.
local function gpu_in(node, row)
  local width = has_rows(node) and #node.lines / node.size
  local uuid, index, free, total, score, island = string.match(
    string.sub(node.lines, (row - 1) * width + 1, row * width), '^\n([^\n]*)\n(%S+) (%S+) (%S+) (%S+) (%S+)'
  )
  return {
    uuid = uuid, index = tonumber(index), free = tonumber(free), total = tonumber(total),
    score = tonumber(score), island = tonumber(island),
  }
end

-- The best of the node's free GPUs that suits; nil when none does.
local function first_free(node, suits)
  local row = string.find(node.mask, '1', 1, true)
  while row do
    local gpu = gpu_in(node, row)
    if suits(gpu) then
      return gpu
    end
    row = string.find(node.mask, '1', row + 1, true)
  end
end

local function left_of(node)
  if not node.left then
    node.left = {}
    first_free(node, function(gpu)
      table.insert(node.left, gpu)
    end)
  end
  return node.left
end
