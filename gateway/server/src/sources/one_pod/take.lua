-- Takes the lease of a source where nobody has it.
-- KEYS: the lease, the number of its last term, the place of announced gaps
-- ARGV: who asks, for so many ms
-- Returns: the number of the term, 0 where another has it; the newest announcement
local term = 0
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then term = redis.call('INCR', KEYS[2]) end
return {term, redis.call('GET', KEYS[3]) or ''}
