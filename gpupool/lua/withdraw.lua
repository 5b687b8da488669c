-- Forget a node's GPUs; the leases on it go on until they end.
--
-- ARGV[3]  node

call('HDEL', BOOK, 'node ' .. ARGV[3], 'heard ' .. ARGV[3])
call('ZREM', DUE, 'node ' .. ARGV[3], 'listed ' .. ARGV[3])
nodes().close(ARGV[3])
schedule()
