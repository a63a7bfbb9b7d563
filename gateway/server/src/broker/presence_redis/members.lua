-- What the scripts of presence share. A member is kept as: `0` or `1` (others are told), its pod (16 digits), the length of its user in two
-- bytes, the user, and what others see.

local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The pod, the user and what others see.
local function parts(kept)
  local length = struct.unpack('>I2', kept:sub(18, 19))
  return kept:sub(2, 17), kept:sub(20, 19 + length), kept:sub(20 + length)
end

-- Counts a connection of the user; true for the first.
local function take(channel, user)
  return user == '' or redis.call('HINCRBY', channel.users, user, 1) == 1
end

-- Counts a connection less; true for the last.
local function release(channel, user)
  if user == '' then
    return true
  end
  if redis.call('HINCRBY', channel.users, user, -1) > 0 then
    return false
  end
  redis.call('HDEL', channel.users, user)
  return true
end

-- Takes a connection out; true where it was its user's last.
local function remove(channel, connection, user)
  redis.call('HDEL', channel.members, connection)
  redis.call('ZREM', channel.order, connection)
  return release(channel, user)
end

-- Tells `news`, or that there is a crowd.
local function tell(channel, news)
  local function say(what)
    redis.call('PUBLISH', channel.topic, what:sub(1, 1) .. struct.pack('>I2', #channel.name) .. channel.name .. what:sub(2))
  end
  local clients = redis.call('HLEN', channel.members)
  local crowded = redis.call('EXISTS', channel.crowd) == 1
  if crowded and clients <= channel.again then
    redis.call('DEL', channel.crowd)
    say('!')
    return 2
  elseif not crowded and clients > channel.most then
    redis.call('SET', channel.crowd, '1')
    say('!')
    return 2
  elseif not news then
    return 0
  elseif crowded then
    return 2
  end
  say(news)
  return 1
end
