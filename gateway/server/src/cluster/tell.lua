-- Sends a message to all pods and says which there are: those that said so within the last 6 s.
-- KEYS: the list of announce.lua; ARGV: the channel, the message.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('PUBLISH', ARGV[1], ARGV[2])
return redis.call('ZRANGEBYSCORE', KEYS[1], now - 6000, '+inf')
