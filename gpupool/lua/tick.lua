-- End what time alone has ended, and grant what that has freed.
--
-- Returns the leases that ended now, each as `told`.

schedule()
return ended
