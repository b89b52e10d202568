#!lua
-- Say that a node lives, and forget those that no longer do (the seam: Registry.announce).
--
-- KEYS     sorted set of the nodes of the role, hash of what they say of themselves
-- ARGV     node, information, life in ms
-- Returns  1 if the node was known and alive, else 0

local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local known = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or 0) > now_ms

redis.call('ZADD', KEYS[1], string.format('%.0f', now_ms + tonumber(ARGV[3])), ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now_ms))) do
  redis.call('ZREM', KEYS[1], dead)
  redis.call('HDEL', KEYS[2], dead)
end
return known and 1 or 0
