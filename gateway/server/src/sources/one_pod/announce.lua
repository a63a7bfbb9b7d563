-- Announces a gap to every pod, if the lease is the asker's.
-- KEYS: the lease, the place of announced gaps. ARGV: who asks, the announcement
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[2])
return 1
