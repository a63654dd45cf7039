"""A Majordomo 0.1 client on a pyzmq REQ socket.

Arguments: [--curve SERVER-KEY PUBLIC-KEY SECRET-KEY], endpoint, service, body frames. Prints the frames of the answer as a JSON list, or null if
none came within ten seconds.
"""
import json
import sys

import zmq

arguments = sys.argv[1:]
context = zmq.Context()
socket = context.socket(zmq.REQ)
socket.linger = 0
if arguments[0] == "--curve":
    keys = [key.encode() for key in arguments[1:4]]
    socket.curve_serverkey, socket.curve_publickey, socket.curve_secretkey = keys
    arguments = arguments[4:]
endpoint, service, *body = arguments
socket.connect(endpoint)
socket.send_multipart([b"MDPC01", service.encode(), *[frame.encode() for frame in body]])
if socket.poll(timeout=10000):
    print(json.dumps([frame.decode("utf-8", "replace") for frame in socket.recv_multipart()]))
else:
    print("null")
