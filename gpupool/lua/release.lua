-- End a lease, and grant its GPUs to whoever is next.
--
-- A lease whose time is over cannot be ended by its id: it is not its holder's any more.
--
-- ARGV[3]  lease id
--
-- Returns 1, or 0 when it had ended.

local text = finish(ARGV[3])
schedule()
return text and 1 or 0
