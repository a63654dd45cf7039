"""A broker with the habits of the ZeroMQ guide's (mdp.md 3.4, 8.6, 9, 11.10): it knows no address
stack of more than one frame and ends on one, as the guide's does by an assertion; it sends HEARTBEAT
to idle workers only. Prints its endpoint.
"""
import time

import zmq

INTERVAL = 0.3

router = zmq.Context().socket(zmq.ROUTER)
router.linger = 0
port = router.bind_to_random_port("tcp://127.0.0.1")
print(f"tcp://127.0.0.1:{port}")

service_of = {}  # worker id -> service
waiting = []  # idle workers, all services in one list
queued = {}  # service -> (client id, body)


def dispatch(service):
    queue = queued.setdefault(service, [])
    while queue and any(service_of[worker] == service for worker in waiting):
        worker = next(worker for worker in waiting if service_of[worker] == service)
        waiting.remove(worker)
        client, body = queue.pop(0)
        router.send_multipart([worker, b"", b"MDPW01", b"\x02", client, b"", *body])


def on_worker(worker, command, rest):
    if command == b"\x01" and worker not in service_of:
        service_of[worker] = rest[0]
        waiting.append(worker)
        dispatch(rest[0])
    elif command == b"\x03" and worker in service_of:
        assert rest[1] == b""
        router.send_multipart([rest[0], b"", b"MDPC01", service_of[worker], *rest[2:]])
        waiting.append(worker)
        dispatch(service_of[worker])
    elif command == b"\x04" and worker in service_of:
        pass
    else:
        service_of.pop(worker, None)
        if worker in waiting:
            waiting.remove(worker)
        if command != b"\x05":
            router.send_multipart([worker, b"", b"MDPW01", b"\x05"])


next_beat = time.monotonic() + INTERVAL
while True:
    if router.poll(timeout=50):
        sender, empty, header, *rest = router.recv_multipart()
        assert empty == b"", "the guide's broker knows addresses of one frame only"
        if header == b"MDPC01":
            service, body = rest[0], rest[1:]
            if service == b"mmi.service":
                code = b"200" if body[-1] in service_of.values() else b"404"
                router.send_multipart([sender, b"", header, service, *body[:-1], code])
            else:
                queued.setdefault(service, []).append((sender, body))
                dispatch(service)
        elif header == b"MDPW01":
            on_worker(sender, rest[0], rest[1:])
    if time.monotonic() >= next_beat:
        next_beat = time.monotonic() + INTERVAL
        for worker in waiting:
            router.send_multipart([worker, b"", b"MDPW01", b"\x04"])
