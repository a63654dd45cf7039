"""Says and expects literal frames, as the broker of one client or worker of ours.

Arguments: the part to play. Prints its endpoint, then `ok` when all was as written here.
"""
import sys

import zmq

router = zmq.Context().socket(zmq.ROUTER)
router.linger = 1000
router.setsockopt(zmq.RCVTIMEO, 15000)
port = router.bind_to_random_port("tcp://127.0.0.1")
print(f"tcp://127.0.0.1:{port}")


def receive(beat):
    """The next message that is no HEARTBEAT: who, and what."""
    while True:
        who, *frames = router.recv_multipart()
        if frames != beat:
            return who, frames


def say(who, *frames):
    router.send_multipart([who, *frames])


def worker_01():
    beat = [b"", b"MDPW01", b"\x04"]
    ready = [b"", b"MDPW01", b"\x01", b"echo"]
    worker, frames = receive(beat)
    assert frames == ready, frames
    # The address is opaque and echoed, with every body frame as it is.
    say(worker, b"", b"MDPW01", b"\x02", b"\x00\xff address", b"", b"", b"a")
    worker, frames = receive(beat)
    assert frames == [b"", b"MDPW01", b"\x03", b"\x00\xff address", b"", b"", b"a"], frames
    # Several address frames, no body frame.
    say(worker, b"", b"MDPW01", b"\x02", b"one", b"two", b"")
    worker, frames = receive(beat)
    assert frames == [b"", b"MDPW01", b"\x03", b"one", b"two", b""], frames
    # What is no message for a worker is ignored.
    for frames in ([b""], [b"", b"MDPW01"], [b"", b"MDPW01", b"\x02"], [b"", b"MDPW01", b"\x02", b"T"],
                   [b"", b"MDPW01", b"\x02", b"", b"x"], [b"", b"MDPW02", b"\x06"],
                   [b"", b"MDPC01", b"echo", b"x"], [b"", b"MDPW01", b"\x09"], [b"\x00" * 1000]):
        say(worker, *frames)
    say(worker, b"", b"MDPW01", b"\x02", b"T", b"", b"b")
    same, frames = receive(beat)
    assert frames == [b"", b"MDPW01", b"\x03", b"T", b"", b"b"], frames
    assert same == worker
    # A heartbeat comes although everything else has come.
    while router.recv_multipart() != [worker, *beat]:
        pass
    # Two requests at a time: it starts over on a new socket.
    say(worker, b"", b"MDPW01", b"\x02", b"T1", b"", b"wait")
    say(worker, b"", b"MDPW01", b"\x02", b"T2", b"", b"c")
    same, frames = receive(beat)
    assert same == worker and frames == [b"", b"MDPW01", b"\x05"], frames
    other, frames = receive(beat)
    assert other != worker and frames == ready, frames
    # DISCONNECT without the delimiter: again a new socket, and nothing more on the old one.
    say(other, b"MDPW01", b"\x05")
    third, frames = receive(beat)
    assert third not in (worker, other) and frames == ready, frames


def worker_02():
    beat = [b"MDPW02", b"\x05"]
    worker, frames = receive(beat)
    assert frames == [b"MDPW02", b"\x01", b"lines"], frames
    say(worker, b"MDPW02", b"\x02", b"T", b"", b"3")
    expected = [[b"MDPW02", b"\x03", b"T", b"", b"line 1"], [b"MDPW02", b"\x03", b"T", b"", b"line 2"],
                [b"MDPW02", b"\x04", b"T", b"", b"line 3"]]
    for line in expected:
        _, frames = receive(beat)
        assert frames == line, frames
    while router.recv_multipart() != [worker, *beat]:
        pass
    print("stop")
    _, frames = receive(beat)
    assert frames == [b"MDPW02", b"\x06"], frames


def worker_flood():
    worker, frames = receive(None)
    assert frames == [b"MDPW02", b"\x01", b"flood"], frames
    say(worker, b"MDPW02", b"\x02", b"T", b"", b"")
    sys.stdin.readline()
    number = 0
    while True:
        same, frames = receive([b"MDPW02", b"\x05"])
        assert same == worker and frames[2:4] == [b"T", b""], frames
        if frames[1] == b"\x04":
            break
        assert frames[1] == b"\x03" and frames[4].strip() == b"%d" % number, frames
        number += 1
    assert number == 20000, number


def client_01():
    client, frames = receive(None)
    first, rest = frames[0], frames[1:]
    assert len(first) == 4 and rest == [b"", b"MDPC01", b"echo", b"Hello", b""], frames
    # None of these is the answer.
    for wrong in ([b"", b"MDPC01", b"echo", b"x"], [b"\x00" * 4, b"", b"MDPC01", b"echo", b"x"],
                  [first, b"", b"MDPC01", b"other", b"x"], [first, b"", b"MDPC02", b"\x03", b"echo", b"x"],
                  [first, b"", b"MDPC01"], [first, b""], [first], [b""]):
        say(client, *wrong)
    # Sent again under another id; the answer to the first try is discarded.
    same, frames = receive(None)
    second, rest = frames[0], frames[1:]
    assert same == client and rest == [b"", b"MDPC01", b"echo", b"Hello", b""], frames
    assert second != first and len(second) == 4
    say(client, first, b"", b"MDPC01", b"echo", b"late")
    say(client, second, b"", b"MDPC01", b"echo", b"", b"World")


def client_02():
    client, frames = receive(None)
    number, rest = frames[0], frames[1:]
    assert rest == [b"", b"MDPC02", b"\x01", b"lines", b"3"], frames
    say(client, number, b"", b"MDPC02", b"\x02", b"lines", b"line 1")
    say(client, number, b"", b"MDPC02", b"\x04", b"lines", b"no code of a client")
    say(client, number, b"", b"MDPC02", b"\x02", b"lines", b"line 2")
    say(client, number, b"", b"MDPC02", b"\x03", b"lines", b"line 3")
    say(client, number, b"", b"MDPC02", b"\x02", b"lines", b"after the end")


def client_plain():
    client, frames = receive(None)
    assert frames == [b"", b"MDPC01", b"echo", b"a"], frames
    # Without an answer it comes again on another socket.
    other, frames = receive(None)
    assert other != client and frames == [b"", b"MDPC01", b"echo", b"a"], frames
    say(other, b"", b"MDPC01", b"echo", b"A")


{"worker_01": worker_01, "worker_02": worker_02, "worker_flood": worker_flood,
 "client_01": client_01, "client_02": client_02,
 "client_plain": client_plain}[sys.argv[1]]()
print("ok")
sys.stdin.readline()
