-- Which of a node's GPUs a request gets. GPUs are in the order of their score, the best first.

local function in_band(gpus)
  local low, high = math.huge, 0
  for _, gpu in ipairs(gpus) do
    low, high = math.min(low, gpu.free), math.max(high, gpu.free)
  end
  return low * 10 >= high * 8
end

-- Of GPUs in the order of their score: one of the best, whose island has the fewest left.
local function best_one(gpus)
  local left = {}
  for _, gpu in ipairs(gpus) do
    left[gpu.island] = (left[gpu.island] or 0) + 1
  end
  local chosen
  for _, gpu in ipairs(gpus) do
    if gpu.score < gpus[1].score then
      break
    end
    if not chosen or left[gpu.island] < left[chosen.island] then
      chosen = gpu
    end
  end
  return {chosen}, 1
end

-- `count` of the GPUs on the fewest islands: the smallest island that is large enough, else the
-- largest ones first. Second result: how many islands that are.
local function neighbours(gpus, count)
  local islands, by_name = {}, {}
  for _, gpu in ipairs(gpus) do
    local island = by_name[gpu.island]
    if not island then
      island = {gpus = {}, first = #islands}
      by_name[gpu.island] = island
      table.insert(islands, island)
    end
    table.insert(island.gpus, gpu)
  end
  table.sort(islands, function(a, b)
    local a_fits, b_fits = #a.gpus >= count, #b.gpus >= count
    if a_fits ~= b_fits then
      return a_fits
    end
    if #a.gpus ~= #b.gpus then
      return (#a.gpus < #b.gpus) == a_fits
    end
    return a.first < b.first
  end)
  local chosen, used = {}, 0
  for _, island in ipairs(islands) do
    used = used + 1
    for _, gpu in ipairs(island.gpus) do
      table.insert(chosen, gpu)
      if #chosen == count then
        return chosen, used
      end
    end
  end
end

-- The best of the GPUs for the request, whose free memory is within 20 % of each other; nil when
-- there are not enough. Also on how many islands they are, and their mean score in hundredths.
local function choose(gpus, request)
  local fitting = {}
  for _, gpu in ipairs(gpus) do
    if gpu.free >= request.min_memory_mb and (request.gpus == 1 or gpu.island >= 0) then
      table.insert(fitting, gpu)
    end
  end
  if #fitting < request.gpus then
    return nil
  end
  if request.gpus == 1 then
    local one, islands = best_one(fitting)
    return one, islands, one[1].score
  end
  local bands = {fitting}
  if not in_band(fitting) then
    bands = {}
    for _, largest in ipairs(fitting) do
      local band = {}
      for _, gpu in ipairs(fitting) do
        if gpu.free <= largest.free and gpu.free * 10 >= largest.free * 8 then
          table.insert(band, gpu)
        end
      end
      table.insert(bands, band)
    end
  end
  local chosen, fewest, highest
  for _, band in ipairs(bands) do
    local set, islands = neighbours(band, request.gpus)
    if set then
      local sum = 0
      for _, gpu in ipairs(set) do
        sum = sum + gpu.score
      end
      local mean = math.floor(sum / #set + 0.5)
      if not chosen or islands < fewest or (islands == fewest and mean > highest) then
        chosen, fewest, highest = set, islands, mean
      end
    end
  end
  return chosen, fewest, highest
end

-- Whether the GPU could serve the request if nobody used it.
local function is_suitable(gpu, request)
  return gpu.total >= request.min_memory_mb and (request.gpus == 1 or gpu.island >= 0)
end
