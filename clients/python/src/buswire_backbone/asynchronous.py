"""A client for asyncio: many requests at a time."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import AsyncIterator, Awaitable, TypeVar

import zmq.asyncio

from .blocking import DEFAULT_TIMEOUT, connect
from .errors import AnswerTooLarge, Disconnected, InvalidStateError, RequestTimeout
from .protocol import (
    BYTES_MAX,
    DEFAULT_HOST,
    DEFAULT_PORT,
    Message,
    Reply,
    Version,
    decode_reply,
    encode_request,
    endpoint_of,
    to_frames,
    to_service,
)

T = TypeVar("T")

#: Requests in flight of one client.
IN_FLIGHT_MAX = 10_000
#: Parts of one answer that wait to be read. A stream that is not read ends with `AnswerTooLarge`.
PARTS_MAX = 1000


@dataclass
class _Pending:
    service: bytes
    parts: asyncio.Queue[Reply | None] = field(default_factory=lambda: asyncio.Queue(PARTS_MAX))
    overflow: bool = False


class AsyncClient:
    """Sends requests to services and awaits their answers, up to 10 000 at once.

    Like `Client`, but always with ids before the requests: for brokers that do not return them use
    `Client` without `correlate`. It belongs to the event loop of its first request.
    """

    def __init__(
        self,
        endpoint: str = endpoint_of(DEFAULT_HOST, DEFAULT_PORT),
        *,
        version: Version = "0.1",
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        self.endpoint = endpoint
        self._version: Version = version
        self._timeout = timeout
        self._count = 0
        self._pending: dict[bytes, _Pending] = {}
        self._sending = asyncio.Lock()
        self._context = zmq.asyncio.Context()
        self._socket: zmq.asyncio.Socket | None = None
        self._reader: asyncio.Task[None] | None = None
        self._closed = False

    async def request(
        self, service: str | bytes, message: Message = (), timeout: float | None = None
    ) -> list[bytes]:
        """Sends a request and returns the frames of its answer. Raises as `Client.request` does.

        Cancelling it gives the answer up.
        """
        frames: list[bytes] = []
        size = 0
        async for part in self._parts(self._version, service, message, timeout):
            frames += part
            size += sum(map(len, part))
            if size > BYTES_MAX:
                raise AnswerTooLarge("the answer has more than 64 MiB")
        return frames

    def stream(
        self, service: str | bytes, message: Message = (), timeout: float | None = None
    ) -> AsyncIterator[list[bytes]]:
        """Sends a request over MDP/0.2 and yields the frames of each part of its answer as it comes."""
        return self._parts("0.2", service, message, timeout)

    async def close(self) -> None:
        """Disconnects; requests in flight raise `Disconnected`."""
        self._closed = True
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])
        for pending in self._pending.values():
            if not pending.parts.full():
                pending.parts.put_nowait(None)
        self._context.destroy(linger=0)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.close()

    async def _parts(
        self, version: Version, service: str | bytes, message: Message, timeout: float | None
    ) -> AsyncIterator[list[bytes]]:
        name, body = to_service(service), to_frames(message)
        deadline = time.monotonic() + (self._timeout if timeout is None else timeout)
        if len(self._pending) >= IN_FLIGHT_MAX:
            raise InvalidStateError(f"{IN_FLIGHT_MAX} requests are in flight")
        self._count = (self._count + 1) % 2**32
        request_id = self._count.to_bytes(4, "big")
        pending = self._pending[request_id] = _Pending(name)
        try:
            frames = encode_request(version, name, body, request_id)
            await self._until(deadline, self._send(frames))
            final = False
            while not final:
                if pending.parts.empty() and pending.overflow:
                    raise AnswerTooLarge(f"{PARTS_MAX} parts of the answer were not read")
                if pending.parts.empty() and self._closed:
                    raise Disconnected("the client is closed")
                reply = await self._until(deadline, pending.parts.get())
                if reply is None:
                    raise Disconnected("the client is closed")
                final = reply.final
                yield reply.body
        finally:
            self._pending.pop(request_id, None)

    @staticmethod
    async def _until(deadline: float, step: Awaitable[T]) -> T:
        try:
            return await asyncio.wait_for(step, max(0.0, deadline - time.monotonic()))
        except asyncio.TimeoutError:
            raise RequestTimeout() from None

    async def _send(self, frames: list[bytes]) -> None:
        # One at a time: a socket that is not connected takes nothing.
        async with self._sending:
            try:
                await self._open().send_multipart(frames)
            except asyncio.CancelledError:
                # Closing a socket cancels who waits for it.
                if self._closed:
                    raise Disconnected("the client is closed") from None
                raise

    def _open(self) -> zmq.asyncio.Socket:
        if self._closed:
            raise Disconnected("the client is closed")
        if self._socket is None:
            self._socket = self._context.socket(zmq.DEALER)
            connect(self._socket, self.endpoint)
            self._reader = asyncio.create_task(self._read(self._socket))
        return self._socket

    async def _read(self, socket: zmq.asyncio.Socket) -> None:
        while True:
            reply = decode_reply(await socket.recv_multipart())
            pending = self._pending.get(reply.request_id) if reply else None
            if reply is None or pending is None or pending.service != reply.service:
                continue
            if pending.parts.full():
                pending.overflow = True
                del self._pending[reply.request_id]
            else:
                pending.parts.put_nowait(reply)
