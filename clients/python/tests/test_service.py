"""The service against a bare ROUTER: literal frames."""

import threading
import time
import unittest
from typing import Callable

from buswire_backbone import BackboneService, InvalidStateError, Responder, Timing

from peers import DEADLINE, Router, until

#: Fast, so that the tests need not wait. Heartbeats that no test asks for never come.
QUICK = Timing(heartbeat=3600, expiry=3600, reconnect_min=0.01, reconnect_max=0.02)
TOKEN = b"token"
HEARTBEAT = [b"", b"MDPW01", b"\4"]


class Service(unittest.TestCase):
    def setUp(self) -> None:
        self.router = Router()
        self.addCleanup(self.router.__exit__)

    def serve(
        self,
        handler: Callable[[list[bytes], Responder], object],
        timing: Timing = QUICK,
        version: str = "0.1",
    ) -> bytes:
        """Starts a service; returns its routing id when it has registered."""
        port = self.router.port
        self.service = BackboneService(
            "echo", handler, "127.0.0.1", port, timing=timing, version=version
        )
        self.addCleanup(self.service.shutdown, 0.0)
        self.assertIs(self.service.connect(), self.service)
        return self.registered(version)

    def registered(self, version: str = "0.1") -> bytes:
        ready = {"0.1": [b"", b"MDPW01", b"\1", b"echo"], "0.2": [b"MDPW02", b"\1", b"echo"]}
        message = self.router.receive_but(HEARTBEAT)
        self.assertEqual(message[1:], ready[version])
        return message[0]

    def request(self, worker: bytes, *body: bytes) -> None:
        self.router.send(worker, b"", b"MDPW01", b"\2", TOKEN, b"", *body)

    def expect(self, worker: bytes, *frames: bytes) -> None:
        self.assertEqual(self.router.receive_but(HEARTBEAT), [worker, b"", b"MDPW01", *frames])

    def test_requests_are_answered_with_text_frames_or_nothing(self) -> None:
        answers = iter(["text", [b"1", "2"], ()])
        seen: list[list[bytes]] = []

        def handler(frames: list[bytes], reply: Responder) -> None:
            seen.append(frames)
            reply(next(answers))

        worker = self.serve(handler)
        self.request(worker)
        self.expect(worker, b"\3", TOKEN, b"", b"text")
        self.request(worker, b"a", b"")
        self.expect(worker, b"\3", TOKEN, b"", b"1", b"2")
        self.request(worker, b"\xff")
        self.expect(worker, b"\3", TOKEN, b"")
        self.assertEqual(seen, [[], [b"a", b""], [b"\xff"]])

    def test_heartbeats_go_on_while_the_handler_blocks(self) -> None:
        go_on = threading.Event()

        def handler(frames: list[bytes], reply: Responder) -> None:
            go_on.wait(DEADLINE)
            reply("done")

        worker = self.serve(handler, Timing(heartbeat=0.01, expiry=3600))
        self.request(worker)
        for _ in range(5):
            self.assertEqual(self.router.receive(), [worker, *HEARTBEAT])
        go_on.set()
        self.expect(worker, b"\3", TOKEN, b"", b"done")

    def test_an_answer_may_come_later_from_another_thread_and_only_once(self) -> None:
        held: list[Responder] = []
        worker = self.serve(lambda frames, reply: held.append(reply))
        self.request(worker)
        until(lambda: held)
        held[0]("later")
        self.expect(worker, b"\3", TOKEN, b"", b"later")
        with self.assertRaises(InvalidStateError):
            held[0]("twice")

    def test_disconnect_of_a_backbone_broker_means_a_new_socket(self) -> None:
        worker = self.serve(lambda frames, reply: reply("ok"))
        self.router.send(worker, b"MDPW01", b"\5")
        again = self.registered()
        self.assertNotEqual(again, worker)
        self.request(again)
        self.expect(again, b"\3", TOKEN, b"", b"ok")

    def test_it_registers_again_as_soon_as_the_wait_is_over(self) -> None:
        worker = self.serve(lambda frames, reply: reply("ok"))
        start = time.monotonic()
        for _ in range(30):
            self.router.send(worker, b"", b"MDPW01", b"\5")
            worker = self.registered()
        self.assertLess(time.monotonic() - start, DEADLINE)

    def test_a_silent_broker_means_a_new_socket(self) -> None:
        timing = Timing(heartbeat=3600, expiry=0.05, reconnect_min=0.01, reconnect_max=0.02)
        worker = self.serve(lambda frames, reply: reply("ok"), timing)
        self.assertNotEqual(self.registered(), worker)

    def test_a_result_for_an_old_registration_is_thrown_away(self) -> None:
        held: list[Responder] = []
        worker = self.serve(lambda frames, reply: held.append(reply))
        self.request(worker, b"old")
        until(lambda: held)
        self.router.send(worker, b"", b"MDPW01", b"\5")
        again = self.registered()
        held[0]("old result")
        self.request(again, b"new")
        until(lambda: len(held) == 2)
        held[1]("new result")
        self.expect(again, b"\3", TOKEN, b"", b"new result")

    def test_no_registration_while_an_old_handler_is_at_work(self) -> None:
        go_on, started = threading.Event(), threading.Event()
        order: list[str] = []

        def handler(frames: list[bytes], reply: Responder) -> None:
            started.set()
            go_on.wait(DEADLINE)
            order.append("handler ended")

        worker = self.serve(handler)
        self.request(worker)
        self.assertTrue(started.wait(DEADLINE))
        self.router.send(worker, b"", b"MDPW01", b"\5")
        self.assertFalse(self.router.socket.poll(100))
        go_on.set()
        self.registered()
        self.assertEqual(order, ["handler ended"])

    def test_stop_finishes_the_request_in_hand_and_signs_off(self) -> None:
        go_on, started = threading.Event(), threading.Event()

        def handler(frames: list[bytes], reply: Responder) -> None:
            started.set()
            go_on.wait(DEADLINE)
            reply("finished")

        worker = self.serve(handler)
        self.request(worker)
        self.assertTrue(started.wait(DEADLINE))
        stopping = threading.Thread(target=self.service.shutdown, args=(DEADLINE,))
        stopping.start()
        go_on.set()
        self.expect(worker, b"\3", TOKEN, b"", b"finished")
        self.expect(worker, b"\5")
        stopping.join()

    def test_a_handler_that_takes_too_long_is_given_up_at_stop(self) -> None:
        held: list[Responder] = []
        worker = self.serve(lambda frames, reply: held.append(reply))
        self.request(worker)
        until(lambda: held)
        self.service.shutdown(0.05)
        self.expect(worker, b"\5")
        held[0]("too late, and harmless")

    def test_a_handler_that_raises_hands_the_request_back(self) -> None:
        def handler(frames: list[bytes], reply: Responder) -> None:
            if frames:
                raise RuntimeError("made by a test")
            reply("fine")

        worker = self.serve(handler)
        with self.assertLogs("buswire_backbone", "ERROR"):
            self.request(worker, b"fail")
            self.expect(worker, b"\5")
        again = self.registered()
        self.request(again)
        self.expect(again, b"\3", TOKEN, b"", b"fine")

    def test_a_second_request_at_a_time_means_a_new_socket(self) -> None:
        worker = self.serve(lambda frames, reply: None)
        self.request(worker)
        self.request(worker)
        self.assertNotEqual(self.registered(), worker)

    def test_parts_over_0_2(self) -> None:
        def handler(frames: list[bytes], reply: Responder) -> None:
            reply.partial("line 1")
            reply.partial(["line", "2"])
            reply("line 3")

        worker = self.serve(handler, version="0.2")
        self.router.send(worker, b"MDPW02", b"\2", TOKEN, b"", b"3")
        expected = ([b"\3", b"line 1"], [b"\3", b"line", b"2"], [b"\4", b"line 3"])
        for code, *body in expected:
            self.assertEqual(self.router.receive(), [worker, b"MDPW02", code, TOKEN, b"", *body])

    def test_parts_as_fast_as_the_socket_takes_them(self) -> None:
        def handler(frames: list[bytes], reply: Responder) -> None:
            for number in range(20_000):
                reply.partial(str(number))
            reply("end")

        worker = self.serve(handler, version="0.2")
        self.router.send(worker, b"MDPW02", b"\2", TOKEN, b"")
        for number in range(20_000):
            part = [worker, b"MDPW02", b"\3", TOKEN, b"", str(number).encode()]
            self.assertEqual(self.router.receive(), part)
        self.assertEqual(self.router.receive(), [worker, b"MDPW02", b"\4", TOKEN, b"", b"end"])

    def test_0_1_has_no_parts(self) -> None:
        raised: list[Exception] = []

        def handler(frames: list[bytes], reply: Responder) -> None:
            try:
                reply.partial("part")
            except InvalidStateError as error:
                raised.append(error)
            reply("whole")

        worker = self.serve(handler)
        self.request(worker)
        self.expect(worker, b"\3", TOKEN, b"", b"whole")
        self.assertEqual(len(raised), 1)
