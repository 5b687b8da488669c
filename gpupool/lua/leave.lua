-- Wait no more.
--
-- ARGV[3]  holder
--
-- Returns the lease as `told` when one was granted meanwhile, else nil.

queue().dequeue(ARGV[3], 0)
schedule()
return lease_of(ARGV[3])
