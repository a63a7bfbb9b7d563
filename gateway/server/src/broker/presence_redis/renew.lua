-- Renews a pod's lease where it has not ended, or begins one.
--
-- KEYS  the pods.
-- ARGV  the pod, the length of a lease in milliseconds, `1` to begin one.
-- Gives 1 where there is a lease now, and some pods whose leases have ended.

local now = clock()
local lease = redis.call('ZSCORE', KEYS[1], ARGV[1])
local holds = ARGV[3] == '1' or (lease and tonumber(lease) > now)
if holds then
  redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
end
return { holds and 1 or 0, redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 16) }
