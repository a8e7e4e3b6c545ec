-- Add messages, or replace all by them. KEYS[7]: where the outcome of this operation is kept, so that it is done once.
-- ARGV: name of the key, ttl in ms (0: none), max_messages, max_tokens, lru, replace, how long the outcome is kept in ms,
-- then for each message: tokens, time in ms (0: now), JSON. Returns how many were evicted, and the statistics.
local name, ttl, lru, replace = ARGV[1], tonumber(ARGV[2]), ARGV[5] == '1', ARGV[6] == '1'
local now = now_ms()
local done = redis.call('GET', KEYS[7])
if done then return {tonumber(done), statistics(now)} end

forget_expired(now)
if not exists() then redis.call('HSET', facts, 'created_ms', whole(now)) end
if replace then remove_messages() end
local tokens = 0
for at = 8, #ARGV, 3 do
  local number = redis.call('HINCRBY', facts, 'next', 1)
  local time = ARGV[at + 1] == '0' and whole(now) or ARGV[at + 1]
  redis.call('HSET', entries, number, ARGV[at] .. ':' .. time .. ':' .. ARGV[at + 2])
  redis.call('RPUSH', order, number)
  if lru then redis.call('ZADD', used, number, number) end
  tokens = tokens + tonumber(ARGV[at])
end
redis.call('HINCRBY', facts, 'tokens', whole(tokens))
redis.call('HINCRBY', facts, 'appended', whole((#ARGV - 7) / 3))
redis.call('HSET', facts, 'updated_ms', whole(now))
local evicted = evict(tonumber(ARGV[3]), tonumber(ARGV[4]), lru, now)

redis.call('ZADD', keys, 0, name)
for _, part in ipairs({facts, order, entries, used}) do
  if ttl > 0 then redis.call('PEXPIREAT', part, whole(now + ttl)) else redis.call('PERSIST', part) end
end
if ttl > 0 then redis.call('ZADD', expiry, whole(now + ttl), name) else redis.call('ZREM', expiry, name) end
redis.call('SET', KEYS[7], whole(evicted), 'PX', ARGV[7])
return {evicted, statistics(now)}
