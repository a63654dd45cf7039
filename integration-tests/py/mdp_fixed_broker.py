"""A Majordomo 0.1 broker on pyzmq that answers every request at once, always the same.

Arguments: the frames of the answer. Prints its endpoint, then for each request a JSON list of its
service and body frames.
"""
import json
import sys

import zmq

answer = [frame.encode() for frame in sys.argv[1:]]
router = zmq.Context().socket(zmq.ROUTER)
router.linger = 1000
port = router.bind_to_random_port("tcp://127.0.0.1")
print(f"tcp://127.0.0.1:{port}")
while True:
    frames = router.recv_multipart()
    start = frames.index(b"")
    assert frames[start + 1] == b"MDPC01", frames
    print(json.dumps([frame.decode() for frame in frames[start + 2:]]))
    router.send_multipart([*frames[:start + 3], *answer])
