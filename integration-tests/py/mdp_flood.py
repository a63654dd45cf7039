"""Floods a Majordomo broker: malformed messages, READYs, service names, big and giant frames.

Argument: endpoint. Prints "sent" once everything is on its way, and stays until it is killed.
"""
import sys
import time

import zmq

endpoint = sys.argv[1]
context = zmq.Context()


def connect():
    socket = context.socket(zmq.DEALER)
    socket.connect(endpoint)
    return socket


# The worker of the service `w0` registers before names run out.
holder = connect()
holder.send_multipart([b"", b"MDPW01", b"\x01", b"w0"])
malformed = [
    [b""],
    [b"", b"MDPC01"],
    [b"", b"MDPC01", b""],
    [b"", b"MDPC09", b"x"],
    [b"", b"MDPW01", b"\x01"],
    [b"", b"MDPW01", b"\x09", b"x"],
    [b"", b"MDPW01", b"\x03", b"nobody", b"", b"x"],
    [b"", b"MDPW01", b"\x01", b"mmi.service"],
    [b""] * 2000,
]
socket = connect()
for message in malformed:
    socket.send_multipart(message)
for _ in range(2000):
    socket.send_multipart([b"", b"MDPW01", b"\x01", b"w0"])
socket = connect()
for number in range(2000):
    socket.send_multipart([b"", b"MDPC01", b"service-%d" % number, b"x"])
for _ in range(50):
    socket.send_multipart([b"", b"MDPC01", b"w1", b"x" * 500_000])
connect().send_multipart([b"", b"MDPC01", b"w1", b"x" * 50_000_000])
print("sent")
while True:
    time.sleep(60)
