-- Forget a node's GPUs; the leases on it go on until they end.
--
-- ARGV[3]  node

call('HDEL', NODES, ARGV[3])
call('ZREM', HEARD, ARGV[3])
call('ZREM', DUE, 'node ' .. ARGV[3])
close(ARGV[3])
schedule()
