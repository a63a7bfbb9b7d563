-- Reads some members of a channel, and how many there are.
--
-- KEYS  the pods, and the channel's members, their order and its users.
-- ARGV  the connection that the page begins behind (empty: the first), how many, and what the name of a pod's part of the channel is before
--       the pod.
-- Gives 0, the connections, the users, 1 where there are more, and each connection with its member; or 1, 0, 0, 0 and a pod whose lease has
-- ended and whose members have to be cleared away first.

for _, pod in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', clock())) do
  if redis.call('EXISTS', ARGV[3] .. pod) == 1 then
    return { 1, 0, 0, 0, { pod } }
  end
end
local most = tonumber(ARGV[2])
local page, more = {}, 0
if most > 0 then
  local from = ARGV[1] == '' and '-' or '(' .. ARGV[1]
  local found = redis.call('ZRANGEBYLEX', KEYS[3], from, '+', 'LIMIT', 0, most + 1)
  if #found > most then
    more = 1
    found[#found] = nil
  end
  for _, connection in ipairs(found) do
    local _, _, member = parts(redis.call('HGET', KEYS[2], connection))
    page[#page + 1] = connection
    page[#page + 1] = member
  end
end
return { 0, redis.call('HLEN', KEYS[2]), redis.call('HLEN', KEYS[4]), more, page }
