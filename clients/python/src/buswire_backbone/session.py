"""One registration of a worker as a state machine: from READY to DISCONNECT, silence or stop.

Never here: a socket, a clock, a thread. Frames and the time go in, frames come out. Times are seconds
of a clock that never goes back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Sequence

from .protocol import WORKER, Version


@dataclass(frozen=True)
class Timing:
    """Seconds between signs of life and between attempts."""

    #: Between two HEARTBEATs to the broker, also while a request is in hand.
    heartbeat: float = 1.0
    #: Without a sign of the broker, while idle, until it counts as gone.
    expiry: float = 7.5
    #: Before the first attempt to register again; doubled after each that hears nothing.
    reconnect_min: float = 1.0
    #: The longest wait before an attempt.
    reconnect_max: float = 32.0


class Backoff:
    """How long to wait before registering again: doubling, with jitter of a quarter either way."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._delay = timing.reconnect_min

    def reset(self) -> None:
        """The broker gave a sign of life."""
        self._delay = self._timing.reconnect_min

    def next(self, random: float) -> float:
        """The next wait; `random` is at least 0 and below 1."""
        delay = self._delay
        self._delay = min(delay * 2, self._timing.reconnect_max)
        return delay * (0.75 + random / 2)


@dataclass(frozen=True)
class Request:
    """What the broker wants done."""

    body: list[bytes]


class WorkerSession:
    """A registration. It ends when `lost` says why; the next one begins on a new socket."""

    def __init__(self, service: bytes, version: Version, timing: Timing, now: float) -> None:
        self._codes = WORKER[version]
        self._service = service
        self._timing = timing
        self._heard = now
        self._next_heartbeat = now + timing.heartbeat
        self._address: list[bytes] | None = None
        #: Why the registration ended.
        self.lost: str | None = None
        #: Whether the broker gave any sign of life.
        self.heard = False

    @property
    def busy(self) -> bool:
        """Whether a request is in hand."""
        return self._address is not None

    def ready(self) -> list[bytes]:
        """READY, the first message, sent once."""
        return self._message(self._codes.ready, self._service)

    def disconnect(self) -> list[bytes]:
        """DISCONNECT, the last message."""
        return self._message(self._codes.disconnect)

    def reply(self, body: Sequence[bytes], final: bool, now: float) -> list[bytes]:
        """An answer to the request in hand, or a part of it."""
        if self._address is None:
            raise ValueError("there is no request in hand")
        code = self._codes.final if final else self._codes.partial
        if code is None:
            raise ValueError("MDP/0.1 has no partial answers")
        message = self._message(code, *self._address, b"", *body)
        if final:
            self._address = None
            # Some brokers send nothing to a busy worker, so silence counts from here.
            self._heard = now
        return message

    def receive(self, frames: Sequence[bytes], now: float) -> Request | None:
        """Takes a message of the broker in. What is no such message is ignored."""
        # Backbone's broker leaves the delimiter out of DISCONNECT; other 0.2 brokers put one in.
        rest = list(frames[1:] if frames[:1] == [b""] else frames)
        if len(rest) < 2 or rest[0] != self._codes.header or self.lost:
            return None
        code = rest[1]
        if code == self._codes.disconnect:
            self.lost = "the broker sent DISCONNECT"
        elif code == self._codes.heartbeat:
            self._alive(now)
        elif code == self._codes.request and b"" in rest[3:]:
            return self._request(rest[2:], now)
        return None

    def _request(self, rest: list[bytes], now: float) -> Request | None:
        self._alive(now)
        if self.busy:
            self.lost = "the broker sent a second request at a time"
            return None
        at = rest.index(b"")
        self._address = rest[:at]
        return Request(rest[at + 1 :])

    def _alive(self, now: float) -> None:
        self._heard = now
        self.heard = True

    def tick(self, now: float) -> list[bytes] | None:
        """Lets time pass; returns a HEARTBEAT when one is due."""
        if now >= self._expiry():
            self.lost = "the broker is silent"
        if self.lost or now < self._next_heartbeat:
            return None
        self._next_heartbeat = now + self._timing.heartbeat
        return self._message(self._codes.heartbeat)

    def deadline(self) -> float:
        """When `tick` is due if nothing else happens first."""
        return min(self._next_heartbeat, self._expiry())

    def _expiry(self) -> float:
        return math.inf if self.busy else self._heard + self._timing.expiry

    def _message(self, code: bytes, *rest: bytes) -> list[bytes]:
        return [*self._codes.delimiter, self._codes.header, code, *rest]
