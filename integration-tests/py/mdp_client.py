"""A Majordomo 0.1 client on a pyzmq REQ socket.

Arguments: endpoint, service, body frames. Prints the frames of the answer as a JSON list, or null if
none came within ten seconds.
"""
import json
import sys

import zmq

endpoint, service, *body = sys.argv[1:]
context = zmq.Context()
socket = context.socket(zmq.REQ)
socket.linger = 0
socket.connect(endpoint)
socket.send_multipart([b"MDPC01", service.encode(), *[frame.encode() for frame in body]])
if socket.poll(timeout=10000):
    print(json.dumps([frame.decode("utf-8", "replace") for frame in socket.recv_multipart()]))
else:
    print("null")
