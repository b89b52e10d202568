#!lua
-- One worker batch in one partition, all or nothing (the seam: WorkerBus.commit).
--
-- KEYS     the hashes of the batch's shards first, then every key that an operation names
-- ARGV     number of shards, bound of a history
--          for each shard: token, version, version + 1, cursor
--          operations to the end: command, index of its key, number of arguments, arguments
-- Returns  1 written, 2 written by an earlier call, or {indexes of fenced shards, indexes of stale shards}
--
-- Redis does not roll back: everything that can fail is checked before the first write. The shebang makes the
-- server check memory, disk and role before the script starts. The caller keeps a command's arguments below
-- 2,001, since Lua's stack holds 8,000 values.

local shard_count = tonumber(ARGV[1])
local history_max = ARGV[2]
local at = 3
local fenced, stale, written = {}, {}, {}
local fresh = 0

for i = 1, shard_count do
  local have = redis.call('HMGET', KEYS[i], 'token', 'version', 'cursor')
  if have[1] ~= ARGV[at] then
    fenced[#fenced + 1] = i
  elseif have[2] == ARGV[at + 1] then
    fresh = fresh + 1
  elseif have[2] == ARGV[at + 2] and have[3] == ARGV[at + 3] then
    written[#written + 1] = i
  else
    stale[#stale + 1] = i
  end
  at = at + 4
end

if #written == shard_count then
  return 2
end
if fresh < shard_count then
  -- A shard that is already written beside a fenced one is neither: this batch was written before the other
  -- shard was lost, and the caller learns that when it repeats the rest. Beside a fresh one it cannot be.
  if fresh > 0 then
    for _, i in ipairs(written) do
      stale[#stale + 1] = i
    end
  end
  return {fenced, stale}
end

local function append_history(key, id, data)
  local answer = redis.pcall('XADD', key, 'MAXLEN', '~', history_max, id, 'd', data)
  if type(answer) == 'table' and answer.err then
    -- The log's top is not below this place, so it is left over from a state that the store lost.
    local ttl_ms = redis.call('PTTL', key)
    redis.call('DEL', key)
    redis.call('XADD', key, id, 'd', data)
    if ttl_ms > 0 then
      redis.call('PEXPIRE', key, ttl_ms)
    end
  end
end

local size = #ARGV
while at <= size do
  local command = ARGV[at]
  local key = KEYS[tonumber(ARGV[at + 1])]
  local last = at + 2 + tonumber(ARGV[at + 2])
  if command == 'LOG' then
    for i = at + 3, last, 2 do
      append_history(key, ARGV[i], ARGV[i + 1])
    end
  else
    redis.call(command, key, unpack(ARGV, at + 3, last))
  end
  at = last + 1
end
return 1
