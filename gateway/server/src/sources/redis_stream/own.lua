-- Gives a consumer again what it was given before and has not acknowledged.
-- KEYS: the stream, the place of announced gaps
-- ARGV: group, consumer, behind which id ('-' for all), most entries, the announcement of trimmed entries
-- Returns: entries each with how often it was given, how many were trimmed meanwhile
local stream, group = KEYS[1], ARGV[1]
local pending = redis.pcall('XPENDING', stream, group, ARGV[3], '+', ARGV[4], ARGV[2])
if pending.err then return pending end
local entries, trimmed = {}, 0
for _, one in ipairs(pending) do
  local found = redis.call('XRANGE', stream, one[1], one[1])
  if found[1] then
    entries[#entries + 1] = {one[1], found[1][2], one[4]}
  else
    trimmed = trimmed + 1
    redis.call('XACK', stream, group, one[1])
  end
end
if trimmed > 0 then redis.call('SET', KEYS[2], ARGV[5]) end
return {entries, trimmed}
