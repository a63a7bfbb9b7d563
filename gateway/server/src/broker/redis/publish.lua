-- Publishes: numbers, keeps and sends some publications, as if one after the other, and all of them or none.
--
-- KEYS  the shard; the fence where there is one; then of each publication: the idempotency key where it has one, and of each channel that keeps history its position, its
--       history and its latest.
-- ARGV  fresh, the last moment (milliseconds of this Redis's clock), the number of publications, what the fence has to hold (empty: there
--       is none); then of each publication: how long its idempotency key is remembered in milliseconds (0: it has none), its body, the number of its channels, and of each channel: its
--       topic and its mode, which is `-` (keeps none), `s` (Stream) or `c` (Cache); with `s` and `c` also the size, the time to live of the
--       history and that of the position in milliseconds; with `c` also the key of its value.
-- Gives, for each publication, `0` or `1` (it was published before) and its stamp; or an error where the last moment has passed: nobody
-- waits for the answer any more, so nothing may happen; or where the pods have left: nobody would hear it; or where the fence holds
-- something else.

local fresh, count = ARGV[1], tonumber(ARGV[3])
if clock() > tonumber(ARGV[2]) then
  return redis.error_reply('EXPIRED nobody waits for this any more')
end

local gone = left(KEYS[1])
if gone then
  return gone
end

local fence = ARGV[4]
if fence ~= '' and redis.call('GET', KEYS[2]) ~= fence then
  return redis.error_reply('FENCED the right to publish was lost')
end

local key_at, arg_at = fence == '' and 1 or 2, 4
local function key()
  key_at = key_at + 1
  return KEYS[key_at]
end
local function arg()
  arg_at = arg_at + 1
  return ARGV[arg_at]
end

local function drop_oldest(channel)
  local oldest = redis.call('XRANGE', channel.history, '-', '+', 'COUNT', '1')[1]
  redis.call('XDEL', channel.history, oldest[1])
  if oldest[2][3] == 'k' then
    redis.call('HDEL', channel.latest, oldest[2][4])
  end
end

local function keep(channel, offset, message)
  local id = whole(offset) .. '-0'
  if channel.mode == 's' then
    redis.call('XADD', channel.history, 'MAXLEN', channel.size, id, 'm', message)
  else
    local before = redis.call('HGET', channel.latest, channel.value)
    if before then
      redis.call('XDEL', channel.history, before .. '-0')
    elseif redis.call('EXISTS', channel.latest) == 0 then
      redis.call('DEL', channel.history)
    end
    while redis.call('XLEN', channel.history) >= tonumber(channel.size) do
      drop_oldest(channel)
    end
    redis.call('XADD', channel.history, id, 'm', message, 'k', channel.value)
    redis.call('HSET', channel.latest, channel.value, whole(offset))
    redis.call('PEXPIRE', channel.latest, channel.ttl)
  end
  redis.call('PEXPIRE', channel.history, channel.ttl)
end

local function read_channels()
  local channels = {}
  for at = 1, tonumber(arg()) do
    local channel = { topic = arg(), mode = arg() }
    if channel.mode ~= '-' then
      channel.size, channel.ttl, channel.position_ttl = arg(), arg(), arg()
      channel.position, channel.history, channel.latest = key(), key(), key()
      if channel.mode == 'c' then
        channel.value = arg()
      end
    end
    channels[at] = channel
  end
  return channels
end

local epoch = shard(KEYS[1], fresh)

local function publish(body, channels)
  local number = redis.call('HINCRBY', KEYS[1], 'n', 1)
  local places, kept = {}, {}
  for at, channel in ipairs(channels) do
    if channel.mode ~= '-' then
      local salt = place(channel.position, channel.history, channel.latest, channel.position_ttl, fresh)
      local offset = redis.call('HINCRBY', channel.position, 'n', 1)
      redis.call('PEXPIRE', channel.position, channel.position_ttl)
      places[#places + 1] = string.char(at - 1) .. salt .. struct.pack('>I8', offset)
      kept[#kept + 1] = { channel, offset }
    end
  end
  local stamp = '\1' .. epoch .. struct.pack('>I8', number) .. string.char(#places) .. table.concat(places)
  local message = stamp .. body
  for _, one in ipairs(kept) do
    keep(one[1], one[2], message)
  end
  for _, channel in ipairs(channels) do
    redis.call('PUBLISH', channel.topic, message)
  end
  return stamp
end

local answers = {}
for at = 1, count do
  local window, body = arg(), arg()
  local once = window ~= '0' and key() or nil
  local channels = read_channels()
  local before = once and redis.call('GET', once)
  if before then
    answers[at] = '1' .. before
  else
    local stamp = publish(body, channels)
    if once then
      redis.call('SET', once, stamp, 'PX', window)
    end
    answers[at] = '0' .. stamp
  end
end
return answers
