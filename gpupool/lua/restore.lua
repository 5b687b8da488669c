-- End a GPU's quarantine.
--
-- ARGV[3]  UUID
--
-- Returns 1, or 0 when it had none.

local had_one = nodes().end_quarantine(ARGV[3])
schedule()
return had_one and 1 or 0
