#!lua
-- Create the cluster, or say how it was created (the seam: Registry.open_cluster).
--
-- KEYS     hash of the cluster
-- ARGV     shards, partitions, format
-- Returns  the stored shards, partitions, format

if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], 'shards', ARGV[1], 'partitions', ARGV[2], 'format', ARGV[3])
end
return redis.call('HMGET', KEYS[1], 'shards', 'partitions', 'format')
