"""A client that blocks its caller: one request at a time."""

from __future__ import annotations

import threading
import time
from typing import Any, Iterator

import zmq

from .errors import AnswerTooLarge, Disconnected, InvalidStateError, RequestTimeout
from .protocol import (
    BYTES_MAX,
    DEFAULT_HOST,
    DEFAULT_PORT,
    Message,
    Version,
    decode_reply,
    encode_request,
    endpoint_of,
    to_frames,
    to_service,
)

#: Seconds to wait for an answer, unless told otherwise.
DEFAULT_TIMEOUT = 3.0


def connect(socket: zmq.Socket[Any], endpoint: str) -> None:
    """Sets a client's socket up. Without a connection it takes nothing, so that no request is sent
    after its time."""
    socket.linger = 0
    socket.immediate = True
    socket.ipv6 = True
    socket.maxmsgsize = BYTES_MAX
    socket.reconnect_ivl_max = 1000
    socket.connect(endpoint)


class Client:
    """Sends requests to services, one at a time, and waits for their answers.

    Connects in the background and reconnects by itself. `timeout` is in seconds, for the whole answer.

    `correlate` puts an id before each request that the broker returns, so that a late answer never
    counts for a later request. Switch it off for brokers that do not return address stacks, such as
    the ZeroMQ guide's; after a timeout the client then goes on with a new socket.

    May be used from any thread, but by one at a time: a second request meanwhile is an
    `InvalidStateError`.
    """

    def __init__(
        self,
        endpoint: str = endpoint_of(DEFAULT_HOST, DEFAULT_PORT),
        *,
        version: Version = "0.1",
        correlate: bool = True,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        self.endpoint = endpoint
        self._version: Version = version
        self._correlate = correlate
        self._timeout = timeout
        self._count = 0
        # Held from a request to the end of its answer; and while a thread uses the socket.
        self._free = threading.Lock()
        self._using = threading.Lock()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket: zmq.Socket[bytes] | None = self._context.socket(zmq.DEALER)
        connect(self._socket, endpoint)

    def request(
        self, service: str | bytes, message: Message = (), timeout: float | None = None
    ) -> list[bytes]:
        """Sends a request and returns the frames of its answer, those of all parts in order.

        Raises `RequestTimeout`, `AnswerTooLarge` beyond 64 MiB, `InvalidStateError`, `Disconnected`.
        """
        frames: list[bytes] = []
        size = 0
        for part in self._parts(self._version, service, message, timeout):
            frames += part
            size += sum(map(len, part))
            if size > BYTES_MAX:
                raise AnswerTooLarge("the answer has more than 64 MiB")
        return frames

    def stream(
        self, service: str | bytes, message: Message = (), timeout: float | None = None
    ) -> Iterator[list[bytes]]:
        """Sends a request over MDP/0.2 and yields the frames of each part of its answer as it comes.

        The last one is the final part. Raises as `request` does, while it is iterated. Leaving the
        loop early gives the answer up.
        """
        return self._parts("0.2", service, message, timeout)

    def mmi(self, service: str) -> bool:
        """Whether a worker is registered for a service, as the broker says."""
        return self.request("mmi.service", service)[:1] == [b"200"]

    def close(self) -> None:
        """Disconnects, after what a thread waits for. A closed client raises `Disconnected`."""
        with self._using:
            if self._socket is not None:
                self._socket.close(linger=0)
                self._context.term()
                self._socket = None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def _parts(
        self, version: Version, service: str | bytes, message: Message, timeout: float | None
    ) -> Iterator[list[bytes]]:
        name, body = to_service(service), to_frames(message)
        deadline = time.monotonic() + (self._timeout if timeout is None else timeout)
        if not self._free.acquire(blocking=False):
            raise InvalidStateError("a request is in progress")
        answered = False
        try:
            self._count = (self._count + 1) % 2**32
            request_id = self._count.to_bytes(4, "big") if self._correlate else b""
            request = encode_request(version, name, body, request_id)
            with self._using:
                self._wait(zmq.POLLOUT, deadline).send_multipart(request)
            while not answered:
                with self._using:
                    reply = decode_reply(self._wait(zmq.POLLIN, deadline).recv_multipart())
                if reply is not None and (reply.request_id, reply.service) == (request_id, name):
                    answered = reply.final
                    yield reply.body
        finally:
            if not answered and not self._correlate:
                self._reopen()
            self._free.release()

    def _wait(self, event: int, deadline: float) -> zmq.Socket[bytes]:
        if self._socket is None:
            raise Disconnected("the client is closed")
        left = max(0.0, deadline - time.monotonic())
        if not self._socket.poll(round(left * 1000), event):
            raise RequestTimeout()
        return self._socket

    def _reopen(self) -> None:
        """Without ids a late answer would count for the next request: this socket is done."""
        with self._using:
            if self._socket is None:
                return
            self._socket.close(linger=0)
            self._socket = self._context.socket(zmq.DEALER)
            connect(self._socket, self.endpoint)
