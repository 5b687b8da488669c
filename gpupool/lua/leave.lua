-- Wait no more.
--
-- ARGV[3]  holder
--
-- Returns {lease, millisecond it ends} when one was granted meanwhile, else nil.

queue().dequeue(ARGV[3], 0)
schedule()
return lease_of(ARGV[3])
