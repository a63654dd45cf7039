-- Removes what has expired in one shard. What it touches beside KEYS has the same hash tag.
--
-- KEYS: meta, due.
-- ARGV: run, what the keys of the shard begin with, time as decimal text, most to remove.
-- Gives how many were removed and whether more are due.
if settling then return wait() end
local due, base, budget = KEYS[2], ARGV[2], tonumber(ARGV[4])
-- Whoever has a clock that is ahead must not remove what is live for the others.
local time = redis.call('TIME')
local now = math.min(tonumber(ARGV[3]), tonumber(time[1]) * 1000 + math.floor(time[2] / 1000))
local till = string.format('%.0f', now)
local members = redis.call('ZRANGEBYSCORE', due, '-inf', till, 'LIMIT', 0, budget + 1)
local removed = 0

local function remove_entry(place, path)
    local stream, dedupe = base .. 'l:' .. path, base .. 'd:' .. path
    local id = stream_id(sequence(place))
    local entry = redis.call('XRANGE', stream, id, id)[1]
    if not entry then return end
    local name = entry[2][4]
    if name ~= '' then
        local first = redis.call('HGET', dedupe, name)
        if first and string.sub(first, 1, 8) == place then redis.call('HDEL', dedupe, name) end
    end
    redis.call('XDEL', stream, id)
    if redis.call('XLEN', stream) == 0 then redis.call('DEL', stream) end
end

local function remove_row(partition, key)
    redis.call('HDEL', base .. 'r:' .. partition, key)
    redis.call('ZREM', base .. 'k:' .. partition, key)
end

for index = 1, math.min(#members, budget) do
    local member = members[index]
    if string.sub(member, 1, 1) == 'e' then
        remove_entry(string.sub(member, 2, 9), string.sub(member, 10))
    else
        local stop = string.find(member, '\0', 2, true)
        remove_row(string.sub(member, 2, stop - 1), string.sub(member, stop + 1))
    end
    redis.call('ZREM', due, member)
    removed = removed + 1
end
return { removed, #members > budget and 1 or 0 }
