-- What every script of the pool begins with: its names, its clock, and what time alone has ended.
--
-- KEYS: all keys of the pool, in the order of `KEYS` in scripts.py, which says what is in each
-- ARGV[1]  time to live of a lease, in milliseconds
-- ARGV[2]  '1' when this Redis may have come back with less than it had confirmed
-- ARGV[3]  and following: the script's own

local POOL, NODES, HEARD, DRAINING, OFFERS, FREE = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local HELD, HOST, QUARANTINE, LEASES, HOLDERS = KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11]
local WAITING, QUEUE, SHAPES, RESERVED = KEYS[12], KEYS[13], KEYS[14], KEYS[15]
local GROUPS, MEMBERS, DUE, SIZES = KEYS[16], KEYS[17], KEYS[18], KEYS[19]
local CHANNEL = string.sub(POOL, 1, -5) -- The prefix of all keys, with its colon

local call = redis.call
local ttl = tonumber(ARGV[1])

local SILENT_AFTER = 10000 -- ms without a word from a node until nothing is granted on it
local FORGOTTEN_AFTER = 86400000 -- ms until a silent node is no longer listed
local WAITS_FOR = 60000 -- ms for which a request that is not repeated keeps its place
local WRITE_EVERY = 20 -- ms: of the clock
local LONGEST_STEP = 5000 -- ms that the pool's clock advances at most between two scripts
local USUAL_DURATION = 300000 -- ms: of a lease of which nobody said how long it will be

-- The clock -------------------------------------------------------------------------------------
--
-- Redis's clock, made steady: it does not go back (but for WRITE_EVERY, the time for which it is not
-- written down), and a step forward (an administrator, a suspended machine, an outage) counts for no
-- more than LONGEST_STEP, so that it ends nobody's lease, nor the time in which holders may say again
-- what they hold. While there is neither it may step as it likes.

local time = call('TIME')
local wall = time[1] * 1000 + math.floor(time[2] / 1000)
local kept = call('HMGET', POOL, 'epoch', 'run', 'opens', 'clock', 'wall')
local passed = wall - (tonumber(kept[5]) or wall)
local step = math.max(0, passed)
if step > LONGEST_STEP then
  local may_be_leased = call('HLEN', LEASES) > 0 or tonumber(kept[3]) > tonumber(kept[4])
  step = may_be_leased and LONGEST_STEP or step
end
local now = (tonumber(kept[4]) or wall) + step
local is_first = not kept[4] or passed >= WRITE_EVERY or passed < 0 -- in so long
if is_first then
  call('HSET', POOL, 'clock', now, 'wall', wall)
end

-- Lost data -------------------------------------------------------------------------------------
--
-- A Redis without our epoch has lost everything, or is new; one with another run id was restarted
-- or took over, and may lack the last writes. In both cases nothing is granted until every holder
-- has had a full time to live to say again what it holds. Tokens go on above all that were given:
-- they are counted from ten times the milliseconds of the clock, and no pool grants ten in one.

local opens = tonumber(kept[3]) or 0
local is_new = not kept[1]
local run = ''
if ARGV[2] == '1' then
  run = string.match(call('INFO', 'server'), 'run_id:(%w+)') or ''
end
if is_new or (run ~= '' and run ~= kept[2]) then
  opens = now + ttl
  local token = math.max(tonumber(call('HGET', POOL, 'token') or 0), wall * 10)
  call('HSET', POOL, 'epoch', kept[1] or wall, 'run', run, 'opens', opens,
    'token', string.format('%.0f', token))
end

-- Nodes -----------------------------------------------------------------------------------------

local nodes = {} -- by name, as far as this script has looked: see `node_of`

-- The node: `all` its usable GPUs, `left` those of them that nobody has, each {uuid, index, free,
-- total, score, island, frees: when it may be free}; nil when nothing is granted there.
-- An island is a set of NVLink neighbours; below 0 is a MIG instance, which only works alone.
local function node_of(name)
  if nodes[name] then
    return nodes[name]
  end
  local text = call('HGET', OFFERS, name)
  if not text then
    return nil
  end
  local offer = cjson.decode(text)
  local node = {name = name, all = {}, left = {}, host = offer.host}
  nodes[name] = node
  if #offer.gpus == 0 then
    return node
  end
  local uuids = {}
  for i, gpu in ipairs(offer.gpus) do
    uuids[i] = gpu[1]
  end
  for i, entry in ipairs(call('HMGET', HELD, unpack(uuids))) do
    local gpu = offer.gpus[i]
    local ill_until = gpu[7] -- Below 0: until somebody returns it
    local one = {
      uuid = gpu[1], index = gpu[2], free = gpu[3], total = gpu[4], score = gpu[5], island = gpu[6],
      frees = math.max(entry and tonumber(string.match(entry, ' (%d+) ')) or 0, ill_until or 0),
    }
    if not ill_until or ill_until >= 0 then
      node.all[#node.all + 1] = one
    end
    if not entry and not ill_until then
      node.left[#node.left + 1] = one
    end
  end
  return node
end

-- Keep what a node offers, and an outline of it: how many of its GPUs can be granted sooner or later
-- (not those that somebody has to return first), how many there are, of the first the memory of the
-- largest and of the smallest, whether some work only alone; and its host memory.
local function write_offer(name, offer)
  local usable, largest, smallest, alone = 0, 0, math.huge, 0
  for _, gpu in ipairs(offer.gpus) do
    if (gpu[7] or 0) >= 0 then
      usable, largest, smallest = usable + 1, math.max(largest, gpu[4]), math.min(smallest, gpu[4])
      alone = gpu[6] < 0 and 1 or alone
    end
  end
  smallest = math.min(smallest, largest)
  call('HSET', OFFERS, name, cjson.encode(offer))
  call('HSET', SIZES, name, table.concat({usable, #offer.gpus, largest, smallest, alone, offer.host}, ' '))
end

-- Something of the node may be free now. What it is, the next look at it will tell.
local function reopen(name)
  nodes[name] = nil
  call('HSET', FREE, name, '')
end

-- Grant nothing there until it is published again.
local function close(name)
  nodes[name] = nil
  call('HDEL', OFFERS, name)
  call('HDEL', SIZES, name)
  call('HDEL', FREE, name)
end
