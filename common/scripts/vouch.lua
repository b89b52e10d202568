#!lua
-- Say that this server has all that another one had (common/bus_redis.py: `RedisBus.vouch`).
--
-- KEYS     hashes of the shards
-- ARGV     run id of the other server
-- Returns  how many shards were known to be whole there

local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local count = 0

for _, key in ipairs(KEYS) do
  if redis.call('HGET', key, 'server') == ARGV[1] then
    redis.call('HSET', key, 'server', run_id)
    count = count + 1
  end
end
return count
