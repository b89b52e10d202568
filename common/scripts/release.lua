#!lua
-- Give up leases (the seam: WorkerBus.release).
--
-- KEYS     hashes of the shards
-- ARGV     worker, then for each shard its token, and the version that the caller knows or an empty string
-- Returns  the workers that want a released shard; the caller wakes them
--
-- The token grows, so that a commit with the old one is fenced even before somebody else acquires. A version that is
-- the stored one proves, while the lease lasts, that the shard has all its commits at this server.

local worker = ARGV[1]
local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local wanting = {}

for i, key in ipairs(KEYS) do
  local have = redis.call('HMGET', key, 'owner', 'token', 'want', 'want_until_ms', 'version', 'until_ms')
  if have[1] == worker and have[2] == ARGV[2 * i] then
    redis.call('HSET', key, 'token', string.format('%.0f', tonumber(have[2]) + 1))
    redis.call('HDEL', key, 'owner', 'until_ms')
    if have[5] == ARGV[2 * i + 1] and tonumber(have[6] or 0) > now_ms then
      redis.call('HSET', key, 'server', run_id)
    end
    if have[3] and tonumber(have[4] or 0) > now_ms then
      wanting[#wanting + 1] = have[3]
    end
  end
end
return wanting
