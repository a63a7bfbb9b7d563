-- Keeps the lease of a source for longer; 0 where it is no longer the asker's.
-- KEYS: the lease. ARGV: who asks, for so many ms
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
