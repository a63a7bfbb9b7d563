-- Puts a pod's counts, written beside, in the place of whatever Redis had of them.
-- KEYS: the set of pods, the pod's hash, what was written beside; ARGV: pod, lease in ms, serial.
redis.call('HSET', KEYS[3], '@', ARGV[3])
redis.call('RENAME', KEYS[3], KEYS[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
redis.call('SADD', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
