-- Reads one page of the rows of a partition.
--
-- KEYS: meta, rows, names.
-- ARGV: run, time, least key as a bound, greatest key as a bound, whether to begin at the greatest,
--       most rows, the bytes after which the page ends.
-- Gives whether there is more, then for each row its key and its record.
if settling then return wait() end
local rows, names = KEYS[2], KEYS[3]
local now, least, greatest = ARGV[2], ARGV[3], ARGV[4]
local descending, limit, room = ARGV[5] == '1', tonumber(ARGV[6]), tonumber(ARGV[7])
local page, found, count = { 0 }, 0, 8
while true do
    local keys
    if descending then
        keys = redis.call('ZREVRANGEBYLEX', names, greatest, least, 'LIMIT', 0, count)
    else
        keys = redis.call('ZRANGEBYLEX', names, least, greatest, 'LIMIT', 0, count)
    end
    if #keys == 0 then return page end
    local records = redis.call('HMGET', rows, unpack(keys))
    for index, key in ipairs(keys) do
        local record = records[index]
        if record and less(now, string.sub(record, 10, 17)) then
            if found == limit or room < 0 then
                page[1] = 1
                return page
            end
            page[#page + 1] = key
            page[#page + 1] = record
            found = found + 1
            room = room - #record
        end
        if descending then greatest = '(' .. key else least = '(' .. key end
    end
    if #keys < count then return page end
    count = math.min(count * 2, 256)
end
