-- End what time alone has ended, and grant what that has freed.
--
-- Returns the leases that ended now, flat: JSON, millisecond of its end, JSON, …

schedule()
return ended
