-- Says that a consumer still works on its entries; or, with idle above 0, that it leaves and others may have them at once.
-- KEYS: the stream, and one that is not used. ARGV: group, consumer, idle in ms
local stream, group = KEYS[1], ARGV[1]
local pending = redis.pcall('XPENDING', stream, group, '-', '+', 1000, ARGV[2])
if pending.err then return pending end
for _, one in ipairs(pending) do
  redis.call('XCLAIM', stream, group, ARGV[2], 0, one[1], 'IDLE', ARGV[3], 'JUSTID')
end
if #pending == 0 and tonumber(ARGV[3]) > 0 then redis.call('XGROUP', 'DELCONSUMER', stream, group, ARGV[2]) end
return #pending
