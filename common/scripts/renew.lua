#!lua
-- Extend leases (the seam: WorkerBus.renew).
--
-- KEYS     hashes of the shards
-- ARGV     worker, lease in ms, then the token of each shard
-- Returns  this server's clock in ms, then for each shard nil (lost) or {the worker that wants it or an empty string,
--          1 if it was proven at this server that the shard has all its commits, else 0}
--
-- A lease that ran out and that nobody took is extended too; but not at another server than the one where the shard was
-- last known to be whole: somebody may have taken it there, which got lost.

local worker, ttl_ms = ARGV[1], tonumber(ARGV[2])
local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local until_ms = string.format('%.0f', now_ms + ttl_ms)
local answers = {now_ms}

for i, key in ipairs(KEYS) do
  local have = redis.call('HMGET', key, 'owner', 'token', 'want', 'want_until_ms', 'server', 'until_ms')
  local is_proven = have[5] == run_id
  local lasts = tonumber(have[6] or 0) > now_ms
  if have[1] == worker and have[2] == ARGV[i + 2] and (is_proven or lasts) then
    redis.call('HSET', key, 'until_ms', until_ms)
    answers[i + 1] = {tonumber(have[4] or 0) > now_ms and have[3] or '', is_proven and 1 or 0}
  else
    answers[i + 1] = false
  end
end
return answers
