"""The frames of Majordomo (MDP) 0.1 and 0.2 as a DEALER socket sends and receives them.

Pure functions. Never here: a socket, a clock, a thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable, Literal, Sequence, Union

#: The protocol's version. Backbone speaks 0.1; 0.2 adds answers in parts.
Version = Literal["0.1", "0.2"]

#: A body: nothing, one frame, or any number of them. Text is sent as UTF-8.
Message = Union[str, bytes, Iterable[Union[str, bytes]]]

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 5555

#: Bytes of one frame, and of one answer that is collected in memory.
BYTES_MAX = 64 << 20

CLIENT_01, CLIENT_02 = b"MDPC01", b"MDPC02"
REQUEST, PARTIAL, FINAL = b"\x01", b"\x02", b"\x03"


@dataclass(frozen=True)
class WorkerCodes:
    """Header and command codes of the worker's side."""

    header: bytes
    ready: bytes
    request: bytes
    partial: bytes | None
    final: bytes
    heartbeat: bytes
    disconnect: bytes
    delimiter: tuple[bytes, ...]


WORKER: dict[Version, WorkerCodes] = {
    "0.1": WorkerCodes(b"MDPW01", b"\x01", b"\x02", None, b"\x03", b"\x04", b"\x05", (b"",)),
    "0.2": WorkerCodes(b"MDPW02", b"\x01", b"\x02", b"\x03", b"\x04", b"\x05", b"\x06", ()),
}


def endpoint_of(host: str, port: int | str) -> str:
    """The address of a broker as ZeroMQ writes it; brackets around an IPv6 host are added."""
    return (
        f"tcp://[{host}]:{port}"
        if ":" in host and not host.startswith("[")
        else f"tcp://{host}:{port}"
    )


def to_frame(value: str | bytes | bytearray | memoryview) -> bytes:
    """One frame. Bytes that a terminal could not decode go out as they came in."""
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else bytes(value)


def to_frames(message: Message) -> list[bytes]:
    """The frames of a body: one for a string or bytes, else one for each element."""
    if isinstance(message, (str, bytes, bytearray, memoryview)):
        return [to_frame(message)]
    return [to_frame(part) for part in message]


def to_service(name: str | bytes) -> bytes:
    """A service name as a frame; a `ValueError` for one that no broker accepts."""
    frame = to_frame(name)
    text = frame.decode("utf-8")
    control = any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 for char in text)
    if control or not 1 <= len(frame) <= 255:
        raise ValueError("a service name has 1 to 255 bytes and no control characters")
    return frame


@dataclass(frozen=True)
class Reply:
    """One message of an answer: the only one in 0.1, a part of it in 0.2."""

    request_id: bytes
    service: bytes
    body: list[bytes]
    final: bool


def encode_request(
    version: Version, service: bytes, body: Sequence[bytes], request_id: bytes = b""
) -> list[bytes]:
    """A request. The id goes in front of the delimiter, where brokers keep an address stack.

    Without an id it has the plain form of each version.
    """
    head = [CLIENT_01] if version == "0.1" else [CLIENT_02, REQUEST]
    if request_id:
        head = [request_id, b"", *head]
    elif version == "0.1":
        head = [b"", *head]
    return [*head, service, *body]


def decode_reply(frames: Sequence[bytes]) -> Reply | None:
    """An answer, or `None` for anything else: a client ignores it and never fails."""
    request_id, rest = b"", list(frames)
    delimited = b"" in rest[:2]
    if delimited:
        at = rest.index(b"")
        request_id, rest = b"".join(rest[:at]), rest[at + 1 :]
    if rest[:1] == [CLIENT_01] and delimited and len(rest) >= 2:
        return Reply(request_id, rest[1], rest[2:], final=True)
    if rest[:1] == [CLIENT_02] and len(rest) >= 3 and rest[1] in (PARTIAL, FINAL):
        return Reply(request_id, rest[2], rest[3:], final=rest[1] == FINAL)
    return None
