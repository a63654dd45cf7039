"""The client of the Backbone document, under its names, over MDP/0.1.

For new programs `Client` and `AsyncClient` are the better choice: bytes in, bytes out.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import Callable, Sequence, Union, overload

from .blocking import Client
from .errors import Disconnected, InvalidStateError, ProtocolError
from .protocol import (
    CLIENT_01,
    DEFAULT_HOST,
    DEFAULT_PORT,
    Message,
    endpoint_of,
    to_frames,
    to_service,
)

#: An answer as Backbone gives it: the text of its only frame, else a list of texts.
ShortReply = Union[str, list[str]]


class BackboneClientMessage:
    """A request and its answer as a REQ socket sends and receives them."""

    def __init__(self, service: str | bytes, message: Message = ()) -> None:
        self._service = to_service(service)
        self._body = to_frames(message)
        self._reply: ShortReply | None = None

    def serialize(self) -> list[bytes]:
        """The request: header, service, body. A REQ socket adds the delimiter."""
        return [CLIENT_01, self._service, *self._body]

    def parse_reply(self, raw: Sequence[bytes], simplify_short_reply: bool = True) -> ShortReply:
        """The texts of an answer: of one frame the text alone, else a list.

        Raises `ProtocolError` for frames that are no answer of this service.
        """
        if list(raw[:2]) != [CLIENT_01, self._service]:
            raise ProtocolError("not an answer of this service")
        texts = [frame.decode("utf-8", "replace") for frame in raw[2:]]
        self._reply = texts[0] if simplify_short_reply and len(texts) == 1 else texts
        return self._reply

    def parse_response(self, raw: Sequence[bytes], simplify_short_reply: bool = True) -> ShortReply:
        """Another name of `parse_reply`."""
        return self.parse_reply(raw, simplify_short_reply)

    def get_reply(self) -> ShortReply | None:
        """What `parse_reply` returned last."""
        return self._reply

    # The spelling of the Backbone document.
    parseReply = parse_reply
    parseResponse = parse_response
    getReply = get_reply


class BackboneClient:
    """The client of the Backbone document: one request at a time, answers as text.

    `timeout` is in milliseconds, as there.
    """

    def __init__(self, host: str = DEFAULT_HOST, port: int | str = DEFAULT_PORT) -> None:
        self._endpoint = endpoint_of(host, port)
        self._client: Client | None = None
        self._free = threading.Lock()

    def get_endpoint(self) -> str:
        """`tcp://host:port`."""
        return self._endpoint

    def connect(self) -> BackboneClient:
        """Connects, in the background; `send` does so by itself. Returns the client."""
        if self._client is None:
            self._client = Client(self._endpoint)
        return self

    def disconnect(self) -> None:
        """Disconnects, after the request in flight."""
        with self._free:
            if self._client is not None:
                self._client.close()
                self._client = None

    @overload
    def send(
        self, service: str, message: Message = (), on_message: None = None, timeout: float = 3000
    ) -> ShortReply: ...

    @overload
    def send(
        self,
        service: str,
        message: Message,
        on_message: Callable[[ShortReply], object],
        timeout: float = 3000,
    ) -> Future[ShortReply]: ...

    def send(
        self,
        service: str,
        message: Message = (),
        on_message: Callable[[ShortReply], object] | None = None,
        timeout: float = 3000,
    ) -> ShortReply | Future[ShortReply]:
        """Sends a request and returns its answer.

        With `on_message` it returns at once, a future: the answer goes to `on_message`, called on
        another thread, and to the future, which also has what failed.

        Raises `RequestTimeout`, and `InvalidStateError` while another request is in flight.
        """
        request = BackboneClientMessage(service, message)
        if not self._free.acquire(blocking=False):
            raise InvalidStateError("a request is in progress")
        if on_message is None:
            return self._exchange(request, timeout)
        future: Future[ShortReply] = Future()
        threading.Thread(
            target=self._call_back, args=(request, timeout, on_message, future), daemon=True
        ).start()
        return future

    def _exchange(self, request: BackboneClientMessage, timeout: float) -> ShortReply:
        """Sends and receives, then lets the next request in."""
        try:
            self.connect()
            if self._client is None:
                raise Disconnected("the client is closed")
            header, service, *body = request.serialize()
            reply = self._client.request(service, body, timeout / 1000)
            return request.parse_reply([header, service, *reply])
        finally:
            self._free.release()

    def _call_back(
        self,
        request: BackboneClientMessage,
        timeout: float,
        on_message: Callable[[ShortReply], object],
        future: Future[ShortReply],
    ) -> None:
        try:
            reply = self._exchange(request, timeout)
            on_message(reply)
            future.set_result(reply)
        except BaseException as error:
            future.set_exception(error)

    def shutdown(self) -> None:
        """Another name of `disconnect`."""
        self.disconnect()

    def __enter__(self) -> BackboneClient:
        return self.connect()

    def __exit__(self, *failure: object) -> None:
        self.disconnect()

    # The spelling of the Backbone document.
    getEndpoint = get_endpoint
