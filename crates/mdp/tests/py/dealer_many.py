"""A DEALER client with correlation and many requests in flight; three workers."""
import os
import sys
import threading
import time
import zmq

endpoint = sys.argv[1]
context = zmq.Context()


def worker(number):
    socket = context.socket(zmq.DEALER)
    socket.connect(endpoint)
    socket.send_multipart([b"", b"MDPW01", b"\x01", b"slow"])
    while True:
        frames = socket.recv_multipart()
        if frames[2] == b"\x02":
            # Different speeds, so that answers come out of order.
            time.sleep(0.001 * number)
            socket.send_multipart([b"", b"MDPW01", b"\x03", frames[3], b""] + frames[5:])
        else:
            assert frames[2] == b"\x04", frames


for number in range(3):
    threading.Thread(target=worker, args=(number,), daemon=True).start()

clients = [context.socket(zmq.DEALER) for _ in range(2)]
for client in clients:
    client.setsockopt(zmq.RCVTIMEO, 10000)
    client.connect(endpoint)
for number in range(200):
    for name, client in zip([b"x", b"y"], clients):
        id = number.to_bytes(4, "big")
        client.send_multipart([id, b"", b"MDPC01", b"slow", name + str(number).encode()])
for name, client in zip([b"x", b"y"], clients):
    seen = set()
    for _ in range(200):
        id, empty, header, service, body = client.recv_multipart()
        assert (empty, header, service) == (b"", b"MDPC01", b"slow")
        assert body == name + str(int.from_bytes(id, "big")).encode(), (id, body)
        seen.add(id)
    assert len(seen) == 200
print("ok", flush=True)
os._exit(0)
