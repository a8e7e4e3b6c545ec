-- Return after which name the next page begins, empty on the last one, and the keys of a memory in the order of their
-- names: at most ARGV[2], those after ARGV[1] (empty: from the first). Of each one:
-- name, messages, tokens, time of the last change and of the expiry in ms.
-- ARGV[3]: what the name of a key's facts begins with; ARGV[4]: the same of its order.
local now = now_ms()
forget_expired(now)
local from = ARGV[1] == '' and '-' or '(' .. ARGV[1]
local names = redis.call('ZRANGEBYLEX', keys, from, '+', 'LIMIT', 0, ARGV[2])
local found = {}
for _, name in ipairs(names) do
  local part = ARGV[3] .. name
  local left = redis.call('PTTL', part)
  if left == -2 then  -- it expired, or the server evicted it
    redis.call('ZREM', keys, name)
    redis.call('ZREM', expiry, name)
  else
    local known = redis.call('HMGET', part, 'tokens', 'updated_ms')
    found[#found + 1] = {
      name, redis.call('LLEN', ARGV[4] .. name), known[1], known[2], whole(left < 0 and 0 or now + left)
    }
  end
end
return {#names == tonumber(ARGV[2]) and names[#names] or '', found}
