"""Calls services frame by frame, in the dialect that the arguments ask for.

Arguments: endpoint, `0.1` or `0.2`. Reads lines with a JSON list of frames, the service first, each byte
written as the character of its number, and prints the frames of the answer's body the same way.
"""
import json
import sys

import zmq

endpoint, version = sys.argv[1:3]
context = zmq.Context()
socket = context.socket(zmq.DEALER)
socket.linger = 0
socket.rcvtimeo = 20000
socket.connect(endpoint)
request, final = {
    "0.1": ([b"", b"MDPC01"], [b"", b"MDPC01"]),
    "0.2": ([b"MDPC02", b"\x01"], [b"MDPC02", b"\x03"]),
}[version]
for line in sys.stdin:
    service, *body = [frame.encode("latin-1") for frame in json.loads(line)]
    socket.send_multipart([*request, service, *body])
    answer = socket.recv_multipart()
    assert answer[: len(final) + 1] == [*final, service], answer
    print(json.dumps([frame.decode("latin-1") for frame in answer[len(final) + 1 :]]))
