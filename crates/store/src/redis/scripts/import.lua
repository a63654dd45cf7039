-- Puts rows or entries in, as they were in another store.
--
-- KEYS: meta, due, then rows and names of the partition, or stream and dedupe ids of the log.
-- ARGV: run, the least that the last sequence becomes, what names the entries in `due` or nothing for
--       rows, what names the rows in `due`; then for each row its key, its record, its expiry as decimal
--       text or nothing, or for each entry its sequence, expiry, expiry as text, dedupe id, body.
if settling then return wait() end
local due, first, second = KEYS[2], KEYS[3], KEYS[4]
local path, row_name = ARGV[3], ARGV[4]
if less(redis.call('HGET', meta, 'last'), ARGV[2]) then redis.call('HSET', meta, 'last', ARGV[2]) end
if path == '' then
    for at = 5, #ARGV, 3 do
        local key, record, score = ARGV[at], ARGV[at + 1], ARGV[at + 2]
        redis.call('HSET', first, key, record)
        redis.call('ZADD', second, 0, key)
        if score ~= '' then redis.call('ZADD', due, score, row_name .. key) end
    end
    return {}
end
for at = 5, #ARGV, 5 do
    local place, expiry, score, id = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
    redis.call('XADD', first, stream_id(sequence(place)), 'e', expiry, 'd', id, 'b', ARGV[at + 4])
    if id ~= '' then redis.call('HSET', second, id, place .. expiry) end
    redis.call('ZADD', due, score, 'e' .. place .. path)
end
return {}
