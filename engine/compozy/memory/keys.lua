-- Return after which name the next page begins, empty on the last one, and the keys of a memory in the order of their
-- names: at most ARGV[2], those after ARGV[1] (empty: from the first). Of each one:
-- name, messages, tokens, time of the last change and of the expiry in ms.
-- ARGV[3] to ARGV[6]: what the names of its facts, order, entries and uses begin with.
local now = now_ms()
forget_expired(now)
local from = ARGV[1] == '' and '-' or '(' .. ARGV[1]
local names = redis.call('ZRANGEBYLEX', keys, from, '+', 'LIMIT', 0, ARGV[2])
local found = {}
for _, name in ipairs(names) do
  local part = ARGV[3] .. name
  if exists_whole(part, ARGV[4] .. name, ARGV[5] .. name, ARGV[6] .. name) then
    local known, left = redis.call('HMGET', part, 'tokens', 'updated_ms'), redis.call('PTTL', part)
    found[#found + 1] = {
      name, redis.call('LLEN', ARGV[4] .. name), known[1], known[2], whole(left < 0 and 0 or now + left)
    }
  else
    redis.call('ZREM', keys, name)
    redis.call('ZREM', expiry, name)
  end
end
return {#names == tonumber(ARGV[2]) and names[#names] or '', found}
