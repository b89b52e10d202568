#!lua
-- Extend leases (the seam: WorkerBus.renew).
--
-- KEYS     hashes of the shards
-- ARGV     worker, lease in ms, then the token of each shard
-- Returns  for each shard nil (lost), or the worker that wants it, or an empty string

local worker, ttl_ms = ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local until_ms = string.format('%.0f', now_ms + ttl_ms)
local answers = {}

for i, key in ipairs(KEYS) do
  local have = redis.call('HMGET', key, 'owner', 'token', 'want', 'want_until_ms')
  if have[1] == worker and have[2] == ARGV[i + 2] then
    redis.call('HSET', key, 'until_ms', until_ms)
    answers[i] = tonumber(have[4] or 0) > now_ms and have[3] or ''
  else
    answers[i] = false
  end
end
return answers
