"""Heartbeats both ways: idle, busy, and a worker that falls silent. Interval 300 ms, expiry 2 s."""
import os
import sys
import time
import zmq

endpoint = sys.argv[1]
context = zmq.Context()
HEARTBEAT = [b"", b"MDPW01", b"\x04"]
DISCONNECT = [b"", b"MDPW01", b"\x05"]


def socket(kind):
    it = context.socket(kind)
    it.setsockopt(zmq.RCVTIMEO, 10000)
    it.connect(endpoint)
    return it


def registered(client):
    client.send_multipart([b"MDPC01", b"mmi.service", b"beat"])
    return client.recv_multipart()[2] == b"200"


client = socket(zmq.REQ)
worker = socket(zmq.DEALER)
worker.send_multipart([b"", b"MDPW01", b"\x01", b"beat"])

# Idle: the broker heartbeats, and the worker lives as long as it does too.
for _ in range(5):
    assert worker.recv_multipart() == HEARTBEAT
    worker.send_multipart(HEARTBEAT)
assert registered(client)

# Busy: the broker still heartbeats, and does not take a worker that cannot for gone.
asker = socket(zmq.REQ)
asker.send_multipart([b"MDPC01", b"beat", b"x"])
request = worker.recv_multipart()
while request[2] != b"\x02":
    request = worker.recv_multipart()
for _ in range(9):
    assert worker.recv_multipart() == HEARTBEAT
worker.send_multipart([b"", b"MDPW01", b"\x03", request[3], b"", b"done"])
assert asker.recv_multipart() == [b"MDPC01", b"beat", b"done"]
assert registered(client)

# Silent: told at once that it is gone, and gone it is.
started = time.monotonic()
frames = worker.recv_multipart()
while frames == HEARTBEAT:
    frames = worker.recv_multipart()
assert frames == DISCONNECT, frames
assert time.monotonic() - started > 1
assert not registered(client)

# An unknown worker's heartbeat is answered with DISCONNECT, once per interval.
worker.close()
unknown = socket(zmq.DEALER)
for _ in range(5):
    unknown.send_multipart(HEARTBEAT)
assert unknown.recv_multipart() == DISCONNECT
unknown.setsockopt(zmq.RCVTIMEO, 50)
try:
    raise AssertionError(unknown.recv_multipart())
except zmq.Again:
    pass
print("ok", flush=True)
os._exit(0)
