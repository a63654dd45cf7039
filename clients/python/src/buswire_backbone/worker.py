"""A service: a worker that registers with a broker and answers requests, one at a time."""

from __future__ import annotations

import logging
import math
import queue
import random
import socket as sockets
import threading
import time
from dataclasses import dataclass
from typing import Callable, Literal

import zmq

from .errors import InvalidStateError
from .protocol import (
    BYTES_MAX,
    DEFAULT_HOST,
    DEFAULT_PORT,
    Message,
    Version,
    endpoint_of,
    to_frames,
    to_service,
)
from .session import Backoff, Timing, WorkerSession

log = logging.getLogger("buswire_backbone")

#: Answers that wait to be sent; a handler that is faster waits.
OUTBOX_MAX = 1000
#: Milliseconds that DISCONNECT and the last answer may take to leave.
LINGER_MS = 500
#: Messages taken in before time is looked at again.
BATCH_MAX = 100

#: Why a registration ends when a request was handed back. The broker is well, so no wait follows.
REJECTED = "it handed a request back"

#: What a handler does with the request in hand.
Step = Literal["partial", "final", "reject"]


@dataclass(frozen=True)
class _Answer:
    session: WorkerSession
    step: Step
    body: list[bytes]


class Responder:
    """Answers one request: call it with the answer, now or later, on any thread.

    After the registration that the request came by has ended, answers are thrown away: the broker
    has given the request to another worker.
    """

    def __init__(self, service: Service, session: WorkerSession) -> None:
        self._service = service
        self._session = session
        self._lock = threading.Lock()
        self._done = False

    def __call__(self, message: Message = ()) -> None:
        """The answer, or its last part: a string, bytes, or a list of them."""
        self._step("final", message)

    def partial(self, message: Message) -> None:
        """A part of the answer, over MDP/0.2 alone. Waits while 1000 of them wait to be sent."""
        if self._service.version == "0.1":
            raise InvalidStateError("MDP/0.1 has no partial answers")
        self._step("partial", message)

    def reject(self) -> None:
        """Hands the request back: the service registers anew, and the broker may ask another worker."""
        self._step("reject", ())

    @property
    def done(self) -> bool:
        """Whether it was answered or rejected."""
        return self._done

    def _step(self, step: Step, message: Message) -> None:
        body = to_frames(message)
        with self._lock:
            if self._done:
                raise InvalidStateError("the request is answered already")
            self._done = step != "partial"
            self._service._answer(_Answer(self._session, step, body))


