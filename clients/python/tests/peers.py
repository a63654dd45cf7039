"""The other side of the tests: a bare ROUTER socket with literal frames, and the real broker."""

from __future__ import annotations

import os
import subprocess
import time
from typing import Callable

import zmq

#: Seconds to wait for what must happen: long, since it only shows when something is broken.
DEADLINE = 20.0


def until(condition: Callable[[], object]) -> None:
    """Waits for a condition."""
    end = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("waited in vain")
        time.sleep(0.005)


class Router:
    """A broker's socket, and nothing of a broker."""

    def __init__(self) -> None:
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.ROUTER)
        self.socket.linger = 0
        self.socket.router_mandatory = True
        self.port = self.socket.bind_to_random_port("tcp://127.0.0.1")
        self.endpoint = f"tcp://127.0.0.1:{self.port}"

    def receive(self) -> list[bytes]:
        """The next message, the sender's id first."""
        if not self.socket.poll(int(DEADLINE * 1000)):
            raise AssertionError("nothing came")
        return self.socket.recv_multipart()

    def receive_but(self, *ignored: list[bytes]) -> list[bytes]:
        """The next message but those of these frames, whoever sent them."""
        while (message := self.receive())[1:] in ignored:
            pass
        return message

    def send(self, *frames: bytes) -> None:
        """Sends a message, the receiver's id first."""
        self.socket.send_multipart(frames)

    def __enter__(self) -> Router:
        return self

    def __exit__(self, *failure: object) -> None:
        self.context.destroy(linger=0)


class Broker:
    """The built `buswire mdp broker` on a free port."""

    def __init__(self, port: int = 0) -> None:
        self.process: subprocess.Popen[bytes]
        self.port = port
        self.start()

    def start(self) -> None:
        """Starts it, again on the port that it had."""
        command = [os.environ["BUSWIRE_BIN"], "mdp", "broker", "--port", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        line = self.process.stdout.readline().decode().strip()
        self.endpoint = line
        self.port = int(line.rsplit(":", 1)[1])
        while self.process.stdout.readline().strip() != b"Broker Started":
            pass

    def kill(self) -> None:
        """Kills it as `kill -9` does."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def __enter__(self) -> Broker:
        return self

    def __exit__(self, *failure: object) -> None:
        self.kill()
