"""What a command service does with a command: no shell, and limits."""

import subprocess
import unittest
from typing import Sequence

from buswire_backbone import CmdService

from peers import until


class Command(unittest.TestCase):
    def answer(self, command: Sequence[str], *frames: bytes, **limits: object) -> list[bytes]:
        """The answer of a command to a request, as frames."""
        answers: list[object] = []
        CmdService("x", command, **limits)._answer_request(list(frames), answers.append)
        (answer,) = answers
        return answer if isinstance(answer, list) else [answer]

    def test_each_frame_is_one_argument_and_no_shell_sees_it(self) -> None:
        frames = (b"a b", b"$(id)", b";ls", b"", b"*", b"\xff")
        self.assertEqual(
            self.answer(["printf", "[%s]"], *frames), [b"[a b][$(id)][;ls][][*][\xff]"]
        )
        self.assertEqual(self.answer("printf", b"x", options=["<%s>"]), [b"<x>"])

    def test_failure_is_two_frames(self) -> None:
        failing = ["sh", "-c", "echo out; echo no good >&2; exit 3"]
        self.assertEqual(self.answer(failing), ["Error", "no good"])
        self.assertEqual(self.answer(["false"]), ["Error", "the command ended with status 1"])
        for command, frames in ((["/no/such/program"], []), (["echo"], [b"a\0b"])):
            self.assertEqual(self.answer(command, *frames)[0], "Error")

    def test_time_is_bounded_and_what_the_command_started_ends_with_it(self) -> None:
        script = "sleep 1000 & echo $!; exec >&- 2>&-; sleep 1000"
        for command in (
            ["sh", "-c", script],
            ["sh", "-c", "sleep 1000 & wait"],
            ["sh", "-c", "sleep 1000 &"],
        ):
            answer = self.answer(command, time_max=0.2)
            self.assertEqual(answer, ["Error", "the command took longer than 0.2 s"])
        marked = ["sh", "-c", "sleep 4711.4711 & wait"]
        self.answer(marked, time_max=0.2)
        until(
            lambda: subprocess.run(["pgrep", "-f", "sleep 4711[.]4711"], stdout=-3).returncode == 1
        )

    def test_output_is_bounded(self) -> None:
        answer = self.answer(["yes"], output_max=1000)
        self.assertEqual(answer, ["Error", "the command wrote more than 1000 bytes"])
        self.assertEqual(
            len(self.answer(["head", "-c", "1000", "/dev/zero"], output_max=1000)[0]), 1000
        )
        chatty = ["sh", "-c", "head -c 1000000 /dev/zero >&2; exit 1"]
        self.assertLessEqual(len(self.answer(chatty)[1]), 4096)
