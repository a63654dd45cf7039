"""A SimplePush server on the PyPI package `websockets` that only says what it is told to say.

Prints its URL, then `{"opened": SUBPROTOCOL}` for a connection and each text message that arrives. Sends
each line of its input as a text message, but closes with a code for `{"close": CODE}`. One connection at a
time.
"""
import json
import queue
import sys
import threading

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

lines = queue.Queue(maxsize=1024)


def say(socket):
    while True:
        line = lines.get()
        if line.startswith('{"close":'):
            socket.close(json.loads(line)["close"])
            return
        socket.send(line)


def serve_one(socket):
    print(json.dumps({"opened": socket.subprotocol}))
    threading.Thread(target=say, args=(socket,), daemon=True).start()
    try:
        while True:
            print(socket.recv())
    except ConnectionClosed:
        print(json.dumps({"closed": None}))


with serve(serve_one, "127.0.0.1", 0, subprotocols=["push-notification"]) as server:
    print("ws://127.0.0.1:%d/" % server.socket.getsockname()[1])
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for line in sys.stdin:
        lines.put(line.rstrip("\n"))
