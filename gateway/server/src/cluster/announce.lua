-- Puts a pod on the list of those that are there, and says what time it is: Unix milliseconds.
-- KEYS: the list, by when each was heard of last; ARGV: the pod.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - 60000)
redis.call('PEXPIRE', KEYS[1], 60000)
return now
