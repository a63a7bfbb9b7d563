-- Adds entries to the list of revocations; one that is there already stays for the longer of both times.
-- KEYS: the list, by the end of each in Unix milliseconds; ARGV: most entries, then end and entry of each. Errs where it is full.
local list = KEYS[1]
local time = redis.call('TIME')
redis.call('ZREMRANGEBYSCORE', list, '-inf', time[1] * 1000)
for at = 2, #ARGV, 2 do
  local known = redis.call('ZSCORE', list, ARGV[at + 1])
  if not known then
    if redis.call('ZCARD', list) >= tonumber(ARGV[1]) then return redis.error_reply('ERR the list of revocations is full') end
    redis.call('ZADD', list, ARGV[at], ARGV[at + 1])
  elseif tonumber(known) < tonumber(ARGV[at]) then
    redis.call('ZADD', list, ARGV[at], ARGV[at + 1])
  end
end
local last = redis.call('ZREVRANGE', list, 0, 0, 'WITHSCORES')
if last[2] then redis.call('PEXPIREAT', list, last[2]) end
return 1
