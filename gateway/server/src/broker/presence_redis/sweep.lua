-- Clears away some of what a pod said of a channel, where its lease has ended.
--
-- KEYS  the pods, the ended pod's channels, the channel's members, their order, its users, its crowd, and what the pod holds of it.
-- ARGV  the ended pod, the topic of news, how many connections are told of, and how many again, the channel, the most members.
-- Gives how many are left.

local lease = redis.call('ZSCORE', KEYS[1], ARGV[1])
if lease and tonumber(lease) > clock() then
  return 0
end
local channel = {
  members = KEYS[3], order = KEYS[4], users = KEYS[5], crowd = KEYS[6],
  topic = ARGV[2], most = tonumber(ARGV[3]), again = tonumber(ARGV[4]), name = ARGV[5],
}
for _, connection in ipairs(redis.call('SPOP', KEYS[7], ARGV[6])) do
  local kept = redis.call('HGET', channel.members, connection)
  local pod, user, member
  if kept then
    pod, user, member = parts(kept)
  end
  if pod == ARGV[1] then
    local last = remove(channel, connection, user)
    if kept:sub(1, 1) == '1' then
      tell(channel, last and ('-' .. connection .. member))
    end
  end
end
if redis.call('EXISTS', channel.members) == 0 then
  redis.call('DEL', channel.crowd)
end
local left = redis.call('SCARD', KEYS[7])
if left == 0 then
  redis.call('SREM', KEYS[2], channel.name)
end
return left
