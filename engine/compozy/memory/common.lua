-- What all scripts share. KEYS name the parts of one memory key:
--   facts   hash: next (counter of messages and of their uses), tokens, appended, evicted, created_ms, updated_ms
--   order   list: the numbers of the messages, the oldest first
--   entries hash: number of a message -> "tokens:time in ms:JSON"
--   used    sorted set: number of a message -> when it was last written or read, by the counter; for eviction lru only
-- and those of the memory that the key belongs to:
--   keys    sorted set of the names of its keys, all with the score 0, so that they are ordered by name
--   expiry  sorted set: name of a key -> when it expires, in ms
local facts, order, entries, used, keys, expiry = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local CHUNK = 1000

local function whole(number) return string.format('%.0f', number) end

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function fact(name) return tonumber(redis.call('HGET', facts, name) or '0') end

-- A server that is full may have evicted a part of a key: then the key is as good as lost, and its rest is removed.
local function exists_whole(facts, order, entries, used)
  local tokens, count = redis.call('HGET', facts, 'tokens'), redis.call('LLEN', order)
  if tokens and count == redis.call('HLEN', entries) and (count > 0 or tokens == '0') then return true end
  redis.call('DEL', facts, order, entries, used)
  return false
end

local function exists() return exists_whole(facts, order, entries, used) end

local function forget_expired(now)
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', expiry, '-inf', whole(now), 'LIMIT', 0, 100)) do
    redis.call('ZREM', keys, name)
    redis.call('ZREM', expiry, name)
  end
end

local function remove_messages()
  local count = redis.call('LLEN', order)
  redis.call('DEL', order, entries, used)
  redis.call('HSET', facts, 'tokens', 0)
  return count
end

-- Messages of a time at which the memory had eviction fifo count as used when they were written.
local function note_uses(lru, now)
  if not lru then return redis.call('DEL', used) end
  if redis.call('ZCARD', used) < redis.call('LLEN', order) then
    for _, number in ipairs(redis.call('LRANGE', order, 0, -1)) do redis.call('ZADD', used, 'NX', number, number) end
  end
  local left = redis.call('PTTL', facts)
  if left > 0 then redis.call('PEXPIREAT', used, whole(now + left)) end
end

local function oldest(lru)
  if not lru then return redis.call('LPOP', order) end
  local number = redis.call('ZRANGE', used, 0, 0)[1]
  redis.call('ZREM', used, number)
  redis.call('LREM', order, 1, number)
  return number
end

-- Evict until both limits hold, 0 is unlimited; return how many messages.
local function evict(max_messages, max_tokens, lru, now)
  note_uses(lru, now)
  local count, tokens, evicted = redis.call('LLEN', order), fact('tokens'), 0
  while (max_messages > 0 and count > max_messages) or (max_tokens > 0 and tokens > max_tokens and count > 0) do
    local number = oldest(lru)
    tokens = tokens - tonumber(string.match(redis.call('HGET', entries, number), '^%d+'))
    redis.call('HDEL', entries, number)
    count, evicted = count - 1, evicted + 1
  end
  if evicted > 0 then
    redis.call('HSET', facts, 'tokens', whole(tokens))
    redis.call('HINCRBY', facts, 'evicted', whole(evicted))
  end
  return evicted
end

-- The statistics: messages, tokens, appended, evicted, created_ms, updated_ms, expires_ms (0: never).
local function statistics(now)
  local left = redis.call('PTTL', facts)
  return {
    redis.call('LLEN', order), fact('tokens'), fact('appended'), fact('evicted'), whole(fact('created_ms')),
    whole(fact('updated_ms')), whole(left < 0 and 0 or now + left)
  }
end
