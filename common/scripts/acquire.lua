#!lua
-- Take the leases of shards (the seam: WorkerBus.acquire).
--
-- KEYS     hashes of the shards
-- ARGV     worker, lease in ms, how long a wish is remembered in ms
-- Returns  this server's run id, its clock in ms, then for each shard {1, field, value, ... of the whole hash}
--          or {0, owner, ms that its lease lasts}
--
-- A worker that holds the lease itself gets it again, with a new token: its reply may have been lost, or it
-- reloads. A token is at least the time in ms, so that it also grows when the store lost its data.
--
-- `server` is the run id at which it was last known that the shard has all its commits. Whoever takes the shard at
-- another one begins a new generation: only an owner whose lease still runs can prove that nothing was lost.

local worker, ttl_ms, want_ttl_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local answers = {run_id, now_ms}

local function text(number)
  return string.format('%.0f', number)
end

for i, key in ipairs(KEYS) do
  local have = redis.call('HMGET', key, 'owner', 'token', 'until_ms', 'want', 'server', 'generation')
  local remaining_ms = (tonumber(have[3] or 0)) - now_ms
  if have[1] and have[1] ~= worker and remaining_ms > 0 then
    redis.call('HSET', key, 'want', worker, 'want_until_ms', text(now_ms + want_ttl_ms))
    answers[i + 2] = {0, have[1], remaining_ms}
  else
    redis.call('HSET', key, 'owner', worker, 'token', text(math.max(tonumber(have[2] or 0) + 1, now_ms)),
      'until_ms', text(now_ms + ttl_ms))
    redis.call('HSETNX', key, 'version', '0')
    redis.call('HSETNX', key, 'cursor', '0')
    if have[5] ~= run_id then
      redis.call('HSET', key, 'server', run_id, 'generation', text(math.max(tonumber(have[6] or 0) + 1, now_ms)))
    end
    if have[4] == worker then
      redis.call('HDEL', key, 'want', 'want_until_ms')
    end
    answers[i + 2] = redis.call('HGETALL', key)
    table.insert(answers[i + 2], 1, 1)
  end
end
return answers
