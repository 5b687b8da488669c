-- Who is served now.

-- Grant everything that can be granted now.
local function schedule()
  if now >= opens and call('HLEN', SHAPES) > 0 then
    order()()
  end
end

-- Grant a new request at once, if nobody waits whom that could delay. Returns as `grant`, or nil.
local function grant_at_once(request)
  if now < opens or call('HLEN', SHAPES) > 0 then
    return nil
  end
  if request.group ~= '' then
    local group = queue().group_of(request.group)
    local is_known = group.leases > 0 or group.eligible > 0
    if is_known and group.limit ~= request.group_limit then
      return nil -- Another limit may let an older one of the group go first
    end
    if group.limit > 0 and group.leases >= group.limit then
      return nil
    end
  end
  local place = place()
  local node, gpus = place.place(request, open_nodes())
  return node and place.grant(request, node, gpus, true)
end
