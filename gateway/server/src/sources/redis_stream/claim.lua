-- Takes over entries that other consumers were given long ago and have not acknowledged.
-- KEYS: the stream, the place of announced gaps
-- ARGV: group, consumer, idle for so many ms, cursor, most entries, the announcement of trimmed entries
-- Returns: the next cursor, entries each with how often it was given, how many were trimmed while nobody had acknowledged them
local stream, group = KEYS[1], ARGV[1]
local answer = redis.pcall('XAUTOCLAIM', stream, group, ARGV[2], ARGV[3], ARGV[4], 'COUNT', ARGV[5])
if answer.err then return answer end
local entries, trimmed = {}, 0
for _, entry in ipairs(answer[2]) do
  if entry then
    local pending = redis.call('XPENDING', stream, group, entry[1], entry[1], 1)
    entries[#entries + 1] = {entry[1], entry[2], pending[1] and pending[1][4] or 1}
  else
    trimmed = trimmed + 1
  end
end
if answer[3] then trimmed = #answer[3] end
if trimmed > 0 then redis.call('SET', KEYS[2], ARGV[6]) end
return {answer[1], entries, trimmed}
