"""The clients against a bare ROUTER: literal frames."""

import asyncio
import contextlib
import socket
import threading
import unittest
from typing import Iterator

from buswire_backbone import (
    AsyncClient,
    BackboneClient,
    Client,
    Disconnected,
    InvalidStateError,
    RequestTimeout,
)

from peers import DEADLINE, Router

SHORT = 0.05


@contextlib.contextmanager
def no_listener() -> Iterator[str]:
    """An endpoint where nobody listens, and nobody else can."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"tcp://127.0.0.1:{held.getsockname()[1]}"


class Blocking(unittest.TestCase):
    def setUp(self) -> None:
        self.router = Router()
        self.addCleanup(self.router.__exit__)

    def client(self, **options: object) -> Client:
        client = Client(self.router.endpoint, timeout=DEADLINE, **options)
        self.addCleanup(client.close)
        return client

    def connected(self, head: list[bytes], **options: object) -> Client:
        """A client whose first request was answered with this head."""
        client = self.client(**options)
        self.ask(client, [[*head, b"", b"MDPC01", b"warm"]], "warm")
        return client

    def answer(self, *replies: list[bytes]) -> tuple[threading.Thread, list[list[bytes]]]:
        """Answers the next request: its sender's id and `replies`; returns what came."""
        seen: list[list[bytes]] = []

        def serve() -> None:
            message = self.router.receive()
            seen.append(message)
            for reply in replies:
                self.router.send(message[0], *reply)

        thread = threading.Thread(target=serve)
        thread.start()
        return thread, seen

    def ask(self, client: Client, replies: list[list[bytes]], *request: object) -> list[bytes]:
        """Sends a request that is answered so; returns its frames at the broker."""
        thread, seen = self.answer(*replies)
        self.reply = client.request(*request)
        thread.join()
        return seen[0][1:]

    def test_a_request_carries_an_id_in_front_of_the_delimiter(self) -> None:
        client = self.client()
        first = [b"\0\0\0\1", b"", b"MDPC01", b"echo"]
        sent = self.ask(client, [[*first, b"HELLO", b""]], "echo", ["Hello", b"\xff"])
        self.assertEqual(sent, [*first, b"Hello", b"\xff"])
        self.assertEqual(self.reply, [b"HELLO", b""])
        second = [b"\0\0\0\2", b"", b"MDPC01", b"echo"]
        self.assertEqual(self.ask(client, [second], "echo"), second)
        self.assertEqual(self.reply, [])

    def test_a_timeout_leaves_the_client_usable_and_a_late_answer_reaches_nobody(self) -> None:
        client = self.connected([b"\0\0\0\1"])
        with self.assertRaisesRegex(RequestTimeout, "Request Timeout"):
            client.request("echo", "a", SHORT)
        late = self.router.receive()
        self.router.send(*late[:5], b"A")
        answer = [b"\0\0\0\3", b"", b"MDPC01", b"echo", b"B"]
        foreign = [b"\0\0\0\3", b"", b"MDPC01", b"other", b"x"]
        garbage = [b"MDPC01"]
        self.ask(client, [garbage, foreign, answer], "echo", "b")
        self.assertEqual(self.reply, [b"B"])

    def test_without_ids_a_timeout_costs_the_socket(self) -> None:
        client = self.connected([], correlate=False)
        with self.assertRaises(RequestTimeout):
            client.request("echo", "a", SHORT)
        first = self.router.receive()
        self.assertEqual(first[1:], [b"", b"MDPC01", b"echo", b"a"])
        thread, seen = self.answer([b"", b"MDPC01", b"echo", b"B"])
        self.assertEqual(client.request("echo", "b"), [b"B"])
        thread.join()
        self.assertNotEqual(seen[0][0], first[0])

    def test_an_answer_in_parts(self) -> None:
        client = self.client()
        head = [b"\0\0\0\1", b"", b"MDPC02"]
        parts = [
            [*head, b"\2", b"lines", b"1"],
            [*head, b"\2", b"lines"],
            [*head, b"\3", b"lines", b"3"],
        ]
        thread, seen = self.answer(*parts)
        self.assertEqual(list(client.stream("lines", "3")), [[b"1"], [], [b"3"]])
        thread.join()
        self.assertEqual(seen[0][1:], [*head, b"\1", b"lines", b"3"])

    def test_the_plain_form_of_0_2_has_no_delimiter(self) -> None:
        client = self.client(version="0.2", correlate=False)
        parts = [[b"MDPC02", b"\2", b"lines", b"1"], [b"MDPC02", b"\3", b"lines", b"2"]]
        self.assertEqual(self.ask(client, parts, "lines"), [b"MDPC02", b"\1", b"lines"])
        self.assertEqual(self.reply, [b"1", b"2"])

    def test_one_request_at_a_time(self) -> None:
        client = self.client()
        thread, _ = self.answer([b"\0\0\0\1", b"", b"MDPC02", b"\2", b"lines", b"1"])
        stream = client.stream("lines")
        next(stream)
        thread.join()
        with self.assertRaises(InvalidStateError):
            client.request("echo")
        client.close()
        with self.assertRaises(Disconnected):
            next(stream)
        with self.assertRaises(Disconnected):
            client.request("echo")

    def test_a_request_that_was_never_connected_is_never_sent(self) -> None:
        with no_listener() as endpoint:
            client = Client(endpoint, timeout=DEADLINE)
            self.addCleanup(client.close)
            with self.assertRaises(RequestTimeout):
                client.request("echo", "old", SHORT)
        self.router.socket.bind(endpoint)
        sent = self.ask(client, [[b"\0\0\0\2", b"", b"MDPC01", b"echo"]], "echo", "new")
        self.assertEqual(sent[-1], b"new")


