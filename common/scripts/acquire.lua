#!lua
-- Take the leases of shards (the seam: WorkerBus.acquire).
--
-- KEYS     hashes of the shards
-- ARGV     worker, lease in ms, how long a wish is remembered in ms
-- Returns  for each shard {1, token, version, cursor, field, value, ... of the whole hash}
--          or {0, owner, ms that its lease lasts}
--
-- A worker that holds the lease itself gets it again, with a new token: its reply may have been lost, or it
-- reloads. A token is at least the time in ms, so that it also grows when the store lost its data.

local worker, ttl_ms, want_ttl_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local answers = {}

for i, key in ipairs(KEYS) do
  local have = redis.call('HMGET', key, 'owner', 'token', 'until_ms', 'want')
  local remaining_ms = (tonumber(have[3] or 0)) - now_ms
  if have[1] and have[1] ~= worker and remaining_ms > 0 then
    redis.call('HSET', key, 'want', worker, 'want_until_ms', string.format('%.0f', now_ms + want_ttl_ms))
    answers[i] = {0, have[1], remaining_ms}
  else
    local token = math.max(tonumber(have[2] or 0) + 1, now_ms)
    redis.call('HSET', key, 'owner', worker, 'token', string.format('%.0f', token),
      'until_ms', string.format('%.0f', now_ms + ttl_ms))
    redis.call('HSETNX', key, 'version', '0')
    redis.call('HSETNX', key, 'cursor', '0')
    if have[4] == worker then
      redis.call('HDEL', key, 'want', 'want_until_ms')
    end
    answers[i] = redis.call('HGETALL', key)
    table.insert(answers[i], 1, 1)
  end
end
return answers
