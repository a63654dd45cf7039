-- Goes before every script but `adopt`: nothing happens on a run of the server that was not looked at.
--
-- KEYS: meta first. ARGV: the run first.
local meta = KEYS[1]
local found = redis.call('HMGET', meta, 'run', 'settling')
if found[1] ~= ARGV[1] then
    return redis.error_reply('BUSWIRERUN another run of the server was met')
end

-- While those who lived on write again what was lost, nothing else happens, so that all of it finds its
-- old place. Afterwards the field goes.
local settling = false
if found[2] then
    local time = redis.call('TIME')
    local now = tonumber(time[1]) * 1000 + math.floor(time[2] / 1000)
    settling = now < tonumber(found[2]) and now
    if not settling then redis.call('HDEL', meta, 'settling') end
end
local function wait() return redis.error_reply('BUSWIREWAIT what was lost is written again') end
