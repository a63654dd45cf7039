"""SimplePush user agents on the PyPI package `websockets` that come back whenever their connection ends.

    push_rehome.py URL COUNT

Each registers one channel and acknowledges what it is told. Prints {"endpoints": […]} when all have one. For each line of
its input it prints {"latest": […], "hellos": […], "lost": N}: the latest version that each was told, how often each said
hello, and how many times a UAID was not known any more.
"""

import asyncio
import json
import sys
import uuid

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

# Before it tries again: many clients of one gateway come back at once, none of them all the time.
PAUSE = 0.1


class Agent:
    def __init__(self):
        self.channel = str(uuid.uuid4())
        self.uaid, self.endpoint = "", None
        self.latest, self.hellos, self.lost = 0, 0, 0

    async def converse(self, socket):
        channels = [self.channel] if self.endpoint else []
        hello = {"messageType": "hello", "uaid": self.uaid, "channelIDs": channels}
        await socket.send(json.dumps(hello))
        async for text in socket:
            message = json.loads(text)
            kind = message.get("messageType")
            if kind == "hello":
                self.hellos += 1
                self.lost += self.uaid not in ("", message["uaid"])
                self.uaid = message["uaid"]
                if not self.endpoint:
                    register = {"messageType": "register", "channelID": self.channel}
                    await socket.send(json.dumps(register))
            elif kind == "register":
                self.endpoint = message["pushEndpoint"]
            elif kind == "notification":
                self.latest = max([self.latest] + [it["version"] for it in message["updates"]])
                await socket.send(json.dumps({"messageType": "ack", "updates": message["updates"]}))

    async def live(self, url):
        while True:
            try:
                async with connect(url) as socket:
                    await self.converse(socket)
            except (OSError, EOFError, WebSocketException):
                pass
            await asyncio.sleep(PAUSE)


async def main(url, count):
    agents = [Agent() for _ in range(count)]
    lives = [asyncio.create_task(agent.live(url)) for agent in agents]
    while not all(agent.endpoint for agent in agents):
        await asyncio.sleep(0.01)
    print(json.dumps({"endpoints": [agent.endpoint for agent in agents]}), flush=True)
    asked = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(asked), sys.stdin)
    while await asked.readline():
        report = {"latest": [it.latest for it in agents], "hellos": [it.hellos for it in agents]}
        print(json.dumps(report | {"lost": sum(it.lost for it in agents)}), flush=True)
    for life in lives:
        life.cancel()


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
