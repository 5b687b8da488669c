-- Look a lease up.
--
-- ARGV[3]  lease id
--
-- Returns the lease as `told`, nil when it has ended.

schedule()
return find(ARGV[3])
