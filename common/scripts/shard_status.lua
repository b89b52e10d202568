#!lua flags=no-writes
-- Shards as an operator sees them (the seam: Registry.shard_status).
--
-- KEYS     for each shard its hash and its input stream
-- Returns  for each shard owner or nil, token, version, backlog, in one flat list

local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local answers = {}

for i = 1, #KEYS, 2 do
  local have = redis.call('HMGET', KEYS[i], 'owner', 'token', 'version', 'until_ms')
  local alive = have[1] and tonumber(have[4] or 0) > now_ms
  local at = #answers
  answers[at + 1] = alive and have[1] or false
  answers[at + 2] = tonumber(have[2] or 0)
  answers[at + 3] = tonumber(have[3] or 0)
  answers[at + 4] = redis.call('XLEN', KEYS[i + 1])
end
return answers
