#!lua
-- Drop what an edge has applied of its output stream (the seam: EdgeBus.trim_output).
--
-- KEYS     the stream
-- ARGV     the last position to drop
-- Returns  how many entries were dropped
--
-- A stream whose top is below that position is not the one that the edge read: it was made anew, and holds
-- what the edge has not seen.

if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
local info = redis.call('XINFO', 'STREAM', KEYS[1])
for i = 1, #info, 2 do
  if info[i] == 'last-generated-id' then
    if tonumber(string.match(info[i + 1], '%-(%d+)$')) < tonumber(ARGV[1]) then
      return 0
    end
  end
end
return redis.call('XTRIM', KEYS[1], 'MINID', '=', string.format('0-%.0f', tonumber(ARGV[1]) + 1))
