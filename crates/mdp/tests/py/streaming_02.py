"""MDP/0.2, bare and delimited: PARTIALs, translation of codes, and the bridge to 0.1."""
import os
import sys
import threading
import zmq

endpoint = sys.argv[1]
context = zmq.Context()


def worker(lead, name):
    socket = context.socket(zmq.DEALER)
    socket.connect(endpoint)
    socket.send_multipart(lead + [b"MDPW02", b"\x01", name])
    while True:
        frames = socket.recv_multipart()
        assert frames[: len(lead) + 1] == lead + [b"MDPW02"], frames
        frames = frames[len(lead) + 1 :]
        if frames[0] == b"\x02":
            address = frames[1]
            for part in [b"line 1", b"line 2"]:
                socket.send_multipart(lead + [b"MDPW02", b"\x03", address, b"", part])
            socket.send_multipart(lead + [b"MDPW02", b"\x04", address, b"", b"line 3"])
        else:
            assert frames[0] == b"\x05", frames


threading.Thread(target=worker, args=([], b"bare"), daemon=True).start()
threading.Thread(target=worker, args=([b""], b"delimited"), daemon=True).start()
client = context.socket(zmq.DEALER)
client.setsockopt(zmq.RCVTIMEO, 10000)
client.connect(endpoint)
for lead in [[], [b""]]:
    for service in [b"bare", b"delimited"]:
        client.send_multipart(lead + [b"MDPC02", b"\x01", service, b"3"])
        for code, part in [(b"\x02", b"line 1"), (b"\x02", b"line 2"), (b"\x03", b"line 3")]:
            expected = lead + [b"MDPC02", code, service, part]
            got = client.recv_multipart()
            assert got == expected, (got, expected)

old = context.socket(zmq.REQ)
old.setsockopt(zmq.RCVTIMEO, 10000)
old.connect(endpoint)
old.send_multipart([b"MDPC01", b"bare", b"3"])
assert old.recv_multipart() == [b"MDPC01", b"bare", b"line 1", b"line 2", b"line 3"]
print("ok", flush=True)
os._exit(0)
