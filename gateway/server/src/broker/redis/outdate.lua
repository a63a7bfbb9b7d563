-- Gives channels another salt, and with it their positions another epoch; what is kept stays, and offsets go on.
-- KEYS: their positions. ARGV: fresh
for _, position in ipairs(KEYS) do
  -- Where there is none, one that begins has a salt of its own.
  if redis.call('EXISTS', position) == 1 then redis.call('HSET', position, 's', ARGV[1]) end
end
return #KEYS
