"""A Majordomo 0.1 worker on pyzmq, frame by frame.

Arguments: endpoint, service, mode. Prints a line for what arrives. Modes: `echo` answers with the
body; `json` answers with {"seen": BODY}; `silent` takes requests and never answers; `held` answers with
each line that it is given, and does nothing else meanwhile.
"""
import json
import sys
import time

import zmq

endpoint, service, mode = sys.argv[1:4]
context = zmq.Context()
socket = context.socket(zmq.DEALER)
socket.linger = 0
socket.connect(endpoint)


def send(command, *frames):
    socket.send_multipart([b"", b"MDPW01", command, *frames])


send(b"\x01", service.encode())
print(json.dumps({"event": "ready"}))
next_beat = time.monotonic() + 1
while True:
    if socket.poll(timeout=200):
        frames = socket.recv_multipart()
        assert frames[0] == b"" and frames[1] == b"MDPW01", frames
        command = frames[2]
        if command == b"\x02":
            client, empty, body = frames[3], frames[4], frames[5:]
            assert empty == b""
            print(json.dumps({"event": "request", "body": [f.decode("utf-8", "replace") for f in body]}))
            if mode == "echo":
                send(b"\x03", client, b"", *body)
            elif mode == "json":
                send(b"\x03", client, b"", b'{"seen":' + body[0] + b"}")
            elif mode == "held":
                send(b"\x03", client, b"", sys.stdin.readline().strip().encode())
        elif command == b"\x04":
            print(json.dumps({"event": "heartbeat"}))
        elif command == b"\x05":
            print(json.dumps({"event": "disconnect"}))
            sys.exit(0)
    if time.monotonic() >= next_beat:
        send(b"\x04")
        next_beat = time.monotonic() + 1
