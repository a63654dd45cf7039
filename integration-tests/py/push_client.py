"""A SimplePush user agent on the PyPI package `websockets`.

Sends each line of its input as a text message, prints each message that arrives as a line, and
`{"closed": CODE}` when the server closes.
"""
import json
import sys
import threading

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

url = sys.argv[1]


def forward(socket):
    for line in sys.stdin:
        socket.send(line.rstrip("\n"))


with connect(url) as socket:
    threading.Thread(target=forward, args=(socket,), daemon=True).start()
    try:
        while True:
            message = socket.recv()
            print(message if isinstance(message, str) else json.dumps({"binary": len(message)}))
    except ConnectionClosed as closed:
        print(json.dumps({"closed": closed.rcvd.code if closed.rcvd else None}))
