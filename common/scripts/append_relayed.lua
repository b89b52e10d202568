#!lua
-- Append batches to input streams of one partition, all or none (the seam: Relays.append_relayed).
--
-- KEYS     input streams
-- ARGV     for each batch, in order: index of its stream, the batch
-- Returns  how many batches were appended

for i = 1, #ARGV, 2 do
  redis.call('XADD', KEYS[tonumber(ARGV[i])], '0-*', 'd', ARGV[i + 1])
end
return #ARGV / 2
