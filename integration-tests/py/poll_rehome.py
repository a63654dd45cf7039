"""Long polls that ask again, with the same `since`, whenever no answer came.

    poll_rehome.py backplane|belay URL COUNT [TOKEN]

Each poller reads a bus from its beginning: over Backplane 2.0 with a token, or with a Belay capability to read. A number on
the input says how many messages there are: when a poller has so many, it looks once more without waiting, and ends. Then
one line says {"seen": [[payload…]…], "polls": N, "broken": N}: what each was given, in order, how many polls were
answered, and how many were not.
"""

import http.client
import json
import sys
import threading
import urllib.error
import urllib.request

# Seconds that a poll waits, and after which no answer is expected any more.
BLOCK, PATIENCE = 4, 15


class Poller:
    def __init__(self, kind, url, token):
        self.kind, self.url, self.token = kind, url, token
        self.since, self.seen, self.polls, self.broken = None, [], 0, 0

    def request(self, block):
        if self.kind == "backplane":
            since = f"&since={self.since}" if self.since else ""
            headers = {"Authorization": f"Bearer {self.token}"}
            return urllib.request.Request(f"{self.url}?block={block}{since}", headers=headers)
        if self.since is None:
            return urllib.request.Request(self.url)
        body = json.dumps({"value": {"since": self.since, "block": block}}).encode()
        headers = {"Content-Type": "application/json"}
        return urllib.request.Request(self.url, body, headers, method="POST")

    def poll(self, block):
        try:
            with urllib.request.urlopen(self.request(block), timeout=PATIENCE) as answer:
                page = json.load(answer)
        except urllib.error.HTTPError as refused:
            if refused.code < 500:
                raise
            self.broken += 1
            return
        # A connection that was refused or reset, an answer that was cut off.
        except (OSError, ValueError, EOFError, http.client.HTTPException):
            self.broken += 1
            return
        self.polls += 1
        if self.kind == "belay":
            page = page["value"]
            self.since = page["next"]
        else:
            self.since = page["nextURL"].split("since=")[1].split("&")[0]
        self.seen += [message["payload"] for message in page["messages"]]

    def run(self, total):
        while total["messages"] is None or len(self.seen) < total["messages"]:
            self.poll(0 if total["messages"] is not None else BLOCK)
        self.poll(0)


kind, url, count = sys.argv[1:4]
total = {"messages": None}
pollers = [Poller(kind, url, sys.argv[4] if len(sys.argv) > 4 else None) for _ in range(int(count))]
threads = [threading.Thread(target=poller.run, args=(total,)) for poller in pollers]
for thread in threads:
    thread.start()
print(json.dumps({"started": len(threads)}), flush=True)
total["messages"] = int(sys.stdin.readline() or 0)
for thread in threads:
    thread.join()
report = {"seen": [it.seen for it in pollers], "polls": sum(it.polls for it in pollers)}
print(json.dumps(report | {"broken": sum(it.broken for it in pollers)}), flush=True)