class Backbone(unittest.TestCase):
    def test_send_returns_text_or_calls_back(self) -> None:
        with Router() as router, BackboneClient("127.0.0.1", router.port) as client:
            self.assertEqual(client.getEndpoint(), router.endpoint)
            heard: list[object] = []
            future = client.send("echo", ["a", "b"], heard.append, timeout=DEADLINE * 1000)
            with self.assertRaises(InvalidStateError):
                client.send("echo", "second")
            message = router.receive()
            self.assertEqual(message[2:], [b"", b"MDPC01", b"echo", b"a", b"b"])
            router.send(*message[:5], b"A", b"B")
            self.assertEqual(future.result(DEADLINE), ["A", "B"])
            self.assertEqual(heard, [["A", "B"]])
            with self.assertRaises(RequestTimeout):
                client.send("echo", timeout=SHORT * 1000)
            future = client.send("echo", "x", heard.append, timeout=SHORT * 1000)
            self.assertIsInstance(future.exception(DEADLINE), RequestTimeout)
            self.assertEqual(len(heard), 1)


class Asynchronous(unittest.IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        self.router = Router()
        self.addCleanup(self.router.__exit__)

    async def incoming(self) -> list[bytes]:
        return await asyncio.to_thread(self.router.receive)

    async def test_answers_find_their_requests_in_any_order(self) -> None:
        async with AsyncClient(self.router.endpoint, timeout=DEADLINE) as client:
            requests = [
                asyncio.create_task(client.request("echo", str(number))) for number in range(50)
            ]
            messages = [await self.incoming() for _ in requests]
            for message in reversed(messages):
                self.router.send(*message)
            answers = await asyncio.gather(*requests)
            self.assertEqual(answers, [[str(number).encode()] for number in range(50)])

    async def test_a_timeout_and_a_late_answer(self) -> None:
        async with AsyncClient(self.router.endpoint, timeout=DEADLINE) as client:
            warm = asyncio.create_task(client.request("echo"))
            self.router.send(*await self.incoming())
            await warm
            with self.assertRaises(RequestTimeout):
                await client.request("echo", "a", SHORT)
            late = await self.incoming()
            request = asyncio.create_task(client.request("echo", "b"))
            self.router.send(*late)
            self.router.send(*await self.incoming())
            self.assertEqual(await request, [b"b"])

    async def test_parts_and_a_client_that_closes(self) -> None:
        client = AsyncClient(self.router.endpoint, timeout=DEADLINE)
        stream = client.stream("lines")
        first = asyncio.create_task(anext(stream))
        message = await self.incoming()
        head = message[:4]
        self.router.send(*head, b"\2", b"lines", b"1")
        self.assertEqual(await first, [b"1"])
        waiting = asyncio.create_task(anext(stream))
        request = asyncio.create_task(client.request("echo"))
        await self.incoming()
        await client.close()
        for pending in (waiting, request):
            with self.assertRaises(Disconnected):
                await pending
        with self.assertRaises(Disconnected):
            await client.request("echo")

    async def test_closing_ends_a_request_that_waits_for_a_connection(self) -> None:
        with no_listener() as endpoint:
            client = AsyncClient(endpoint, timeout=DEADLINE)
            requests = [asyncio.create_task(client.request("echo")) for _ in range(2)]
            # They begin, and wait.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            await client.close()
            for request in requests:
                with self.assertRaises(Disconnected):
                    await request

    async def test_a_stream_that_is_not_read_is_bounded(self) -> None:
        async with AsyncClient(self.router.endpoint, timeout=DEADLINE) as client:
            stream = client.stream("lines")
            first = asyncio.create_task(anext(stream))
            head = (await self.incoming())[:4]
            for _ in range(1002):
                self.router.send(*head, b"\2", b"lines", b"x")
            await first
            other = asyncio.create_task(client.request("echo"))
            self.router.send(*await self.incoming())
            await other
            with self.assertRaisesRegex(Exception, "were not read"):
                async for _ in stream:
                    pass
