"""A service that runs a command for each request: never through a shell, and never without limits."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from typing import IO, Sequence

from .protocol import DEFAULT_HOST, DEFAULT_PORT, Version, endpoint_of, to_frame
from .session import Timing
from .worker import Responder, Service

#: Bytes of standard error kept for the text of a failure.
ERROR_TEXT_MAX = 4096


class CommandFailed(Exception):
    """A run gave no output; the text says why."""


class CmdService(Service):
    """Runs `command`, a program, with `options` and then one argument for each frame of a request.

    The answer is one frame, the standard output; after a failure two, `Error` and a text. A run of more
    than `time_max` seconds or `output_max` bytes of output is a failure, and is killed with everything
    that it started.
    """

    def __init__(
        self,
        service: str,
        command: str | Sequence[str | bytes],
        host: str = DEFAULT_HOST,
        port: int | str = DEFAULT_PORT,
        options: Sequence[str | bytes] = (),
        *,
        time_max: float = 60.0,
        output_max: int = 16 << 20,
        endpoint: str | None = None,
        version: Version = "0.1",
        timing: Timing = Timing(),
    ) -> None:
        words = [command] if isinstance(command, str) else list(command)
        self._command = [to_frame(word) for word in [*words, *options]]
        self._time_max = time_max
        self._output_max = output_max
        self._child: subprocess.Popen[bytes] | None = None
        endpoint = endpoint or endpoint_of(host, port)
        super().__init__(
            service, self._answer_request, endpoint=endpoint, version=version, timing=timing
        )

    def _answer_request(self, frames: list[bytes], reply: Responder) -> None:
        try:
            reply(self._output([*self._command, *frames]))
        except (CommandFailed, OSError, ValueError) as failure:
            reply(["Error", str(failure)])

    def shutdown(self, timeout: float = 10.0) -> None:
        """As `Service.shutdown`; a command that takes longer is killed."""
        super().shutdown(timeout)
        child = self._child
        if child is not None:
            _kill_group(child)

    def _output(self, words: Sequence[bytes]) -> bytes:
        """Runs a command and returns its standard output."""
        deadline = time.monotonic() + self._time_max
        pipe = subprocess.PIPE
        with subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=pipe,
            stderr=pipe,
            bufsize=0,
            start_new_session=True,
        ) as child:
            self._child = child
            try:
                output, complaint = _collect(child, deadline, self._output_max)
                status = child.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                raise CommandFailed(f"the command took longer than {self._time_max:g} s") from None
            finally:
                # Until it is reaped its number is nobody else's.
                if child.returncode is None:
                    _kill_group(child)
                self._child = None
        if status != 0:
            text = complaint.decode("utf-8", "replace").strip()
            raise CommandFailed(text or f"the command ended with status {status}")
        return output


def _collect(
    child: subprocess.Popen[bytes], deadline: float, output_max: int
) -> tuple[bytes, bytes]:
    """Everything on standard output, and the beginning of what is on standard error."""
    assert child.stdout is not None and child.stderr is not None
    collected: dict[IO[bytes], bytearray] = {child.stdout: bytearray(), child.stderr: bytearray()}
    output, complaint = collected.values()
    with selectors.DefaultSelector() as selector:
        for stream in collected:
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                raise subprocess.TimeoutExpired(child.args, left)
            for key, _ in selector.select(left):
                chunk = os.read(key.fd, 65536)
                if not chunk:
                    selector.unregister(key.fileobj)
                    continue
                collected[key.fileobj] += chunk  # type: ignore[index]
                del complaint[ERROR_TEXT_MAX:]
                if len(output) > output_max:
                    raise CommandFailed(f"the command wrote more than {output_max} bytes")
    return bytes(output), bytes(complaint)


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    """Kills a command and what it started; it leads a process group of its own."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
