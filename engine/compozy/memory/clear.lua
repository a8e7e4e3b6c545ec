-- Remove the messages of a key and keep its statistics and its time to live; return the number removed, nil without key.
if not exists() then return nil end
local now = now_ms()
local removed = remove_messages()
redis.call('HSET', facts, 'updated_ms', whole(now))
return {removed, statistics(now)}
