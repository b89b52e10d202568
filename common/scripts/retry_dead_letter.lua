#!lua
-- Put a dead letter back into its shard's input, and take it off the stream (the seam: DeadLetters.retry_dead_letter).
--
-- KEYS     the stream of dead letters, the input stream
-- ARGV     the letter's position, the batch
-- Returns  1 done, 0 no such letter

if redis.call('XDEL', KEYS[1], '0-' .. ARGV[1]) == 0 then
  return 0
end
redis.call('XADD', KEYS[2], '0-*', 'd', ARGV[2])
return 1
