-- Grant nothing more on a node; the leases on it go on. Or again, as soon as it is published.
--
-- ARGV[3]  node
-- ARGV[4]  why, or '' to end it

if ARGV[4] == '' then
  call('HDEL', BOOK, 'draining ' .. ARGV[3])
else
  call('HSET', BOOK, 'draining ' .. ARGV[3], ARGV[4])
  nodes().close(ARGV[3])
end
schedule()
