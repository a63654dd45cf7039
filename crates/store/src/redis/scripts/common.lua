-- Goes before every script.
--
-- A number of 64 bits is a string of 8 bytes, the most significant first. It is never one Lua number:
-- those are doubles. Halves of 32 bits are exact, and so are sequences, which stay below 2^53. Strings
-- are not compared with `<`, which follows the locale of the server.

-- Whether one number of 64 bits is less than another.
local function less(a, b)
    local ah, al = struct.unpack('>I4I4', a)
    local bh, bl = struct.unpack('>I4I4', b)
    return ah < bh or (ah == bh and al < bl)
end

-- A sequence as a Lua number.
local function sequence(bytes)
    local high, low = struct.unpack('>I4I4', bytes)
    return high * 4294967296 + low
end

-- A sequence as 8 bytes.
local function bytes_of(number)
    return struct.pack('>I4I4', math.floor(number / 4294967296), number % 4294967296)
end

-- The id of the stream entry of a sequence.
local function stream_id(number)
    return string.format('%.0f-0', number)
end
