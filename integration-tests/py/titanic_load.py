"""Stores requests as fast as they are acknowledged, until it is killed or nothing answers any more.

Arguments: endpoint, prefix of the bodies. Keeps 32 requests in flight on a DEALER socket; the frame
before the delimiter finds an answer's request. Prints `ID BODY` for each that is acknowledged.
"""
import sys

import zmq

endpoint, prefix = sys.argv[1:3]
context = zmq.Context()
socket = context.socket(zmq.DEALER)
socket.linger = 0
socket.connect(endpoint)
number = 0


def submit():
    global number
    body = f"{prefix}-{number}".encode()
    number += 1
    socket.send_multipart([body, b"", b"MDPC01", b"titanic.request", b"echo", body])


for _ in range(32):
    submit()
while socket.poll(timeout=20000):
    body, empty, header, service, status, *rest = socket.recv_multipart()
    assert [empty, header, service] == [b"", b"MDPC01", b"titanic.request"]
    if status == b"200":
        print(rest[0].decode(), body.decode())
    submit()
