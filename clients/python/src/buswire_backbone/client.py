"""The command line `python -m buswire_backbone.client request NAME …`, and the clients.

Each argument is a frame of the request. Prints each frame of the answer, followed by a newline.
"""

from __future__ import annotations

import sys
from typing import Sequence

from .asynchronous import AsyncClient
from .backbone import BackboneClient, BackboneClientMessage
from .blocking import Client
from .command_line import DONE, FAILED, parse, parser
from .errors import BackboneError
from .protocol import DEFAULT_HOST, DEFAULT_PORT, endpoint_of

__all__ = ["AsyncClient", "BackboneClient", "BackboneClientMessage", "Client", "request"]


def request(
    name: str,
    host: str = DEFAULT_HOST,
    port: int | str = DEFAULT_PORT,
    timeout: float = 3000,
    *arguments: str | bytes,
) -> list[bytes]:
    """Sends one request, each argument a frame, and returns the answer's frames; milliseconds."""
    with Client(endpoint_of(host, port)) as client:
        return client.request(name, arguments, timeout / 1000)


def main(words: Sequence[str]) -> int:
    """Runs the command line; returns the exit code."""
    made = parser(
        "python -m buswire_backbone.client request", "Sends one request and prints the answer."
    )
    made.add_argument(
        "--timeout", default=3000, type=float, metavar="MS", help="wait so long (%(default)s)"
    )
    made.add_argument(
        "arguments", nargs="*", help="frames of the request; what begins with a dash goes behind --"
    )
    parsed = parse(made, "request", words)
    try:
        frames = request(parsed.name, parsed.host, parsed.port, parsed.timeout, *parsed.arguments)
    except (BackboneError, ValueError, OSError) as error:
        print(f"{parsed.name}: {error}", file=sys.stderr)
        return FAILED
    text = b"".join(frame + b"\n" for frame in frames)
    if len(frames) == 1 and frames[0].endswith(b"\n"):
        text = frames[0]
    sys.stdout.buffer.write(text)
    return DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
