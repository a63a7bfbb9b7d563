-- What there is to do where the pods of a gateway go from one Redis to another.
--
-- KEYS  the shard.
-- ARGV  fresh, the topic that all pods hear; what: `look`; `leave`, with the name of the other Redis, after which nothing is published
--       here; `open`, after which there is; `arrive`, said again and again by pods that have come, with for how many milliseconds.
-- Gives which Redis the pods have left for (empty: none), and 1 where pods are known to have come from another.

local fresh, topic, what, with = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local ids = KEYS[1]
local epoch, since = shard(ids, fresh)
if what == 'leave' then
  redis.call('HDEL', ids, 'a')
  redis.call('HSET', ids, 'x', with)
  local number = tonumber(redis.call('HGET', ids, 'n') or '0')
  redis.call('PUBLISH', topic, '\2' .. epoch .. struct.pack('>I8I8', number, since) .. string.rep('\0', 8) .. '\0\0')
elseif what == 'open' then
  redis.call('HDEL', ids, 'x')
elseif what == 'arrive' then
  redis.call('HSET', ids, 'a', whole(clock() + tonumber(with)))
end
local arrived = tonumber(redis.call('HGET', ids, 'a') or '0') > clock()
return { redis.call('HGET', ids, 'x') or '', arrived and 1 or 0 }
