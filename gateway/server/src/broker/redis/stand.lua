-- Tells a pod where the shard and some channels stand, through the pod's own topic: so it hears it at the right place among the
-- publications that it hears. It is also the probe of the whole path.
--
-- KEYS  the shard; then of each channel its position, its history and its latest.
-- ARGV  fresh, the topic, the nonce (8 bytes), `1` where positions are kept longer; then of each channel the time to live of its position
--       in milliseconds.
-- Gives how many heard it, and this Redis's clock in milliseconds.

local fresh, topic, nonce, renew = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1'
local epoch, since = shard(KEYS[1], fresh)
local number = tonumber(redis.call('HGET', KEYS[1], 'n') or '0')
local places = {}
for at = 1, (#KEYS - 1) / 3 do
  local key, ttl = 3 * at - 1, ARGV[4 + at]
  local salt, offset = place(KEYS[key], KEYS[key + 1], KEYS[key + 2], ttl, fresh)
  if renew then
    redis.call('PEXPIRE', KEYS[key], ttl)
  end
  places[at] = salt .. struct.pack('>I8', offset)
end
local heard = redis.call('PUBLISH', topic, '\2' .. epoch .. struct.pack('>I8I8', number, since) .. nonce
  .. struct.pack('>I2', #places) .. table.concat(places))
return { heard, clock() }
