-- Return the statistics, and the newest messages as number and entry in turn, the oldest of them first.
-- ARGV: how many at most, lru, the number before which they are (0: no bound).
local most, lru, before = tonumber(ARGV[1]), ARGV[2] == '1', tonumber(ARGV[3])
local now = now_ms()
if not exists() then return nil end

local last = redis.call('LLEN', order) - 1
if before > 0 then
  local numbers = redis.call('LRANGE', order, 0, -1)
  while last >= 0 and tonumber(numbers[last + 1]) >= before do last = last - 1 end
end
local numbers = {}
if most > 0 and last >= 0 then numbers = redis.call('LRANGE', order, whole(math.max(0, last - most + 1)), whole(last)) end
local found = {}
for at = 1, #numbers, CHUNK do
  local part = {unpack(numbers, at, math.min(at + CHUNK - 1, #numbers))}
  for place, entry in ipairs(redis.call('HMGET', entries, unpack(part))) do
    found[#found + 1] = part[place]
    found[#found + 1] = entry
  end
end
if lru and #numbers > 0 then
  note_uses(true, now)
  local uses = redis.call('HINCRBY', facts, 'next', whole(#numbers)) - #numbers
  for at, number in ipairs(numbers) do redis.call('ZADD', used, whole(uses + at), number) end
end
return {statistics(now), found}
