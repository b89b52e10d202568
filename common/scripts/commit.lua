#!lua
-- One worker batch in one partition, all or nothing (the seam: WorkerBus.commit).
--
-- KEYS     the hashes of the batch's shards first, then every key that an operation names
-- ARGV     number of shards, bound of a history, and this server's run id where it is not the one that the batch was
--          read from, else an empty string
--          for each shard: token, version, version + 1, cursor
--          operations to the end: command, index of its key, number of arguments, arguments
-- Returns  1 written, 2 written by an earlier call, 3 this server has another run id than was said,
--          or {indexes of fenced shards, of stale shards, of unread shards}
--
-- The text of this script ends with the run id of a server, so that its hash is known to that server only: a caller
-- whose server was exchanged gets NOSCRIPT, at no cost for the others.
--
-- Redis does not roll back: everything that can fail is checked before the first write. The shebang makes the
-- server check memory, disk and role before the script starts. The caller keeps a command's arguments below
-- 2,001, since Lua's stack holds 8,000 values.

local shard_count = tonumber(ARGV[1])
local history_max = ARGV[2]
local moved_to = ARGV[3]
local at = 4
local fenced, stale, unread, written = {}, {}, {}, {}
local fresh = 0

local now_ms = 0
if moved_to ~= '' then
  if moved_to ~= string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') then
    return 3
  end
  local time = redis.call('TIME')
  now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- Whether nothing of a shard that looks whole was lost on the way to this server: nobody else can have had it in
-- between, since the caller's lease lasts.
local function is_whole(key)
  return now_ms == 0 or tonumber(redis.call('HGET', key, 'until_ms') or 0) > now_ms
end

for i = 1, shard_count do
  local have = redis.call('HMGET', KEYS[i], 'token', 'version', 'cursor')
  local is_fresh = have[2] == ARGV[at + 1]
  local is_written = have[2] == ARGV[at + 2] and have[3] == ARGV[at + 3]
  if have[1] ~= ARGV[at] then
    fenced[#fenced + 1] = i
  elseif (is_fresh or is_written) and is_whole(KEYS[i]) then
    if moved_to ~= '' then
      redis.call('HSET', KEYS[i], 'server', moved_to)
    end
    if is_written then
      written[#written + 1] = i
    elseif moved_to ~= '' and have[3] ~= ARGV[at + 3] then
      unread[#unread + 1] = i
    else
      fresh = fresh + 1
    end
  else
    stale[#stale + 1] = i
    if is_fresh or is_written or tonumber(have[2] or 0) < tonumber(ARGV[at + 1]) then
      -- Commits are missing, or may be. Whoever acquires the shard next must know.
      redis.call('HDEL', KEYS[i], 'server')
    end
  end
  at = at + 4
end

if #written == shard_count then
  return 2
end
if fresh < shard_count then
  -- A shard that is already written beside a fenced one is neither: this batch was written before the other
  -- shard was lost, and the caller learns that when it repeats the rest. Beside a fresh one it cannot be.
  if fresh + #unread > 0 then
    for _, i in ipairs(written) do
      stale[#stale + 1] = i
      redis.call('HDEL', KEYS[i], 'server')
    end
  end
  return {fenced, stale, unread}
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
