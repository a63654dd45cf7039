"""A REQ client and a DEALER worker, both plain pyzmq."""
import sys
import threading
import zmq

endpoint = sys.argv[1]
context = zmq.Context()


def worker():
    socket = context.socket(zmq.DEALER)
    socket.connect(endpoint)
    socket.send_multipart([b"", b"MDPW01", b"\x01", b"echo"])
    while True:
        frames = socket.recv_multipart()
        assert frames[:2] == [b"", b"MDPW01"], frames
        if frames[2] == b"\x02":
            address, empty, body = frames[3], frames[4], frames[5:]
            assert address and empty == b"", frames
            reply = [frame.upper() for frame in body]
            socket.send_multipart([b"", b"MDPW01", b"\x03", address, b""] + reply)
        else:
            assert frames[2] == b"\x04", frames
            socket.send_multipart([b"", b"MDPW01", b"\x04"])


threading.Thread(target=worker, daemon=True).start()
client = context.socket(zmq.REQ)
client.setsockopt(zmq.RCVTIMEO, 10000)
client.connect(endpoint)

# The request waits at the broker until the worker has registered.
client.send_multipart([b"MDPC01", b"echo", b"Hello", b"", b"World"])
assert client.recv_multipart() == [b"MDPC01", b"echo", b"HELLO", b"", b"WORLD"]

# Backbone: no body frame at all, in both directions.
client.send_multipart([b"MDPC01", b"echo"])
assert client.recv_multipart() == [b"MDPC01", b"echo"]

for name, code in [(b"echo", b"200"), (b"nobody", b"404"), (b"mmi.service", b"404")]:
    client.send_multipart([b"MDPC01", b"mmi.service", name])
    assert client.recv_multipart() == [b"MDPC01", b"mmi.service", code], name
client.send_multipart([b"MDPC01", b"mmi.nosuch", b"x"])
assert client.recv_multipart() == [b"MDPC01", b"mmi.nosuch", b"501"]

# A correlating REQ socket puts four bytes before the delimiter.
correlated = context.socket(zmq.REQ)
correlated.setsockopt(zmq.REQ_CORRELATE, 1)
correlated.setsockopt(zmq.REQ_RELAXED, 1)
correlated.setsockopt(zmq.RCVTIMEO, 10000)
correlated.connect(endpoint)
for body in [b"a", b"b"]:
    correlated.send_multipart([b"MDPC01", b"echo", body])
    assert correlated.recv_multipart() == [b"MDPC01", b"echo", body.upper()]
print("ok", flush=True)
import os
os._exit(0)
