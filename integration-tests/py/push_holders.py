"""Peers that hold WebSockets in ways that cost a gateway something, on the PyPI package `websockets`
and on bare sockets.

    push_holders.py ADDRESS silent COUNT     opens connections that never say hello; prints "open" when
                                             all are, then how many were closed with 1008
    push_holders.py ADDRESS unread ENDPOINTS registers channels, reads nothing more
"""
import asyncio
import json
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

address, kind, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
url = f"ws://{address}/push"


async def silent():
    at_once = asyncio.Semaphore(50)

    async def open_one():
        async with at_once:
            return await connect(url, compression=None, open_timeout=60, ping_interval=None)

    async def code(socket):
        try:
            await socket.recv()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else None

    sockets = await asyncio.gather(*(open_one() for _ in range(count)))
    print("open", flush=True)
    codes = await asyncio.gather(*(code(socket) for socket in sockets))
    print(sum(code == 1008 for code in codes), flush=True)


async def unread():
    # One message at most waits in the client; then it reads no more from its socket.
    socket = await connect(url, compression=None, ping_interval=None, max_queue=1)
    await socket.send(json.dumps({"messageType": "hello", "uaid": "", "channelIDs": []}))
    await socket.recv()
    for number in range(count):
        channel = f"0d5be3f4-7c11-4f0e-8a57-{number:012x}"
        await socket.send(json.dumps({"messageType": "register", "channelID": channel}))
        print(json.loads(await socket.recv())["pushEndpoint"], flush=True)
    await asyncio.Event().wait()


asyncio.run({"silent": silent, "unread": unread}[kind]())
