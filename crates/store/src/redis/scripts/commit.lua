-- Applies one batch, whole or not at all; or applies again what of one was lost.
--
-- KEYS: meta, due, rows, names, then for each log that is appended to: its stream, its dedupe ids.
-- ARGV: run, time, first sequence of the time in this shard, number of shards, command and channel
--       of hints, partition, number of expectations, the numbers that the operations had been given
--       if they are applied again, the expectations, the operations.
-- Gives the epoch, the last sequence given, the index of the expectation that does not hold or -1,
-- and for each operation a letter with the number that goes with it.
if settling and ARGV[9] == '' then return wait() end
-- As long as somebody writes again, everybody else waits: others may still be about to begin.
if settling and settling + 1000 > tonumber(found[2]) then
    redis.call('HSET', meta, 'settling', string.format('%.0f', settling + 1000))
end
local due, rows, names = KEYS[2], KEYS[3], KEYS[4]
local now, first, step, partition = ARGV[2], sequence(ARGV[3]), tonumber(ARGV[4]), ARGV[7]
local state = redis.call('HMGET', meta, 'epoch', 'last')
local last = sequence(state[2])
local numbers = ARGV[9]
local at = 9
local function take()
    at = at + 1
    return ARGV[at]
end

-- A row is a letter for its kind, its revision, its expiry, its content.
local function revision_of(row) return string.sub(row, 2, 9) end
local function expiry_of(row) return string.sub(row, 10, 17) end
local function is_live(row) return row and less(now, expiry_of(row)) end
local function is_buried(row) return is_live(row) and string.sub(row, 1, 1) == 't' end
local NEVER = string.rep('\255', 8)

for index = 1, tonumber(ARGV[8]) do
    local revision, row = take(), redis.call('HGET', rows, take())
    local holds
    if revision == '' then
        holds = not is_live(row)
    else
        holds = is_live(row) and not is_buried(row) and revision_of(row) == revision
    end
    if not holds then return { state[1], state[2], index - 1 } end
end
if math.max(last, first) + #ARGV * step >= 9007199254740992 then
    return redis.error_reply('BUSWIREEND no sequence is left')
end

local changed = false
local function following()
    last = math.max(last + step, first)
    changed = true
    return bytes_of(last)
end

-- The number that the present operation had been given; `nil` if it is applied for the first time.
local number
-- The rows that this batch wrote.
local written = {}

-- Whether what is to be applied again is still there, or was replaced since.
local function is_there(key, old)
    return number and old and not written[key] and not less(revision_of(old), number)
end

-- What is applied again keeps its number, so that of two processes that write the same row again the
-- one that was later stays, whoever comes first. `score` is the expiry as decimal text, or empty.
local function write(key, old, kind, content, expiry, score)
    local revision = number
    if not number or (old and not less(revision_of(old), number)) then revision = following() end
    changed = true
    written[key] = true
    redis.call('HSET', rows, key, kind .. revision .. expiry .. content)
    if not old then redis.call('ZADD', names, 0, key) end
    local member = 'r' .. partition .. '\0' .. key
    if score ~= '' then
        redis.call('ZADD', due, score, member)
    elseif old and expiry_of(old) ~= NEVER then
        redis.call('ZREM', due, member)
    end
    return 'w' .. revision
end

-- Appends an entry at its old place, as long as nobody reads: afterwards readers may be beyond it,
-- even where this log has nothing later, since one cursor goes through several. Returns whether it is
-- there.
local function put_back(stream, fields)
    if not settling then return false end
    local id = stream_id(sequence(number))
    if type(redis.pcall('XADD', stream, id, unpack(fields))) == 'string' then return true end
    local later = redis.call('XRANGE', stream, id, '+')
    if later[1] and later[1][1] == id then return false end
    for _, entry in ipairs(later) do redis.call('XDEL', stream, entry[1]) end
    redis.call('XSETID', stream, stream_id(sequence(number) - 1))
    redis.call('XADD', stream, id, unpack(fields))
    for _, entry in ipairs(later) do redis.call('XADD', stream, entry[1], unpack(entry[2])) end
    return true
end

local apply = {}

function apply.a()
    local log, path, id, body, expiry, score = take(), take(), take(), take(), take(), take()
    local stream, dedupe = KEYS[3 + 2 * log], KEYS[4 + 2 * log]
    if id ~= '' then
        local kept = redis.call('HGET', dedupe, id)
        if kept and less(now, string.sub(kept, 9)) then return 'r' .. string.sub(kept, 1, 8) end
    end
    if number then
        -- Another entry may have been given the same number since.
        local place = stream_id(sequence(number))
        local entry = redis.call('XRANGE', stream, place, place)[1]
        if entry and entry[2][4] == id and entry[2][6] == body then return 'r' .. number end
    end
    local fields = { 'e', expiry, 'd', id, 'b', body }
    local place = number
    if not number or not put_back(stream, fields) then
        place = following()
        redis.call('XADD', stream, stream_id(last), unpack(fields))
    end
    changed = true
    if id ~= '' then redis.call('HSET', dedupe, id, place .. expiry) end
    if score ~= '' then redis.call('ZADD', due, score, 'e' .. place .. path) end
    return 'a' .. place
end

function apply.p()
    local key, value, expiry, score = take(), take(), take(), take()
    local old = redis.call('HGET', rows, key)
    if is_buried(old) then return 'b' end
    if is_there(key, old) then return 'w' .. revision_of(old) end
    return write(key, old, 'b', value, expiry, score)
end

function apply.v()
    local key, version, expiry, score = take(), take(), take(), take()
    local old = redis.call('HGET', rows, key)
    if is_buried(old) then return 'b' end
    local kept = is_live(old) and string.sub(old, 1, 1) == 'v' and string.sub(old, 18)
    if is_there(key, old) then
        -- A later raise was applied again before this one, and did not know this version.
        if kept and less(kept, version) then
            redis.call('HSET', rows, key, string.sub(old, 1, 17) .. version)
            changed = true
        end
        return 'w' .. revision_of(old)
    end
    if kept and less(version, kept) then version = kept end
    return write(key, old, 'v', version, expiry, score)
end

function apply.t()
    local key, expiry, score = take(), take(), take()
    local old = redis.call('HGET', rows, key)
    if is_buried(old) and not less(expiry_of(old), expiry) then return 'w' .. revision_of(old) end
    return write(key, old, 't', '', expiry, score)
end

function apply.d()
    local key = take()
    local old = redis.call('HGET', rows, key)
    if is_buried(old) then return 'b' end
    if old and not is_there(key, old) then
        redis.call('HDEL', rows, key)
        redis.call('ZREM', names, key)
        redis.call('ZREM', due, 'r' .. partition .. '\0' .. key)
        changed = true
    end
    return 'd'
end

local results = { state[1], state[2], -1 }
while at < #ARGV do
    if numbers ~= '' then number = string.sub(numbers, 8 * #results - 23, 8 * #results - 16) end
    results[#results + 1] = apply[take()]()
end
if changed then
    results[2] = bytes_of(last)
    redis.call('HSET', meta, 'last', results[2])
    redis.call(ARGV[5], ARGV[6], partition)
end
return results
