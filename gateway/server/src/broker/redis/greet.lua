-- Compares what a pod knows with what this Redis remembers. Where Redis remembers less than was ever given out, numbers would be given
-- again: then a new epoch begins, for the ids and with them for the positions of every channel.
--
-- Redis may have been started with an older snapshot, or a replica that had not seen everything may have been promoted. Then the number of
-- now says little, because others may have published since. What counts is the number with which each server began to serve: `runs` lists
-- them, and what a pod heard of an earlier server has to be below the first number of every later one.
--
-- KEYS  the shard.
-- ARGV  fresh, the topic that all pods hear; the epoch that the pod knows (empty: none), when that began, the last number it heard of,
--       the server that it heard it of, and `1` where the pod has seen a channel go back.
-- Gives the epoch, when it began, the number, the server, this Redis's clock in milliseconds, and 1 where the epoch began just now.

local RUNS = 16
local fresh, topic, known, known_since, known_number, known_run, went_back =
  ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6], ARGV[7] == '1'
local ids = KEYS[1]

local told = redis.pcall('INFO', 'server')
local run = type(told) == 'string' and string.match(told, 'run_id:(%x+)') or 'unknown'

local epoch, since = shard(ids, fresh)
local number = tonumber(redis.call('HGET', ids, 'n') or '0')

local runs, started = {}, {}
for name, base in string.gmatch(redis.call('HGET', ids, 'runs') or '', '(%w+):(%d+);') do
  runs[#runs + 1] = name
  started[#started + 1] = tonumber(base)
end
if runs[#runs] ~= run then
  runs[#runs + 1], started[#started + 1] = run, number
  local first, text = math.max(1, #runs - RUNS + 1), {}
  for at = first, #runs do
    text[#text + 1] = runs[at] .. ':' .. whole(started[at]) .. ';'
  end
  redis.call('HSET', ids, 'runs', table.concat(text))
end

local function fits()
  if known == '' then
    return true
  end
  if known ~= epoch then
    -- Somebody began a new epoch, or this Redis is of a time before that of the pod.
    return since > known_since
  end
  if went_back or known_number > number then
    return false
  end
  for at = #runs, 1, -1 do
    if runs[at] == known_run then
      return true
    end
    if started[at] < known_number then
      return false
    end
  end
  return false
end

local began = epoch == fresh
if not fits() then
  began, epoch, since, number = true, fresh, math.max(clock(), known_since + 1), math.max(number, known_number)
  redis.call('HSET', ids, 'e', epoch, 'g', whole(since), 'n', whole(number))
end
if began then
  redis.call('PUBLISH', topic, '\2' .. epoch .. struct.pack('>I8I8', number, since) .. string.rep('\0', 8) .. '\0\0')
end
return { epoch, whole(since), whole(number), run, whole(clock()), began and 1 or 0 }
