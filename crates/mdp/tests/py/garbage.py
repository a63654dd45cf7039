"""Whatever is sent, the broker goes on; oversize frames cost the sender its connection only."""
import os
import random
import sys
import zmq

endpoint = sys.argv[1]
context = zmq.Context()
random.seed(20161)


def socket(kind):
    it = context.socket(kind)
    it.setsockopt(zmq.RCVTIMEO, 10000)
    it.setsockopt(zmq.LINGER, 0)
    it.connect(endpoint)
    return it


good = [b"", b"MDPC01", b"MDPC02", b"MDPW01", b"MDPW02", b"MDPC03", b"MDPC", b"C", b"W", b"1",
        b"\x01", b"\x02", b"\x03", b"\x04", b"\x05", b"\x06", b"\xaa\xa4\x01", b"echo",
        b"mmi.service", b"mmi.", b"\xff\xfe", b"a\x00b", b"x" * 300]
for _ in range(10):
    dealer = socket(zmq.DEALER)
    for _ in range(500):
        dealer.send_multipart([random.choice(good) for _ in range(random.randint(1, 7))])
    # The answer to this shows that everything before it was taken in.
    dealer.send_multipart([b"fence", b"", b"MDPC01", b"mmi.service", b"x"])
    while dealer.recv_multipart()[0] != b"fence":
        pass
    dealer.close(0)
dealer = socket(zmq.DEALER)
dealer.send_multipart([b"", b"MDPC01", b"echo"] + [b"x"] * 2000)
probe = context.socket(zmq.DEALER)
probe.setsockopt(zmq.PROBE_ROUTER, 1)
probe.connect(endpoint)
large = socket(zmq.DEALER)
large.send_multipart([b"", b"MDPC01", b"mmi.service", b"x" * 2_000_000])
large.setsockopt(zmq.RCVTIMEO, 300)
try:
    raise AssertionError(large.recv_multipart())
except zmq.Again:
    pass

client = socket(zmq.REQ)
client.send_multipart([b"MDPC01", b"mmi.service", b"nobody-here"])
assert client.recv_multipart() == [b"MDPC01", b"mmi.service", b"404"]
print("ok", flush=True)
os._exit(0)
