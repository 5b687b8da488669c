-- Take a lease away: it cannot be renewed any more, and its holder is told. Its GPUs are free when
-- the holder has stopped and gives it back, at the latest when it ends by itself.
--
-- ARGV[3]  lease id
-- ARGV[4]  by whom
--
-- Returns 1, or 0 when it had ended.

schedule()
local text = call('HGET', BOOK, 'lease ' .. ARGV[3])
if not text then
  return 0
end
local lease = cjson.decode(text)
lease.revoked = ARGV[4]
call('HSET', BOOK, 'lease ' .. ARGV[3], cjson.encode(lease))
tell(ARGV[3])
return 1
