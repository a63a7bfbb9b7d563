-- Removes consumers of ours that hold nothing and have not been heard of for long: with them would go what they hold.
-- KEYS: the stream, and one that is not used. ARGV: group, what our consumers' names begin with, idle for so many ms
local stream, group = KEYS[1], ARGV[1]
local consumers = redis.pcall('XINFO', 'CONSUMERS', stream, group)
if consumers.err then return consumers end
local removed = 0
for _, one in ipairs(consumers) do
  local found = {}
  for at = 1, #one, 2 do found[one[at]] = one[at + 1] end
  local ours = string.sub(found['name'], 1, #ARGV[2]) == ARGV[2]
  if ours and found['pending'] == 0 and found['idle'] >= tonumber(ARGV[3]) then
    redis.call('XGROUP', 'DELCONSUMER', stream, group, found['name'])
    removed = removed + 1
  end
end
return removed
