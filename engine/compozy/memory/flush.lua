-- Evict what exceeds the limits, such as limits that were lowered; nil where the key does not exist.
-- ARGV: max_messages, max_tokens, lru.
if not exists() then return nil end
local now = now_ms()
local evicted = evict(tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1', now)
return {evicted, statistics(now)}
