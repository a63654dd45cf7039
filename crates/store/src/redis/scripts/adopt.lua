-- Makes a run of the server known to a shard, and begins a new epoch if writes were lost.
--
-- KEYS: meta, runs.
-- ARGV: format, number of shards, this run, an epoch later than any before, the first sequence of the
--       shard; of the caller: the run and the epoch that it knew or nothing, and the last sequence; the
--       least that the last sequence becomes, since the caller passed it in another shard; the command and
--       channel of hints; what the keys of the shard begin with; whether a server of this kind keeps all
--       that it acknowledges when its run ends, and for how many milliseconds it waits otherwise for all
--       who lived on to write again what it lacks.
-- Gives the format, the number of shards, the epoch, whether writes were lost that the caller knew of, and
-- the last sequence given.
--
-- `runs` has a line for each run that ended: its name and the last sequence that outlived it. A caller
-- who knows of a later one knows of writes that were lost. Who knows nothing, as after a start, can't
-- say that nothing was lost between two runs of a server that may lose some.
local meta, runs = KEYS[1], KEYS[2]
local run, fresh, first = ARGV[3], ARGV[4], ARGV[5]
local known, known_epoch, seen = ARGV[6], ARGV[7], ARGV[8]

-- A script is not undone where it fails: one that lacks a right would leave a part of a batch.
local lacking = {}
local function needs(...)
    if not redis.acl_check_cmd(...) then lacking[#lacking + 1] = string.lower((...)) end
end
needs(ARGV[10], ARGV[11], 'x')
for _, name in ipairs({ 'HGET', 'HMGET', 'HSET', 'HDEL', 'HSCAN', 'ZADD', 'ZREM', 'ZRANGEBYSCORE',
    'ZRANGEBYLEX', 'ZREVRANGEBYLEX', 'XADD', 'XDEL', 'XLEN', 'XRANGE', 'XSETID', 'DEL', 'RPUSH', 'LTRIM',
    'LRANGE', 'TIME' }) do
    needs(name, ARGV[12] .. 'r:x', 'x', 'x', 'x')
end
if #lacking > 0 then
    return redis.error_reply('BUSWIREACL the user lacks ' .. table.concat(lacking, ', '))
end

local state = redis.call('HMGET', meta, 'format', 'shards', 'run', 'epoch', 'last')
-- Goes before a write that takes memory, so that readers go on when it is full: a script whose first
-- write takes none may write on.
local function make_way() redis.call('HDEL', meta, '') end
-- Only who meets a run first may begin it: afterwards somebody may have written there.
local function settle()
    local time = redis.call('TIME')
    local till = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) + tonumber(ARGV[14])
    redis.call('HSET', meta, 'settling', string.format('%.0f', till))
end

if not state[1] then
    if known ~= '' then settle() end
    local last = less(first, seen) and seen or first
    last = less(last, ARGV[9]) and ARGV[9] or last
    redis.call('HSET', meta, 'format', ARGV[1], 'shards', ARGV[2], 'run', run, 'epoch', fresh,
        'last', last)
    return { ARGV[1], ARGV[2], fresh, known == '' and 0 or 1, last }
end
if state[1] ~= ARGV[1] or state[2] ~= ARGV[2] then return { state[1], state[2], state[4], 0 } end
if state[3] ~= run then
    make_way()
    redis.call('RPUSH', runs, state[3] .. ' ' .. state[5])
    redis.call('LTRIM', runs, -64, -1)
    redis.call('HSET', meta, 'run', run)
end

local function is_lost()
    if known == '' then return state[3] ~= run and ARGV[13] ~= '1' end
    if less(state[5], seen) then return true end
    if known == run then return false end
    local ended = redis.call('LRANGE', runs, 0, -1)
    for index = #ended, 1, -1 do
        local name, outlived = string.sub(ended[index], 1, -10), string.sub(ended[index], -8)
        if less(outlived, seen) then return true end
        if name == known then return false end
    end
    return true
end

if state[3] ~= run and ARGV[13] ~= '1' then settle() end
-- Nothing is lost with what only kept a sequence from being given, so that comes after.
local lost = is_lost()
if less(state[5], ARGV[9]) then
    make_way()
    redis.call('HSET', meta, 'last', ARGV[9])
end
if not lost then return { state[1], state[2], state[4], 0, state[5] } end
-- Where the epoch is later than the caller's, readers are told of the gap without one more.
local epoch = state[4]
if known == '' or tonumber(epoch) <= tonumber(known_epoch) then
    epoch = string.format('%.0f', math.max(tonumber(epoch) + 1, tonumber(fresh)))
end
local last = less(state[5], seen) and seen or state[5]
make_way()
redis.call('HSET', meta, 'epoch', epoch, 'last', less(last, ARGV[9]) and ARGV[9] or last)
if state[3] ~= run then settle() end
return { state[1], state[2], epoch, 1, last }
