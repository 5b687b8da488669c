-- Grant a GPU to nobody, for a while or until it is returned. A lease on it goes on.
--
-- ARGV[3]  UUID
-- ARGV[4]  its node
-- ARGV[5]  why
-- ARGV[6]  milliseconds from now, or -1: until it is returned

nodes().quarantine(ARGV[3], ARGV[4], ARGV[5], ARGV[6] == '-1' and -1 or now + ARGV[6])
schedule()
