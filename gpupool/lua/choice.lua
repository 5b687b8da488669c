-- Which of a node's GPUs a request gets. GPUs are in the order of their score, the best first.

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
  return {chosen}
end

-- The best of what the node has left for the request, whose free memory is within 20 % of each other;
-- nil when there are not enough. Also on how many islands they are, and their mean score in hundredths.
local function choose(node, request)
  local function fits(gpu)
    return gpu.free >= request.min_memory_mb and (request.gpus == 1 or gpu.island >= 0)
  end
  local islands_are_alike = node.most == 1 or node.most == #node.mask
  if request.gpus == 1 and islands_are_alike and not node.left then
    local gpu = first_free(node, fits) -- Without a look at the others
    return gpu and {gpu}, 1, gpu and gpu.score
  end
  local fitting = {}
  for _, gpu in ipairs(left_of(node)) do
    if fits(gpu) then
      table.insert(fitting, gpu)
    end
  end
  if #fitting < request.gpus then
    return nil
  end
  if request.gpus == 1 then
    return best_one(fitting), 1, fitting[1].score
  end
  return several()(fitting, request.gpus)
end

return choose
