-- Look a lease up.
--
-- ARGV[3]  lease id
--
-- Returns {lease, millisecond it ends}, nil when it has ended.

schedule()
local text = call('HGET', BOOK, 'lease ' .. ARGV[3])
return text and {text, end_of(ARGV[3])} or nil
