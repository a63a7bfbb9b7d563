-- Sees to it that the stream has the group.
-- KEYS: the stream, the place of announced gaps
-- ARGV: group, where it begins ('0' or '$'), where this consumer knew it to be or '', the announcement of a loss
-- Returns: whether it had it (0 yes, 1 made, 2 made again after a loss), the announcement before this one
local stream, group, start, known = KEYS[1], ARGV[1], ARGV[2], ARGV[3]

local function less(a, b)
  local am, as = string.match(a, '^(%d+)-(%d+)$')
  local bm, bs = string.match(b, '^(%d+)-(%d+)$')
  if am ~= bm then return #am < #bm or (#am == #bm and am < bm) end
  return #as < #bs or (#as == #bs and as < bs)
end

local announced = redis.call('GET', KEYS[2]) or ''
local exists = redis.call('EXISTS', stream) == 1
if exists then
  local groups = redis.pcall('XINFO', 'GROUPS', stream)
  if groups.err then return groups end
  for _, one in ipairs(groups) do
    for at = 1, #one, 2 do
      if one[at] == 'name' and one[at + 1] == group then return {0, announced} end
    end
  end
end
if known ~= '' then
  -- A stream that is behind what was known is another one: all of it is new.
  start = '0'
  if exists then
    local info = redis.call('XINFO', 'STREAM', stream)
    for at = 1, #info, 2 do
      if info[at] == 'last-generated-id' and not less(info[at + 1], known) then start = known end
    end
  end
end
local made = redis.pcall('XGROUP', 'CREATE', stream, group, start, 'MKSTREAM')
if made.err then return made end
if known == '' then return {1, announced} end
redis.call('SET', KEYS[2], ARGV[4])
return {2, announced}
