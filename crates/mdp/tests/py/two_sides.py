"""Separate sockets for clients and workers: each serves its side and drops the other."""
import os
import sys
import zmq

clients, workers = sys.argv[1:3]
context = zmq.Context()


def dealer(endpoint):
    it = context.socket(zmq.DEALER)
    it.setsockopt(zmq.RCVTIMEO, 10000)
    # The same fixed identity on both sides is two peers.
    it.setsockopt(zmq.IDENTITY, b"same")
    it.connect(endpoint)
    return it


worker, client = dealer(workers), dealer(clients)
# Dropped: a client's message where workers connect, and a worker's where clients do.
worker.send_multipart([b"", b"MDPC01", b"mmi.service", b"echo"])
client.send_multipart([b"", b"MDPW01", b"\x01", b"echo"])
client.send_multipart([b"", b"MDPC01", b"mmi.service", b"echo"])
assert client.recv_multipart() == [b"", b"MDPC01", b"mmi.service", b"404"]

worker.send_multipart([b"", b"MDPW01", b"\x01", b"echo"])
client.send_multipart([b"", b"MDPC01", b"echo", b"a"])
frames = worker.recv_multipart()
while frames[2] != b"\x02":
    assert frames == [b"", b"MDPW01", b"\x04"], frames
    frames = worker.recv_multipart()
worker.send_multipart([b"", b"MDPW01", b"\x03", frames[3], b"", b"A"])
assert client.recv_multipart() == [b"", b"MDPC01", b"echo", b"A"]
print("ok", flush=True)
os._exit(0)
