"""Sends requests without a pause on connections that are kept, and counts those that failed.

    steady_load.py HOST:PORT CLIENTS REQUEST...

REQUEST is a JSON object: method, path, headers, body, expect (the status). Each runs in CLIENTS
clients of its own until something comes on standard input, its end too; then one JSON object says how many were answered as
expected, by method and path, and what the others got. A connection that the server closes between two requests is opened
again, as every client does; one that breaks within a request is a failure. Nothing is tried again.
"""

import asyncio
import json
import sys
import time

# One answer may take this long: a long poll and a little more.
PATIENCE = 20
# Between two requests of a client, so that a thousand a second are enough for a small machine.
PAUSE = 0.01


class Client:
    def __init__(self, address, request):
        self.host, self.port = address.rsplit(":", 1)
        body = request.get("body", "").encode()
        headers = {"Host": address, "Content-Length": str(len(body)), **request.get("headers", {})}
        lines = [f"{request['method']} {request['path']} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.bytes = "\r\n".join(lines + ["", ""]).encode() + body
        self.expect = request["expect"]
        self.name = f"{request['method']} {request['path'].split('?')[0]}"
        self.connection = None

    async def ask(self):
        reader, writer = self.connection or (None, None)
        if reader is None or reader.at_eof():
            if writer:
                writer.close()
            reader, writer = await asyncio.open_connection(self.host, int(self.port))
            self.connection = reader, writer
        writer.write(self.bytes)
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        status = int(head.split(" ", 2)[1])
        if "transfer-encoding: chunked" in head:
            while size := int(await reader.readline(), 16):
                await reader.readexactly(size + 2)
            await reader.readline()
        elif "content-length: " in head:
            await reader.readexactly(int(head.split("content-length: ")[1].split("\r")[0]))
        if "connection: close" in head:
            writer.close()
            self.connection = None
        return status

    async def run(self, stop, report):
        while not stop.is_set():
            start = time.monotonic()
            try:
                status = await asyncio.wait_for(self.ask(), PATIENCE)
                problem = None if status == self.expect else f"{self.name}: status {status}"
            except (OSError, EOFError, asyncio.TimeoutError) as error:
                problem = f"{self.name}: {type(error).__name__} {error}"
                self.connection = None
            report["slowest"] = max(report["slowest"], round(time.monotonic() - start, 3))
            if problem:
                report["failed"] += 1
                report["problems"] = (report["problems"] + [problem])[-20:]
            else:
                report["answered"][self.name] = report["answered"].get(self.name, 0) + 1
            await asyncio.sleep(PAUSE)


async def main(address, clients, requests):
    stop = asyncio.Event()
    report = {"answered": {}, "failed": 0, "slowest": 0, "problems": []}
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), stop.set)
    tasks = [Client(address, json.loads(request)).run(stop, report) for request in requests for _ in range(clients)]
    print(json.dumps({"started": len(tasks)}), flush=True)
    await asyncio.gather(*tasks)
    print(json.dumps(report), flush=True)


asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
