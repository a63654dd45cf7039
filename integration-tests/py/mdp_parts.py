"""A Majordomo 0.2 client on pyzmq that asks once and prints each message of the answer as a JSON list.

Arguments: endpoint, service.
"""
import json
import sys

import zmq

endpoint, service = sys.argv[1:3]
socket = zmq.Context().socket(zmq.DEALER)
socket.linger = 0
socket.connect(endpoint)
socket.send_multipart([b"MDPC02", b"\x01", service.encode(), b"go"])
while True:
    print(json.dumps([frame.decode() for frame in socket.recv_multipart()]), flush=True)
