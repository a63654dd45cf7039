"""The whole conversation of the reference's example 21.6, on a pyzmq REQ socket and byte for byte.

Argument: endpoint. Prints the id of the request once it is pending, reads a line when the echo worker
was started, and prints `ok` at the end.
"""
import re
import sys
import time

import zmq

context = zmq.Context()
socket = context.socket(zmq.REQ)
socket.linger = 0
socket.rcvtimeo = 20000
socket.connect(sys.argv[1])


def call(*frames):
    socket.send_multipart([b"MDPC01", *frames])
    return socket.recv_multipart()


answer = call(b"titanic.request", b"echo", b"Hello world")
assert answer[:3] == [b"MDPC01", b"titanic.request", b"200"] and len(answer) == 4, answer
uuid = answer[3]
assert re.fullmatch(rb"[0-9A-F]{32}", uuid), uuid
assert call(b"titanic.reply", uuid) == [b"MDPC01", b"titanic.reply", b"300"]
print(uuid.decode())
sys.stdin.readline()
deadline = time.monotonic() + 20
while (answer := call(b"titanic.reply", uuid.lower())) == [b"MDPC01", b"titanic.reply", b"300"]:
    assert time.monotonic() < deadline, "no reply in time"
for spelling in (uuid.lower(), uuid, uuid):
    answer = call(b"titanic.reply", spelling)
    assert answer == [b"MDPC01", b"titanic.reply", b"200", b"Hello world"], answer
for _ in range(2):
    assert call(b"titanic.close", uuid) == [b"MDPC01", b"titanic.close", b"200"]
assert call(b"titanic.reply", uuid) == [b"MDPC01", b"titanic.reply", b"400"]
print("ok")
