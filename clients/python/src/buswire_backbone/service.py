"""The command line `python -m buswire_backbone.service cmd-service NAME -- COMMAND …`, and the services.

Offers a command as a service until SIGINT or SIGTERM; then finishes the request in hand.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
from typing import Sequence

from .command import CmdService
from .command_line import DONE, parse, parser
from .worker import BackboneService, Responder, Service

__all__ = ["BackboneService", "CmdService", "Responder", "Service"]


def main(words: Sequence[str]) -> int:
    """Runs the command line; returns the exit code."""
    made = parser(
        "python -m buswire_backbone.service cmd-service",
        "Offers a command as a service: each frame of a request is one more argument, no shell sees it.",
    )
    made.add_argument("arguments", nargs="*", metavar="command", help="the command, best behind --")
    parsed = parse(made, "cmd-service", words)
    if not parsed.arguments:
        made.error("a command is missing")
    logging.basicConfig(format="%(message)s")
    try:
        service = CmdService(parsed.name, parsed.arguments, parsed.host, parsed.port)
    except ValueError as error:
        made.error(str(error))
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    print("Create Stream")
    print(f"Command Service: {parsed.name} {parsed.arguments}")
    print(f"Starting Service: {service.endpoint} {parsed.name}", flush=True)
    with service:
        stop.wait()
    return DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
