"""A broker with the habits of Backbone's (mdp.md 8.6, 9.2), which are not those of the specification.

Prints its endpoint, then a line for each READY. On a line of standard input it sends every worker
DISCONNECT, without the delimiter, as Backbone's does.
"""
import sys
import time

import zmq

INTERVAL = 0.3
MISSED_MAX = 5

router = zmq.Context().socket(zmq.ROUTER)
router.linger = 0
port = router.bind_to_random_port("tcp://127.0.0.1")
print(f"tcp://127.0.0.1:{port}")

missed = {}  # worker id -> ticks without HEARTBEAT
service_of = {}  # worker id -> service
waiting = {}  # service -> idle workers
queued = {}  # service -> (address stack, body)


def dispatch(service):
    while waiting.get(service) and queued[service]:
        worker = waiting[service].pop(0)
        stack, body = queued[service].pop(0)
        router.send_multipart([worker, b"", b"MDPW01", b"\x02", *stack, b"", *body])


def forget(worker):
    missed.pop(worker, None)
    service = service_of.pop(worker, None)
    if service and worker in waiting[service]:
        waiting[service].remove(worker)


def on_client(stack, service, body):
    if service.startswith(b"mmi."):
        code = b"501"
        if service == b"mmi.service":
            code = b"200" if body[0] in service_of.values() else b"404"
        router.send_multipart([*stack, b"", b"MDPC01", service, code])
    elif service in waiting:
        queued[service].append((stack, body))
        dispatch(service)
    # A request for a service that was never seen is discarded without a word.


def on_worker(worker, command, rest):
    if command == b"\x01":
        if worker not in service_of:
            service = rest[0]
            service_of[worker] = service
            missed[worker] = 0
            waiting.setdefault(service, []).append(worker)
            queued.setdefault(service, [])
            print("ready", service.decode())
        # What is queued is not dispatched now, only at the next reply.
    elif command == b"\x03":
        end = rest.index(b"")
        service = service_of[worker]
        router.send_multipart([*rest[:end], b"", b"MDPC01", service, *rest[end + 1:]])
        waiting[service].append(worker)
        dispatch(service)
    elif command == b"\x04":
        # Only HEARTBEAT counts, a reply does not; one of a stranger is ignored.
        if worker in missed:
            missed[worker] = 0
    elif command == b"\x05":
        forget(worker)
    else:
        router.send_multipart([worker, b"MDPW01", b"\x05"])


poller = zmq.Poller()
poller.register(router, zmq.POLLIN)
poller.register(sys.stdin, zmq.POLLIN)
next_tick = time.monotonic() + INTERVAL
while True:
    events = dict(poller.poll(timeout=50))
    if router in events:
        frames = router.recv_multipart()
        start = frames.index(b"")
        header, rest = frames[start + 1], frames[start + 2:]
        if header.startswith(b"MDPC"):
            on_client(frames[:start], rest[0], rest[1:])
        else:
            on_worker(frames[0], rest[0], rest[1:])
    if sys.stdin.fileno() in events:
        if not sys.stdin.readline():
            sys.exit(0)
        for worker in list(service_of):
            router.send_multipart([worker, b"MDPW01", b"\x05"])
            forget(worker)
    if time.monotonic() >= next_tick:
        next_tick = time.monotonic() + INTERVAL
        for worker in list(missed):
            missed[worker] += 1
            if missed[worker] > MISSED_MAX:
                print("expired", service_of[worker].decode())
                forget(worker)
            else:
                router.send_multipart([worker, b"", b"MDPW01", b"\x04"])
