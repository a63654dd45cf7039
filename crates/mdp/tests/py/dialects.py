"""The dialects of mdp.md 6.3 c and d, byte by byte: a majortomo client and a zproto worker."""
import os
import sys
import zmq

endpoint = sys.argv[1]
context = zmq.Context()


def dealer():
    it = context.socket(zmq.DEALER)
    it.setsockopt(zmq.RCVTIMEO, 10000)
    it.connect(endpoint)
    return it


HEARTBEAT = b"\xaa\xa4\x08\x06MDPW02\x05"
worker = dealer()
worker.send(b"\xaa\xa4\x04\x06MDPW02\x01\x04echo")


def work():
    frames = worker.recv_multipart()
    while frames == [HEARTBEAT]:
        worker.send(HEARTBEAT)
        frames = worker.recv_multipart()
    assert frames[0] == b"\xaa\xa4\x05\x06MDPW02\x02" and frames[2] == b"", frames
    return frames


client = dealer()
client.send_multipart([b"", b"MDPC02", b"\x02", b"echo", b"a"])
address = work()[1]
worker.send_multipart([b"\xaa\xa4\x06\x06MDPW02\x03", address, b"", b"part"])
worker.send_multipart([b"\xaa\xa4\x07\x06MDPW02\x04", address, b"", b"end"])
assert client.recv_multipart() == [b"", b"MDPC02", b"\x03", b"part"]
assert client.recv_multipart() == [b"", b"MDPC02", b"\x04", b"end"]

packed = dealer()
packed.send_multipart([b"\xaa\xa4\x01\x06MDPC02\x01\x04echo", b"a"])
worker.send_multipart([b"\xaa\xa4\x07\x06MDPW02\x04", work()[1], b"", b"A"])
assert packed.recv_multipart() == [b"\xaa\xa4\x03\x06MDPC02\x03\x04echo", b"A"]

# The frozen tag of another library heartbeats with 04: it is told to go, in the published code.
frozen = dealer()
frozen.send_multipart([b"", b"MDPW02", b"\x04"])
assert frozen.recv_multipart() == [b"", b"MDPW02", b"\x06"]
print("ok", flush=True)
os._exit(0)
