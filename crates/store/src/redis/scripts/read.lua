-- Reads one page of a log.
--
-- KEYS: meta, stream.
-- ARGV: run, time, epoch of the position or empty, sequence of the position as decimal text, most
--       entries, the bytes after which the page ends.
-- Gives the epoch, whether there is more, whether there is a gap, then for each entry its stream id,
-- its expiry, its body.
if settling then return wait() end
local stream, epoch = KEYS[2], redis.call('HGET', meta, 'epoch')
local now, limit, room = ARGV[2], tonumber(ARGV[5]), tonumber(ARGV[6])
local gap = ARGV[3] ~= '' and ARGV[3] ~= epoch
local from = '-'
if ARGV[3] ~= '' and not gap then from = '(' .. ARGV[4] .. '-0' end
local page = { epoch, 0, gap and 1 or 0 }
local count, found = 8, 0
while true do
    local entries = redis.call('XRANGE', stream, from, '+', 'COUNT', count)
    for _, entry in ipairs(entries) do
        local fields = entry[2]
        if less(now, fields[2]) then
            if found == limit or room < 0 then
                page[2] = 1
                return page
            end
            page[#page + 1] = entry[1]
            page[#page + 1] = fields[2]
            page[#page + 1] = fields[6]
            found = found + 1
            room = room - #fields[6]
        end
        from = '(' .. entry[1]
    end
    if #entries < count then return page end
    -- Few at first, since a body may be large.
    count = math.min(count * 2, 256)
end
