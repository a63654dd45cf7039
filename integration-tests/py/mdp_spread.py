"""Many Majordomo 0.1 requests at several brokers at once, each with an id of its own.

Arguments: service, count, endpoints. A client for each endpoint keeps 32 requests in flight. Prints a line
when a tenth is answered, and at the end what came of all: answered, twice, wrong, and the times.
"""
import json
import sys
import time

import zmq

service, count, *endpoints = sys.argv[1:]
count = int(count)
context = zmq.Context()
sockets = []
for endpoint in endpoints:
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    socket.connect(endpoint)
    sockets.append(socket)
poller = zmq.Poller()
for socket in sockets:
    poller.register(socket, zmq.POLLIN)
sent, answered, twice, wrong, times = {}, set(), 0, 0, []
begun = time.monotonic()
last = begun


def ask(socket):
    if len(sent) < count:
        number = b"%d" % len(sent)
        sent[number] = time.monotonic()
        socket.send_multipart([number, b"", b"MDPC01", service.encode(), b"body " + number])


for socket in sockets:
    for _ in range(32):
        ask(socket)
told = False
# Ten seconds without any answer are the end.
while len(answered) < count and time.monotonic() < last + 10:
    for socket, _ in poller.poll(timeout=200):
        last = time.monotonic()
        number, _, _, _, *body = socket.recv_multipart()
        wrong += body != [b"body " + number]
        twice += number in answered
        answered.add(number)
        times.append(last - sent[number])
        ask(socket)
    if not told and len(answered) * 10 >= count:
        told = True
        print(json.dumps({"event": "under way"}), flush=True)
times.sort()
seconds = time.monotonic() - begun
print(json.dumps({
    "event": "done", "answered": len(answered), "twice": twice, "wrong": wrong,
    "per_second": round(len(answered) / seconds), "p50_ms": round(times[len(times) // 2] * 1000, 3) if times else None,
    "p99_ms": round(times[len(times) * 99 // 100] * 1000, 3) if times else None,
}), flush=True)
