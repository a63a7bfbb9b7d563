-- Gives a consumer new entries. Entries that were trimmed before the group was given them are counted and announced once.
-- KEYS: the stream, the place of announced gaps
-- ARGV: group, consumer, most entries, the announcement of trimmed entries
-- Returns: entries, how many were trimmed, the newest announcement, where the group is
local stream, group = KEYS[1], ARGV[1]

local function less(a, b)
  local am, as = string.match(a, '^(%d+)-(%d+)$')
  local bm, bs = string.match(b, '^(%d+)-(%d+)$')
  if am ~= bm then return #am < #bm or (#am == #bm and am < bm) end
  return #as < #bs or (#as == #bs and as < bs)
end

local function fields(list)
  local found = {}
  for at = 1, #list, 2 do found[list[at]] = list[at + 1] end
  return found
end

local groups = redis.pcall('XINFO', 'GROUPS', stream)
if groups.err then
  if string.find(groups.err, 'no such key', 1, true) then
    return redis.error_reply('NOGROUP the stream is gone')
  end
  return groups
end
local mine
for _, one in ipairs(groups) do
  local found = fields(one)
  if found['name'] == group then mine = found end
end
if not mine then return redis.error_reply('NOGROUP the group is gone') end

local trimmed = 0
local last = mine['last-delivered-id']
local info = fields(redis.call('XINFO', 'STREAM', stream))
local added, held = info['entries-added'], info['length']
-- Redis before version 7 does not count.
if added then
  -- How many entries lie at or before the group's place: known where it stands at the end, or before the first that is held.
  local place
  if not less(last, info['last-generated-id']) then
    place = added
  elseif held == 0 or less(last, info['recorded-first-entry-id']) then
    place = added - held
  end
  local read = mine['entries-read']
  if place and read ~= place then
    if read and read < place then
      trimmed = place - read
      redis.call('SET', KEYS[2], ARGV[4])
    end
    redis.call('XGROUP', 'SETID', stream, group, last, 'ENTRIESREAD', place)
  end
end

local answer = redis.pcall('XREADGROUP', 'GROUP', group, ARGV[2], 'COUNT', ARGV[3], 'STREAMS', stream, '>')
local entries = {}
if answer then
  if answer.err then return answer end
  entries = answer[1][2]
  if #entries > 0 then last = entries[#entries][1] end
end
return {entries, trimmed, redis.call('GET', KEYS[2]) or '', last}
