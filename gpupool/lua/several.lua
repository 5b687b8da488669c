-- Which of a node's GPUs a request for several gets. GPUs are in the order of their score.

local function in_band(gpus)
  local low, high = math.huge, 0
  for _, gpu in ipairs(gpus) do
    low, high = math.min(low, gpu.free), math.max(high, gpu.free)
  end
  return low * 10 >= high * 8
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

-- The best set, within 20 % of free memory of each other; nil when there is none. Also on how many
-- islands it is, and its mean score in hundredths.
local function choose_several(fitting, count)
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
    local set, islands = neighbours(band, count)
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

return choose_several
