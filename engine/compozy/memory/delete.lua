-- Remove a key; return the number of its messages, nil where it does not exist. ARGV: name of the key.
local existed = exists()
local removed = remove_messages()
redis.call('DEL', facts)
redis.call('ZREM', keys, ARGV[1])
redis.call('ZREM', expiry, ARGV[1])
if not existed then return nil end
return removed
