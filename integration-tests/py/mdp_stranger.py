"""Tries to get in where only gateways may: without CURVE, and with keys of its own.

Argument: endpoint. Prints for each try the name of what ended it, or `let in`.
"""
import json
import sys

import zmq
from zmq.utils.monitor import recv_monitor_message

endpoint = sys.argv[1]
context = zmq.Context()
for keys in (None, zmq.curve_keypair()):
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    if keys is not None:
        socket.curve_publickey, socket.curve_secretkey = keys
        socket.curve_serverkey = zmq.curve_keypair()[0]
    monitor = socket.get_monitor_socket()
    socket.connect(endpoint)
    socket.send_multipart([b"BWL\x01\x01" + bytes(32), b"stranger"])
    ended = None
    while ended is None:
        event = recv_monitor_message(monitor)["event"]
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            ended = "let in"
        elif event in (zmq.EVENT_DISCONNECTED, zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL,
                       zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, zmq.EVENT_HANDSHAKE_FAILED_AUTH):
            ended = "shut out"
    heard = socket.poll(timeout=0)
    print(json.dumps({"try": "plain" if keys is None else "own keys", "ended": ended, "heard": heard}), flush=True)
    socket.disable_monitor()
    socket.close()
