"""Clients and services with the real broker, `buswire mdp broker`, and the command lines."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import unittest

from buswire_backbone import (
    AsyncClient,
    BackboneClient,
    Client,
    RequestTimeout,
    Responder,
    Service,
    Timing,
)

from peers import DEADLINE, Broker, until

QUICK = Timing(reconnect_min=0.05, reconnect_max=0.1)


def lines(frames: list[bytes], reply: Responder) -> None:
    """Counts, one part for each number."""
    for number in range(1, int(frames[0])):
        reply.partial(f"line {number}")
    reply(f"line {int(frames[0])}")


class WithBroker(unittest.TestCase):
    def setUp(self) -> None:
        self.broker = Broker()
        self.addCleanup(self.broker.__exit__)

    def serve(self, name: str, handler: object, **options: object) -> Service:
        service = Service(name, handler, port=self.broker.port, **options).start()
        self.addCleanup(service.shutdown, 1.0)
        return service

    def client(self, **options: object) -> Client:
        client = Client(self.broker.endpoint, timeout=DEADLINE, **options)
        self.addCleanup(client.close)
        return client


class Libraries(WithBroker):
    def test_every_client_and_every_service_understand_each_other(self) -> None:
        self.serve("echo01", lambda frames, reply: reply(frames))
        self.serve("echo02", lambda frames, reply: reply(frames), version="0.2")
        bodies: list[list[bytes]] = [[], [b""], [b"a", b"", b"\xff" * 100_000]]
        for version in ("0.1", "0.2"):
            for correlate in (True, False):
                client = self.client(version=version, correlate=correlate)
                for service in ("echo01", "echo02"):
                    for body in bodies:
                        self.assertEqual(
                            client.request(service, body), body, (version, correlate, service)
                        )

    def test_parts_arrive_one_by_one_and_a_0_1_client_gets_them_in_one(self) -> None:
        self.serve("lines", lines, version="0.2")
        client = self.client()
        expected = [[b"line 1"], [b"line 2"], [b"line 3"]]
        self.assertEqual(list(client.stream("lines", "3")), expected)
        self.assertEqual(client.request("lines", "3"), [b"line 1", b"line 2", b"line 3"])

    def test_many_requests_in_flight(self) -> None:
        for _ in range(3):
            self.serve("echo", lambda frames, reply: reply(frames))

        async def exchange() -> None:
            async with AsyncClient(self.broker.endpoint, timeout=DEADLINE) as client:
                numbers = [str(number).encode() for number in range(2000)]
                answers = await asyncio.gather(
                    *(client.request("echo", number) for number in numbers)
                )
                self.assertEqual(answers, [[number] for number in numbers])

        asyncio.run(exchange())

    def test_a_slow_answer_never_counts_for_the_next_request(self) -> None:
        go_on = threading.Event()

        def slow(frames: list[bytes], reply: Responder) -> None:
            if frames == [b"slow"]:
                go_on.wait(DEADLINE)
            reply(frames)

        self.serve("echo", slow)
        client = BackboneClient(port=self.broker.port)
        self.addCleanup(client.disconnect)
        with self.assertRaises(RequestTimeout):
            client.send("echo", "slow", timeout=100)
        go_on.set()
        self.assertEqual(client.send("echo", "next", timeout=DEADLINE * 1000), "next")

    def test_a_service_registers_again_after_a_crash_of_the_broker(self) -> None:
        self.serve("echo", lambda frames, reply: reply(frames), timing=QUICK)
        client = self.client()
        self.assertEqual(client.request("echo", "before"), [b"before"])
        self.broker.kill()
        self.broker.start()
        self.assertEqual(client.request("echo", "after"), [b"after"])

    def test_mmi_knows_who_is_there_and_who_has_signed_off(self) -> None:
        client = self.client()
        self.assertFalse(client.mmi("echo"))
        service = self.serve("echo", lambda frames, reply: reply(frames))
        until(lambda: client.mmi("echo"))
        service.shutdown()
        until(lambda: not client.mmi("echo"))

    def test_a_rejected_request_is_answered_by_the_next_try(self) -> None:
        tries: list[Responder] = []

        def handler(frames: list[bytes], reply: Responder) -> None:
            tries.append(reply)
            reply.reject() if len(tries) == 1 else reply("second try")

        self.serve("flaky", handler)
        self.assertEqual(self.client().request("flaky"), [b"second try"])


class CommandLines(WithBroker):
    def run_client(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "buswire_backbone.client", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)

    def start_service(self, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "buswire_backbone.service", *words]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

        def end() -> None:
            process.kill()
            process.wait()
            process.stdout.close()

        self.addCleanup(end)
        return process

    def test_a_command_is_offered_and_asked(self) -> None:
        port = ["--port", str(self.broker.port)]
        service = self.start_service("cmd-service", "print", *port, "--", "printf", "<%s>")
        log = [service.stdout.readline().strip() for _ in range(3)]
        command = "Command Service: print ['printf', '<%s>']"
        starting = f"Starting Service: tcp://127.0.0.1:{self.broker.port} print"
        self.assertEqual(log, ["Create Stream", command, starting])
        words = ["request", "print", *port, "one", "--timeout=20000", "--", "--two", "three $(id)"]
        done = self.run_client(*words)
        self.assertEqual(
            (done.stdout, done.stderr, done.returncode), ("<one><--two><three $(id)>\n", "", 0)
        )
        # The command word may be left out, and bare words are the command.
        self.start_service("listing", *port, "ls", os.path.dirname(__file__))
        done = self.run_client("listing", *port, "--timeout", "20000")
        self.assertIn("test_broker.py\n", done.stdout)
        self.assertFalse(done.stdout.endswith("\n\n"))
        service.send_signal(signal.SIGTERM)
        self.assertEqual(service.wait(DEADLINE), 0)
        self.assertEqual(self.run_client("mmi.service", *port, "print").stdout, "404\n")

    def test_a_timeout_is_one_line_on_standard_error_and_status_1(self) -> None:
        done = self.run_client(
            "request", "nobody", "--port", str(self.broker.port), "--timeout", "100"
        )
        self.assertEqual(
            (done.stdout, done.stderr, done.returncode), ("", "nobody: Request Timeout\n", 1)
        )

    def test_bad_usage_is_status_2(self) -> None:
        for words in (
            [],
            ["request"],
            ["request", "x", "--frobnicate"],
            ["request", "x", "--port", "y"],
        ):
            self.assertEqual(self.run_client(*words).returncode, 2, words)
        for words in (["cmd-service", "x"], ["cmd-service", "bad\nname", "ls"], ["x", "ls", "-l"]):
            self.assertEqual(self.start_service(*words).wait(DEADLINE), 2, words)
