#!lua flags=no-writes
-- The live nodes of a role (the seam: Registry.nodes).
--
-- KEYS     sorted set of the nodes of the role, hash of what they say of themselves
-- Returns  id, information, id, information, ...

local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local answers = {}

for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], string.format('(%.0f', now_ms), '+inf')) do
  answers[#answers + 1] = id
  answers[#answers + 1] = redis.call('HGET', KEYS[2], id) or ''
end
return answers