class Service:
    """Offers a service. `on_request(frames, reply)` is called with the frames of each request.

    It runs on a thread of its own, one request after another, and may block: heartbeats go on
    meanwhile. It answers with `reply(...)`, before it returns or later. If it raises, the request is
    rejected and the exception is logged.

    The broker may come and go: the service registers again, after 1 s doubling to 32 s.
    """

    def __init__(
        self,
        service: str | bytes,
        on_request: Callable[[list[bytes], Responder], object],
        host: str = DEFAULT_HOST,
        port: int | str = DEFAULT_PORT,
        *,
        endpoint: str | None = None,
        version: Version = "0.1",
        timing: Timing = Timing(),
    ) -> None:
        self.endpoint = endpoint or endpoint_of(host, port)
        self.version: Version = version
        self._name = to_service(service)
        self._on_request = on_request
        self._timing = timing
        self._outbox: queue.Queue[_Answer] = queue.Queue(OUTBOX_MAX)
        # A request at most, since the service does not register while the handler is at work.
        self._requests: queue.Queue[tuple[list[bytes], Responder] | None] = queue.Queue()
        self._stop_at: float | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._run, name=f"mdp {self.endpoint}", daemon=True)

    def start(self) -> Service:
        """Registers, in the background, and serves until `shutdown`. Returns the service."""
        self._wakes, self._wake = sockets.socketpair()
        for end in (self._wakes, self._wake):
            end.setblocking(False)
        self._thread.start()
        threading.Thread(target=self._handle, daemon=True).start()
        return self

    connect = start

    def shutdown(self, timeout: float = 10.0) -> None:
        """Finishes the request in hand, signs off and disconnects.

        A request that takes longer than `timeout` seconds is given up; the broker may give it to
        another worker.
        """
        self._stop_at = time.monotonic() + timeout
        if self._thread.ident is not None:
            self._wake_up()
            self._thread.join()

    def join(self) -> None:
        """Waits until the service has shut down."""
        self._thread.join()

    def __enter__(self) -> Service:
        return self.start()

    def __exit__(self, *failure: object) -> None:
        self.shutdown()

    def _answer(self, answer: _Answer) -> None:
        if not self._ended:
            self._outbox.put(answer)
            self._wake_up()

    def _wake_up(self) -> None:
        try:
            self._wake.send(b"\0")
        except OSError:
            # Full, so it will wake; or closed, so there is nobody to wake.
            pass

    def _handle(self) -> None:
        """The handler's thread."""
        while (request := self._requests.get()) is not None:
            frames, reply = request
            try:
                self._on_request(frames, reply)
            except Exception:
                log.exception("a request of the service %s failed", self._name.decode())
                if not reply.done:
                    reply.reject()
            self._requests.task_done()
            self._wake_up()

    def _run(self) -> None:
        """The I/O thread."""
        backoff = Backoff(self._timing)
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            while self._stop_at is None:
                session = self._register(context)
                if session.lost is not None:
                    log.warning("%s registers again: %s", self._name.decode(), session.lost)
                    if session.heard:
                        backoff.reset()
                    self._pause(0 if session.lost == REJECTED else backoff.next(random.random()))
        finally:
            self._ended = True
            self._discard()
            self._requests.put(None)
            context.term()
            self._wakes.close()
            self._wake.close()

    def _register(self, context: zmq.Context[zmq.Socket[bytes]]) -> WorkerSession:
        """Registers on a new socket and serves until the registration ends or the service stops."""
        session = WorkerSession(self._name, self.version, self._timing, time.monotonic())
        with context.socket(zmq.DEALER) as socket:
            socket.linger = 0
            socket.ipv6 = True
            socket.maxmsgsize = BYTES_MAX
            socket.connect(self.endpoint)
            socket.send_multipart(session.ready())
            while session.lost is None and not self._may_stop(session):
                self._turn(socket, session)
            if session.lost in (None, REJECTED):
                socket.linger = LINGER_MS
                if socket.poll(LINGER_MS, zmq.POLLOUT):
                    socket.send_multipart(session.disconnect())
        return session

    def _turn(self, socket: zmq.Socket[bytes], session: WorkerSession) -> None:
        deadline = (
            session.deadline() if self._stop_at is None else min(session.deadline(), self._stop_at)
        )
        self._wait(deadline, socket)
        now = time.monotonic()
        for _ in range(BATCH_MAX):
            if not socket.poll(0, zmq.POLLIN):
                break
            request = session.receive(socket.recv_multipart(), now)
            if request is not None:
                self._requests.put((request.body, Responder(self, session)))
        while not self._outbox.empty() and socket.poll(0, zmq.POLLOUT):
            self._carry_out(socket, session, self._outbox.get(), now)
        heartbeat = session.tick(now)
        # If the socket is full, what it holds is a sign of life as good.
        if heartbeat is not None and socket.poll(0, zmq.POLLOUT):
            socket.send_multipart(heartbeat)

    def _carry_out(
        self, socket: zmq.Socket[bytes], session: WorkerSession, answer: _Answer, now: float
    ) -> None:
        if answer.session is not session or session.lost is not None:
            log.info("an answer of %s came after its registration had ended", self._name.decode())
        elif answer.step == "reject":
            session.lost = REJECTED
        else:
            socket.send_multipart(session.reply(answer.body, answer.step == "final", now))

    def _may_stop(self, session: WorkerSession) -> bool:
        return self._stop_at is not None and (not session.busy or time.monotonic() >= self._stop_at)

    def _pause(self, delay: float) -> None:
        """Waits before the next registration, and for a handler that is still at work."""
        deadline = time.monotonic() + delay
        while self._stop_at is None and time.monotonic() < deadline:
            self._wait(deadline)
            self._discard()
        while self._stop_at is None and self._requests.unfinished_tasks:
            # Its end is a wake-up.
            self._wait(time.monotonic() + 60)
            self._discard()

    def _wait(self, deadline: float, socket: zmq.Socket[bytes] | None = None) -> None:
        """Waits for the deadline, a wake-up, a message, or room for the next answer."""
        poller = zmq.Poller()
        poller.register(self._wakes, zmq.POLLIN)
        if socket is not None:
            events = zmq.POLLIN if self._outbox.empty() else zmq.POLLIN | zmq.POLLOUT
            poller.register(socket, events)
        poller.poll(math.ceil(max(0.0, deadline - time.monotonic()) * 1000))
        try:
            self._wakes.recv(4096)
        except BlockingIOError:
            pass

    def _discard(self) -> None:
        """Throws away answers that nobody waits for."""
        while not self._outbox.empty():
            self._outbox.get()


#: The name in the Backbone document.
BackboneService = Service
