-- Tells which logs of one shard grew, and keeps the shard from giving a sequence that others have passed.
--
-- KEYS: meta, then the stream of each log.
-- ARGV: run, the least that the last sequence becomes, then for each log the epoch and the sequence of
--       a position as decimal text.
-- Gives for each log whether it has an entry after the position, or may have: 1 or 0.
if settling then return wait() end
local state = redis.call('HMGET', meta, 'epoch', 'last')
if less(state[2], ARGV[2]) then
    -- Readers go on when the memory is full: a script whose first write takes none may write on.
    redis.call('HDEL', meta, 'settling')
    redis.call('HSET', meta, 'last', ARGV[2])
end
local grown = {}
for index = 2, #KEYS do
    local epoch, place = ARGV[2 * index - 1], ARGV[2 * index]
    -- Nothing of a body is copied where nothing is new.
    grown[index - 1] = (epoch ~= state[1]
        or #redis.call('XRANGE', KEYS[index], '(' .. place .. '-0', '+', 'COUNT', 1) > 0) and 1 or 0
end
return grown
