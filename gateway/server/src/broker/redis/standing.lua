-- Where things stand: shared by the scripts of the broker, each of which is sent with this text before its own.
--
-- A broker shard is a hash: `e` the epoch of its ids (8 bytes), `g` when that epoch began (milliseconds of this Redis's clock), `n` the
-- number of the last publication, `runs` which servers have served it, and from which `n` on. `x` is there once the gateway's pods have
-- left for another Redis, and names that; `a` is until when pods that have come from another one are known to be here.
-- A channel that keeps history is a hash: `s` its salt (8 bytes), `n` the offset of its last publication; its history is a stream whose
-- entries are called OFFSET-0, and with `Cache` a hash from key to the offset of the key's newest publication.
--
-- Scripts have no random numbers: whoever calls passes 8 random bytes (`fresh`) for whatever begins.

local function clock()
  local now = redis.call('TIME')
  return now[1] * 1000 + math.floor(now[2] / 1000)
end

-- What a number looks like as text: Lua writes large ones with an exponent.
local function whole(number)
  return string.format('%.0f', number)
end

-- The epoch of the shard and when it began; begins one where there is none.
local function shard(ids, fresh)
  local found = redis.call('HMGET', ids, 'e', 'g')
  if found[1] and found[2] then
    return found[1], tonumber(found[2])
  end
  local since = clock()
  redis.call('HSET', ids, 'e', fresh, 'g', whole(since))
  return fresh, since
end

-- Where the pods have left for another Redis, the error that says so.
local function left(ids)
  local gone = redis.call('HGET', ids, 'x')
  return gone and redis.error_reply('LEFT ' .. gone) or nil
end

-- The salt and the last offset of a channel. Begins a history where there is none: what may be left of an earlier one is of no use, its
-- offsets would be given again.
local function place(position, history, latest, ttl, fresh)
  local found = redis.call('HMGET', position, 's', 'n')
  if found[1] and found[2] then
    return found[1], tonumber(found[2])
  end
  redis.call('DEL', position, history, latest)
  redis.call('HSET', position, 's', fresh, 'n', '0')
  redis.call('PEXPIRE', position, ttl)
  return fresh, 0
end
