"""The frames and the state machine of a worker, without sockets; times are made up."""

import unittest

from buswire_backbone import BackboneClientMessage, ProtocolError, Timing
from buswire_backbone.protocol import (
    decode_reply,
    encode_request,
    endpoint_of,
    to_frames,
    to_service,
)
from buswire_backbone.session import Backoff, WorkerSession

ID = b"\0\0\0\7"
TOKEN = bytes.fromhex("9F3C0A5577E1D2440000000000000001")


class Client(unittest.TestCase):
    def test_a_request_has_the_form_of_its_version(self) -> None:
        body = [b"Hello", b""]
        self.assertEqual(
            encode_request("0.1", b"echo", body), [b"", b"MDPC01", b"echo", b"Hello", b""]
        )
        self.assertEqual(
            encode_request("0.2", b"echo", body), [b"MDPC02", b"\1", b"echo", b"Hello", b""]
        )
        self.assertEqual(encode_request("0.1", b"echo", [], ID), [ID, b"", b"MDPC01", b"echo"])
        self.assertEqual(
            encode_request("0.2", b"echo", [], ID), [ID, b"", b"MDPC02", b"\1", b"echo"]
        )

    def test_an_answer_is_told_from_anything_else(self) -> None:
        def read(*frames: bytes) -> object:
            reply = decode_reply(frames)
            return reply and (reply.request_id, reply.service, reply.body, reply.final)

        self.assertEqual(read(ID, b"", b"MDPC01", b"echo", b"A"), (ID, b"echo", [b"A"], True))
        self.assertEqual(read(b"", b"MDPC01", b"echo"), (b"", b"echo", [], True))
        self.assertEqual(read(ID, b"", b"MDPC02", b"\2", b"s", b"1"), (ID, b"s", [b"1"], False))
        self.assertEqual(read(b"MDPC02", b"\3", b"s", b"", b"2"), (b"", b"s", [b"", b"2"], True))
        for garbage in (
            [], [b""], [ID], [ID, b""], [b"MDPC01", b"bare"], [b"", b"MDPC01"], [b"MDPC02", b"\1", b"s"],
            [b"MDPC02", b"\3"], [b"", b"MDPC03", b"s"], [b"", b"MDPC02", b"\3\3", b"s"], [b"", b"MDPW01", b"\4"],
        ):  # fmt: skip
            self.assertIsNone(read(*garbage), garbage)

    def test_the_message_class_of_the_document(self) -> None:
        message = BackboneClientMessage("ls-service", ["-l", "é"])
        self.assertEqual(message.serialize(), [b"MDPC01", b"ls-service", b"-l", b"\xc3\xa9"])
        self.assertIsNone(message.getReply())
        head = [b"MDPC01", b"ls-service"]
        self.assertEqual(message.parseReply([*head, b"one"]), "one")
        self.assertEqual(message.parseReply([*head, b"one"], False), ["one"])
        self.assertEqual(message.parseResponse([*head, b"one", b"two"]), ["one", "two"])
        self.assertEqual(message.parse_reply(head), [])
        self.assertEqual(message.getReply(), [])
        with self.assertRaises(ProtocolError):
            message.parse_reply([b"MDPC01", b"other", b"one"])

    def test_bodies_names_and_endpoints(self) -> None:
        self.assertEqual(to_frames("text"), [b"text"])
        self.assertEqual(to_frames(b""), [b""])
        self.assertEqual(to_frames(()), [])
        self.assertEqual(to_frames(["a", b"b"]), [b"a", b"b"])
        self.assertEqual(endpoint_of("::1", 5555), "tcp://[::1]:5555")
        for name in ("", "a\0b", "x" * 256, b"\xff", "\x7f"):
            with self.assertRaises(ValueError):
                to_service(name)


