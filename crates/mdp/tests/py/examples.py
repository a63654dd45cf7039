"""Plays worked examples of mdp.md 21 as raw frames over real sockets; see tests/examples."""
import os
import sys
import zmq

endpoint, *files = sys.argv[1:]
context = zmq.Context()
IDS = {"C": b"\x00\x6b\x8b\x45\x68", "W": b"\x00\x6b\x8b\x45\x67", "V": b"\x00\x6b\x8b\x45\x69"}


def frame(text):
    """Bytes, or the name of a token."""
    if text == "(empty)":
        return b""
    if text in IDS:
        return IDS[text]
    if text[0] in 'T"':
        return text if text[0] == "T" else text.strip('"').encode()
    return bytes.fromhex(text.split('"')[0])


def is_heartbeat(frames):
    return frames in ([b"", b"MDPW01", b"\x04"], [b"MDPW02", b"\x05"], [b"", b"MDPW02", b"\x05"])


def play(path):
    sockets, tokens = {}, {}
    for line in open(path):
        if line.startswith("#"):
            continue
        peer, direction, rest = line.split(maxsplit=2)
        frames = [frame(text.strip()) for text in rest.split("|")][1:]
        if peer not in sockets:
            sockets[peer] = context.socket(zmq.DEALER)
            sockets[peer].setsockopt(zmq.RCVTIMEO, 10000)
            sockets[peer].setsockopt(zmq.LINGER, 0)
            sockets[peer].connect(endpoint)
        if direction == ">":
            sockets[peer].send_multipart([tokens.get(it, it) for it in frames])
            fence(sockets[peer])
            continue
        got = receive(sockets[peer])
        assert len(got) == len(frames), (path, got, frames)
        for expected, actual in zip(frames, got):
            if isinstance(expected, str):
                assert len(actual) == 16, (path, got)
                expected = tokens.setdefault(expected, actual)
            assert expected == actual, (path, line, got)
    for socket in sockets.values():
        socket.close()


kept = {}


def receive(socket):
    """The next message that is neither a heartbeat nor the answer to a fence."""
    if kept.get(socket):
        return kept[socket].pop(0)
    frames = socket.recv_multipart()
    while is_heartbeat(frames):
        frames = socket.recv_multipart()
    return frames


def fence(socket):
    """Waits until the broker has taken in what was sent before: sockets do not wait for each other."""
    socket.send_multipart([b"fence", b"", b"MDPC01", b"mmi.service", b"x"])
    frames = socket.recv_multipart()
    while frames[0] != b"fence":
        if not is_heartbeat(frames):
            kept.setdefault(socket, []).append(frames)
        frames = socket.recv_multipart()


for path in files:
    play(path)
print("ok", flush=True)
os._exit(0)
