-- Says what becomes of some of a pod's connections: all of it, or nothing where the pod's lease has ended.
--
-- KEYS  the pods, the pod's channels; then of each change: the channel's members, their order, its users, its crowd, and what the pod holds
--       of it.
-- ARGV  the pod, the topic of news, how many connections are told of, and how many again; then of each change: `j` or `l`, `0` or `1`
--       (others are told), the channel, the connection, the user and the member.
-- Gives, for each change: 0 (nothing to tell), 1 (told), 2 (the channel is too crowded to tell).

local now = clock()
local lease = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not lease or tonumber(lease) <= now then
  return redis.error_reply('LEASE the lease of this pod has ended')
end

local pod, topic = ARGV[1], ARGV[2]
local most, again = tonumber(ARGV[3]), tonumber(ARGV[4])
local answers = {}
local key_at, arg_at = 2, 4
while arg_at < #ARGV do
  local channel = {
    members = KEYS[key_at + 1], order = KEYS[key_at + 2], users = KEYS[key_at + 3], crowd = KEYS[key_at + 4],
    topic = topic, most = most, again = again,
  }
  local held = KEYS[key_at + 5]
  local what, told, name = ARGV[arg_at + 1], ARGV[arg_at + 2], ARGV[arg_at + 3]
  local connection, user, member = ARGV[arg_at + 4], ARGV[arg_at + 5], ARGV[arg_at + 6]
  key_at, arg_at = key_at + 5, arg_at + 6
  channel.name = name
  local before = redis.call('HGET', channel.members, connection)
  local news
  if what == 'j' then
    redis.call('SADD', KEYS[2], name)
    redis.call('SADD', held, connection)
    redis.call('HSET', channel.members, connection, told .. pod .. struct.pack('>I2', #user) .. user .. member)
    if not before then
      redis.call('ZADD', channel.order, 0, connection)
      news = take(channel, user)
    else
      local _, was, _ = parts(before)
      if was ~= user then
        release(channel, was)
        news = take(channel, user)
      end
    end
    news = news and ('+' .. connection .. member)
  elseif before then
    local _, was, gone = parts(before)
    redis.call('SREM', held, connection)
    if redis.call('EXISTS', held) == 0 then
      redis.call('SREM', KEYS[2], name)
    end
    news = remove(channel, connection, was) and ('-' .. connection .. gone)
  end
  answers[#answers + 1] = told == '1' and tell(channel, news) or 0
  if redis.call('EXISTS', channel.members) == 0 then
    redis.call('DEL', channel.crowd)
  end
end
return answers
