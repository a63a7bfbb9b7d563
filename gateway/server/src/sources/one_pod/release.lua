-- Gives the lease of a source up, if it is the asker's.
-- KEYS: the lease. ARGV: who asks
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
