-- Let a lease that has not ended live longer; after lost data, take it up again.
--
-- Taken up is only what no newer lease has: where two claim a GPU, the higher token is right, for
-- its holder was granted what the other had given back.
--
-- ARGV[3]  lease id
-- ARGV[4]  the lease as JSON, as it was granted; empty: it may have ended, and is not taken up
--
-- Returns 'held', 'lost' when it has ended, or 'revoked ' and by whom.

local function take_up()
  local lease = cjson.decode(ARGV[4])
  local others = call('HMGET', HELD, unpack(lease.gpus))
  local older = {}
  table.insert(others, (call('HGET', BOOK, 'holder ' .. lease.holder) or '') .. ' ')
  for _, entry in ipairs(others) do
    local other = entry and string.match(entry, '^(%S+) ')
    local text = other and call('HGET', BOOK, 'lease ' .. other)
    if text then
      if cjson.decode(text).token > lease.token then
        return 'lost'
      end
      older[other] = true
    end
  end
  for other in pairs(older) do
    finish(other)
    tell(other)
  end
  token = math.max(token, lease.token)
  queue().dequeue(lease.holder, 0) -- Its request may have been of another group
  count_lease(lease.group, 1)
  record(lease, ARGV[4])
  mark({name = lease.node}, lease.gpus, '0')
  return 'held'
end

local text = call('HGET', BOOK, 'lease ' .. ARGV[3])
local answer = 'held'
if text then
  local by = cjson.decode(text).revoked
  if by and by ~= '' then
    answer = 'revoked ' .. by
  else
    call('ZADD', DUE, now + ttl, 'lease ' .. ARGV[3])
  end
else
  answer = now < opens and ARGV[4] ~= '' and take_up() or 'lost'
end
schedule()
return answer
