#!lua
-- Create an edge's output stream in one partition where it is missing, and keep it.
--
-- KEYS     the stream
-- ARGV     its life in ms
-- Returns  1 if it was there, 0 if it was made now
--
-- A group that comes and goes leaves an empty stream whose first entry will be 0-1, so that an edge that reads
-- from position 0 sees contiguous positions. (XADD with XDEL would leave it at 0-1 and the first at 0-2.)

local there = redis.call('EXISTS', KEYS[1])
if there == 0 then
  redis.call('XGROUP', 'CREATE', KEYS[1], 'make', '0', 'MKSTREAM')
  redis.call('XGROUP', 'DESTROY', KEYS[1], 'make')
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return there
