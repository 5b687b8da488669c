-- Change how many leases a group may have at once. Who has one keeps it.
--
-- ARGV[3]  group
-- ARGV[4]  the limit, 0 for none

local queue = queue()
local group = queue.group_of(ARGV[3])
group.limit = tonumber(ARGV[4])
queue.settle(group)
schedule()
