-- Reads what is kept of a channel, and where it stands.
--
-- KEYS  the shard; the channel's position, history and latest.
-- ARGV  fresh, the time to live of the position in milliseconds, the offset to begin at (exclusive; empty: at the end), how many at most,
--       how many bytes about, and `1` where the newest come first.
-- Gives the epoch of the shard, the salt, the last offset, the oldest offset that is kept (0: none), and offset and message of each; or an error where the pods have left: there is more elsewhere.

local CHUNK = 64
local fresh, ttl, since, most, bytes, reverse = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6] == '1'
local gone = left(KEYS[1])
if gone then
  return gone
end
local history = KEYS[3]
local epoch = shard(KEYS[1], fresh)
local salt, offset = place(KEYS[2], history, KEYS[4], ttl, fresh)

local function offset_of(entry)
  return string.match(entry[1], '^%d+')
end

local oldest = redis.call('XRANGE', history, '-', '+', 'COUNT', '1')[1]
local answer = { epoch, salt, whole(offset), oldest and offset_of(oldest) or '0' }
local read, size = 0, 0
while read < most and size < bytes do
  local chunk = math.min(CHUNK, most - read)
  local entries
  if reverse then
    entries = redis.call('XREVRANGE', history, since == '' and '+' or '(' .. since .. '-0', '-', 'COUNT', chunk)
  else
    entries = redis.call('XRANGE', history, since == '' and '-' or '(' .. since .. '-0', '+', 'COUNT', chunk)
  end
  for _, entry in ipairs(entries) do
    since = offset_of(entry)
    answer[#answer + 1], answer[#answer + 2] = since, entry[2][2]
    read, size = read + 1, size + #entry[2][2]
    if size >= bytes then
      break
    end
  end
  if #entries < chunk then
    break
  end
end
return answer