class Worker(unittest.TestCase):
    def session(self, version: str = "0.1") -> WorkerSession:
        return WorkerSession(b"echo", version, Timing(), 100.0)

    def request(self, session: WorkerSession, now: float) -> object:
        return session.receive([b"", b"MDPW01", b"\2", TOKEN, b"", b"Hello"], now)

    def test_registration_request_and_reply(self) -> None:
        session = self.session()
        self.assertEqual(session.ready(), [b"", b"MDPW01", b"\1", b"echo"])
        self.assertEqual(self.request(session, 100.5).body, [b"Hello"])
        self.assertTrue(session.busy)
        reply = session.reply([b"HELLO"], True, 101.0)
        self.assertEqual(reply, [b"", b"MDPW01", b"\3", TOKEN, b"", b"HELLO"])
        self.assertFalse(session.busy)
        self.assertEqual(session.disconnect(), [b"", b"MDPW01", b"\5"])

    def test_the_codes_of_0_2(self) -> None:
        session = self.session("0.2")
        self.assertEqual(session.ready(), [b"MDPW02", b"\1", b"echo"])
        for delimiter in ([], [b""]):
            self.assertEqual(
                session.receive([*delimiter, b"MDPW02", b"\2", TOKEN, b""], 100.0).body, []
            )
            self.assertEqual(
                session.reply([b"1"], False, 100.0), [b"MDPW02", b"\3", TOKEN, b"", b"1"]
            )
            self.assertEqual(
                session.reply([b"2"], True, 100.0), [b"MDPW02", b"\4", TOKEN, b"", b"2"]
            )
        self.assertEqual(session.tick(101.0), [b"MDPW02", b"\5"])
        self.assertEqual(session.disconnect(), [b"MDPW02", b"\6"])

    def test_a_whole_address_stack_is_echoed(self) -> None:
        session = self.session()
        session.receive([b"", b"MDPW01", b"\2", b"client", ID, b"", b"x", b"", b"y"], 100.0)
        frames = [b"", b"MDPW01", b"\3", b"client", ID, b"", b"z"]
        self.assertEqual(session.reply([b"z"], True, 100.0), frames)

    def test_heartbeats_at_intervals_also_while_busy(self) -> None:
        session = self.session()
        self.assertIsNone(session.tick(100.9))
        self.assertEqual(session.tick(101.0), [b"", b"MDPW01", b"\4"])
        self.request(session, 101.5)
        self.assertEqual(session.deadline(), 102.0)
        self.assertEqual(session.tick(102.0), [b"", b"MDPW01", b"\4"])
        session.reply([], True, 102.5)
        self.assertEqual(session.tick(103.0), [b"", b"MDPW01", b"\4"])

    def test_silence_ends_an_idle_registration_and_not_a_busy_one(self) -> None:
        session = self.session()
        self.request(session, 101.0)
        session.tick(200.0)
        self.assertIsNone(session.lost)
        session.reply([], True, 200.0)
        session.tick(207.4)
        self.assertIsNone(session.lost)
        session.receive([b"", b"MDPW01", b"\4", b"trailing"], 207.4)
        session.tick(214.8)
        self.assertIsNone(session.lost)
        session.tick(214.9)
        self.assertEqual(session.lost, "the broker is silent")

    def test_disconnect_with_and_without_the_delimiter(self) -> None:
        for frames in (
            [b"", b"MDPW01", b"\5"],
            [b"MDPW01", b"\5"],
            [b"", b"MDPW01", b"\5", b"echo"],
        ):
            session = self.session()
            session.receive(frames, 100.0)
            self.assertEqual(session.lost, "the broker sent DISCONNECT")
            self.assertFalse(session.heard)
            self.assertIsNone(self.request(session, 100.0))

    def test_a_second_request_at_a_time_ends_the_registration(self) -> None:
        session = self.session()
        self.request(session, 100.0)
        self.assertIsNone(self.request(session, 100.0))
        self.assertIsNotNone(session.lost)

    def test_what_is_no_message_is_ignored(self) -> None:
        session = self.session()
        for garbage in (
            [], [b""], [b"", b"MDPW01"], [b"", b"MDPW02", b"\2", TOKEN, b""], [b"", b"MDPW01", b"\2"],
            [b"", b"MDPW01", b"\2", b"", b"x"], [b"", b"MDPW01", b"\2", TOKEN, b"x"], [b"", b"MDPW01", b"\x63"],
            [b"", b"MDPW01", b"\4\4"], [b"", b"MDPC01", b"echo"],
        ):  # fmt: skip
            self.assertIsNone(session.receive(garbage, 100.0), garbage)
        self.assertFalse(session.busy or session.lost or session.heard)

    def test_waits_double_up_to_a_limit_and_begin_anew_after_traffic(self) -> None:
        backoff = Backoff(Timing())
        self.assertEqual([backoff.next(0.5) for _ in range(7)], [1, 2, 4, 8, 16, 32, 32])
        backoff.reset()
        self.assertEqual(backoff.next(0.0), 0.75)
        self.assertLess(backoff.next(0.999), 2.5)
