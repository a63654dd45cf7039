"""A Majordomo 0.2 worker on pyzmq that answers one request in parts.

Arguments: endpoint, service. Sends the PARTIALs "one" and "two", and the FINAL "three" only after a
line on standard input.
"""
import sys

import zmq

endpoint, service = sys.argv[1:3]
socket = zmq.Context().socket(zmq.DEALER)
socket.linger = 1000
socket.connect(endpoint)
socket.send_multipart([b"MDPW02", b"\x01", service.encode()])
frames = socket.recv_multipart()
while frames[1] != b"\x02":
    frames = socket.recv_multipart()
address = frames[2]
socket.send_multipart([b"MDPW02", b"\x03", address, b"", b"one"])
socket.send_multipart([b"MDPW02", b"\x03", address, b"", b"two"])
sys.stdin.readline()
socket.send_multipart([b"MDPW02", b"\x04", address, b"", b"three"])
sys.stdin.readline()
