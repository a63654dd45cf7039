"""Replays worked examples of SimplePush with the PyPI package `websockets`, byte for byte.

    push_replay.py ADDRESS FILE...

The files are those of crates/simplepush/tests/examples; crates/simplepush/tests/examples.rs says
what their lines mean. A second of theirs lasts SECOND; the gateway is set to match. Prints the name
of each file that was replayed.
"""
import http.client
import re
import sys
import time

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

DEADLINE = 20
SECOND = 1 / 20
# The time at which the examples' clock stands still; the gateway's runs on.
STILL = 1709993121

address, *files = sys.argv[1:]


class Device:
    def __init__(self):
        self.socket = connect(f"ws://{address}/push", subprotocols=["push-notification"])

    def receive(self):
        return self.socket.recv(timeout=DEADLINE)

    def quiet(self):
        # The pong comes behind everything that the gateway had to say.
        assert self.socket.ping().wait(DEADLINE), "a pong in time"
        try:
            raise AssertionError(f"not quiet: {self.socket.recv(timeout=0)}")
        except TimeoutError:
            pass

    def close_code(self):
        try:
            raise AssertionError(f"not closed: {self.receive()}")
        except ConnectionClosed as closed:
            return closed.rcvd.code


class Replay:
    def __init__(self):
        self.devices = {}
        self.names = {}
        self.answer = None

    def fill(self, pattern):
        return re.sub(r"\$([A-Z0-9]+)", lambda match: self.names[match[1]], pattern)

    def expect(self, pattern, text):
        """Compares, and learns what the gateway chose."""
        expression = re.escape(pattern)
        seen = set()

        def group(match):
            name = match[1]
            if name in self.names:
                return re.escape(self.names[name])
            if name in seen:
                return f"(?P={name})"
            seen.add(name)
            return f"(?P<{name}>[^\"]+)"

        def version(match):
            ahead = int(match[0]) - STILL
            if "now" in self.names:
                return str(int(self.names["now"]) + ahead)
            assert ahead == 0, "the first one says what time it is"
            return r"(?P<now>\d{10})"

        expression = re.sub(r"\\\$([A-Z0-9]+)", group, expression)
        expression = re.sub(r"17099931\d\d", version, expression)
        match = re.fullmatch(expression, text)
        assert match, f"{text}\nis not\n{pattern}"
        self.names.update(match.groupdict())

    def request(self, method, rest):
        path, _, rest = self.fill(rest).partition(" ")
        kind, _, body = rest.partition(" ")
        headers = {}
        if kind == "form":
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        elif kind == "as":
            headers["Content-Type"], _, body = body.partition(" ")
        body = body.replace("\\r\\n", "\r\n").replace("<4097>", "x" * 4097)
        connection = http.client.HTTPConnection(address, timeout=DEADLINE)
        connection.request(method, path, body.encode() if kind else None, headers)
        answer = connection.getresponse()
        self.answer = (str(answer.status), answer.read().decode())
        connection.close()

    def step(self, line):
        word, _, rest = line.partition(" ")
        if word in ("PUT", "POST", "GET", "DELETE", "OPTIONS"):
            self.request(word, rest)
        elif word == "=":
            status, _, body = rest.partition(" ")
            assert self.answer[0] == status and body in ("", self.answer[1]), self.answer
        elif word in ("clock", "wait"):
            time.sleep(int(rest) * SECOND)
        elif word.endswith(">"):
            text = self.fill(rest)
            for sign, white in (("\\t", "\t"), ("\\r", "\r"), ("\\n", "\n"), ("\\s", " ")):
                text = text.replace(sign, white)
            self.devices[word[:-1]].socket.send(text)
        elif word.endswith("<"):
            self.expect(rest, self.devices[word[:-1]].receive())
        elif rest == "open":
            self.devices[word] = Device()
        elif rest == "quiet":
            self.devices[word].quiet()
        elif rest == "close":
            self.devices.pop(word).socket.close()
        elif rest.startswith("closed "):
            code = self.devices.pop(word).close_code()
            assert str(code) == rest.removeprefix("closed "), code
        else:
            raise AssertionError(f"no such step: {line}")


for file in files:
    replay = Replay()
    with open(file, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            line = line.strip("\n").lstrip()
            if line and not line.startswith("#"):
                try:
                    replay.step(line)
                except BaseException as error:
                    raise AssertionError(f"{file}:{number}: {line}") from error
    print(file)
