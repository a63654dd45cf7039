"""What the two command lines share: how arguments are told from options, and exit codes."""

from __future__ import annotations

import argparse
from typing import Sequence

from .protocol import DEFAULT_HOST, DEFAULT_PORT

#: Exit codes. Bad usage is 2, as everywhere with argparse.
DONE, FAILED = 0, 1


def parser(program: str, summary: str) -> argparse.ArgumentParser:
    """A parser with the service's name and the broker's place."""
    made = argparse.ArgumentParser(
        prog=program,
        description=summary,
        allow_abbrev=False,
        epilog="Exit status: 0 done, 1 failed, 2 bad usage.",
    )
    made.add_argument("name", help="the service")
    made.add_argument("--host", default=DEFAULT_HOST, help="host of the broker (%(default)s)")
    made.add_argument(
        "--port", default=DEFAULT_PORT, type=int, help="port of the broker (%(default)s)"
    )
    return made


def parse(made: argparse.ArgumentParser, command: str, words: Sequence[str]) -> argparse.Namespace:
    """Parses a command line; its `arguments` are the bare words, and all words after `--`.

    The word `command` in front may be left out.
    """
    words = list(words[1:] if words[:1] == [command] else words)
    at = words.index("--") if "--" in words else len(words)
    parsed = made.parse_intermixed_args(words[:at])
    parsed.arguments = [*parsed.arguments, *words[at + 1 :]]
    return parsed
