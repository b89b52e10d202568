#!lua
-- Give up leases (the seam: WorkerBus.release).
--
-- KEYS     hashes of the shards
-- ARGV     worker, then the token of each shard
-- Returns  the workers that want a released shard; the caller wakes them
--
-- The token grows, so that a commit with the old one is fenced even before somebody else acquires.

local worker = ARGV[1]
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local wanting = {}

for i, key in ipairs(KEYS) do
  local have = redis.call('HMGET', key, 'owner', 'token', 'want', 'want_until_ms')
  if have[1] == worker and have[2] == ARGV[i + 1] then
    redis.call('HSET', key, 'token', string.format('%.0f', tonumber(have[2]) + 1))
    redis.call('HDEL', key, 'owner', 'until_ms')
    if have[3] and tonumber(have[4] or 0) > now_ms then
      wanting[#wanting + 1] = have[3]
    end
  end
end
return wanting
