-- Carries out steps of one pod on the counts of connections of all pods, if its own counts are what it believes them to be.
-- KEYS: the set of pods; this pod's hash, subject -> count, for users the 8-byte numbers of their connections, oldest first
--       (those of the others are called like the set, with a colon and the pod behind)
-- ARGV: pod, lease in ms, serial before, serial after, least number to give, then the steps:
--       E n {subject most r|c}xn    one more, unless a bound is reached: r refuses, c lets the oldest give way
--       A number n {subject}xn      one more, whatever the bounds
--       L number n {subject}xn      one less
-- Answers nil where the serial is another: the hash is gone, or an old one. Else a list for each E: the place of the bound that
-- refused it from 1 on, or 0, its number, and pod, subject and number of each that gives way.
local pods, own, me = KEYS[1], KEYS[2], ARGV[1]
if redis.call('HGET', own, '@') ~= ARGV[3] then return false end
redis.call('HSET', own, '@', ARGV[4])
redis.call('SADD', pods, me)
redis.call('PEXPIRE', own, ARGV[2])
redis.call('PEXPIRE', pods, ARGV[2])
local time = redis.call('TIME')
local number = math.max(time[1] * 1000000 + time[2], tonumber(ARGV[5]))

local all = {{me, own}}
local function look()
  for _, pod in ipairs(redis.call('SMEMBERS', pods)) do
    if pod ~= me then
      local key = pods .. ':' .. pod
      if redis.call('EXISTS', key) == 1 then all[#all + 1] = {pod, key} else redis.call('SREM', pods, pod) end
    end
  end
end

local function ordered(subject) return string.byte(subject) == 117 end

local function total(subject)
  local sum = 0
  for _, pod in ipairs(all) do
    if ordered(subject) then
      sum = sum + redis.call('HSTRLEN', pod[2], subject) / 8
    else
      sum = sum + (tonumber(redis.call('HGET', pod[2], subject) or 0))
    end
  end
  return sum
end

local function add(subject, bytes)
  if ordered(subject) then
    redis.call('HSET', own, subject, (redis.call('HGET', own, subject) or '') .. bytes)
  else
    redis.call('HINCRBY', own, subject, 1)
  end
end

local function put(key, subject, row)
  if row == '' then redis.call('HDEL', key, subject) else redis.call('HSET', key, subject, row) end
end

local function take(subject, bytes)
  if not ordered(subject) then
    if redis.call('HINCRBY', own, subject, -1) <= 0 then redis.call('HDEL', own, subject) end
    return
  end
  local row = redis.call('HGET', own, subject) or ''
  for at = 1, #row, 8 do
    if string.sub(row, at, at + 7) == bytes then
      return put(own, subject, string.sub(row, 1, at - 1) .. string.sub(row, at + 8))
    end
  end
end

local function oldest_gives_way(subject, answer)
  local first, holder, rest
  for _, pod in ipairs(all) do
    local row = redis.call('HGET', pod[2], subject)
    if row and (not first or string.sub(row, 1, 8) < first) then
      first, holder, rest = string.sub(row, 1, 8), pod, string.sub(row, 9)
    end
  end
  if not first then return false end
  put(holder[2], subject, rest)
  answer[#answer + 1], answer[#answer + 2], answer[#answer + 3] = holder[1], subject, first
  return true
end

local function enter(at, n)
  for i = 0, n - 1 do
    if ARGV[at + 3 * i + 2] == 'r' and total(ARGV[at + 3 * i]) >= tonumber(ARGV[at + 3 * i + 1]) then return {i + 1} end
  end
  number = number + 1
  local answer = {0, number}
  for i = 0, n - 1 do
    local subject, most = ARGV[at + 3 * i], tonumber(ARGV[at + 3 * i + 1])
    if ARGV[at + 3 * i + 2] == 'c' then
      -- Several where a bound was lowered, but never so many that others wait.
      for _ = 1, math.min(total(subject) + 1 - most, 16) do
        if not oldest_gives_way(subject, answer) then break end
      end
    end
    add(subject, struct.pack('>I8', number))
  end
  return answer
end

local answers, at, looked = {}, 6, false
while ARGV[at] do
  local step = ARGV[at]
  if step == 'E' then
    if not looked then
      look()
      looked = true
    end
    local n = tonumber(ARGV[at + 1])
    answers[#answers + 1] = enter(at + 2, n)
    at = at + 2 + 3 * n
  else
    local n = tonumber(ARGV[at + 2])
    for i = 1, n do
      if step == 'A' then add(ARGV[at + 2 + i], ARGV[at + 1]) else take(ARGV[at + 2 + i], ARGV[at + 1]) end
    end
    at = at + 3 + n
  end
end
return answers
