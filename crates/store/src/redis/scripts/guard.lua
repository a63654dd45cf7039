-- Goes before every script but `adopt`: nothing happens on a run of the server that was not looked at.
--
-- KEYS: meta first. ARGV: the run first.
local meta = KEYS[1]
if redis.call('HGET', meta, 'run') ~= ARGV[1] then
    return redis.error_reply('BUSWIRERUN another run of the server was met')
end
