-- What every script of the pool begins with: its names, and its clock.
--
-- KEYS: all keys of the pool, in the order of `KEYS` in scripts.py, which says what is in each
-- ARGV[1]  time to live of a lease, in milliseconds
-- ARGV[2]  '1' when this Redis may have come back with less than it had confirmed
-- ARGV[3]  and following: the script's own

local BOOK, FREE, HELD, SIZES = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local SHAPES, QUEUE, DUE = KEYS[5], KEYS[6], KEYS[7]
local CHANNEL = string.sub(BOOK, 1, -5) -- The prefix of all keys, with its colon

local call = redis.call
local ttl = tonumber(ARGV[1])

local SILENT_AFTER = 10000 -- ms without a word from a node until nothing is granted on it
local FORGOTTEN_AFTER = 86400000 -- ms until a silent node is no longer listed
local WAITS_FOR = 60000 -- ms for which a request that is not repeated keeps its place
local WRITE_EVERY = 20 -- ms: of the clock
local LONGEST_STEP = 5000 -- ms that the pool's clock advances at most between two scripts
local EPOCH = 'epoch 2' -- Counted up when what is written down changes its form
local USUAL_DURATION = 300000 -- ms: of a lease of which nobody said how long it will be

-- The clock -------------------------------------------------------------------------------------
--
-- Redis's clock, made steady: it does not go back (but for WRITE_EVERY, the time for which it is not
-- written down), and a step forward (an administrator, a suspended machine, an outage) counts for no
-- more than LONGEST_STEP, so that it ends nobody's lease, nor the time in which holders may say again
-- what they hold. While there is neither it may step as it likes.

local time = call('TIME')
local wall = time[1] * 1000 + math.floor(time[2] / 1000)
local kept = call('HMGET', BOOK, EPOCH, 'run', 'opens', 'clock', 'wall', 'token')
local passed = wall - (tonumber(kept[5]) or wall)
local step = math.max(0, passed)
if step > LONGEST_STEP then
  local may_be_leased = call('HLEN', HELD) > 0 or tonumber(kept[3]) > tonumber(kept[4])
  step = may_be_leased and LONGEST_STEP or step
end
local now = (tonumber(kept[4]) or wall) + step
local is_new = not kept[1]
if is_new then
  call('DEL', BOOK, FREE, HELD, SIZES, SHAPES, QUEUE, DUE)
end
local is_first = is_new or passed >= WRITE_EVERY or passed < 0 -- in so long
if is_first then
  call('HSET', BOOK, 'clock', now, 'wall', wall)
end

-- Lost data -------------------------------------------------------------------------------------
--
-- A Redis without our epoch has lost everything, or is new; or its books are in the form of another
-- version, which is not read: they are thrown away. One with another run id was restarted or took
-- over, and may lack the last writes. In all these cases nothing is granted until every holder
-- has had a full time to live to say again what it holds. Tokens go on above all that were given:
-- they are counted from ten times the milliseconds of the clock, and no pool grants ten in one.

local opens, token = tonumber(kept[3]) or 0, tonumber(kept[6]) or 0
local run = ''
if ARGV[2] == '1' then
  local info = call('INFO', 'server')
  local _, last = string.find(info, 'run_id:', 1, true)
  run = string.sub(info, last + 1, last + 40)
end
if is_new or (run ~= '' and run ~= kept[2]) then
  opens = now + ttl
  token = math.max(token, wall * 10)
  call('HSET', BOOK, EPOCH, kept[1] or wall, 'run', run, 'opens', opens, 'token', token)
end

local looked_up = {} -- nodes by name, as far as this script has looked: see `node_of` in reserve.lua
