"""A worker as the ZeroMQ guide writes it: one thread, reconnects on DISCONNECT and on silence."""
import sys
import zmq

endpoint, service = sys.argv[1], sys.argv[2].encode()
context = zmq.Context()
while True:
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    socket.connect(endpoint)
    socket.send_multipart([b"", b"MDPW01", b"\x01", service])
    liveness = 20
    while liveness:
        if not socket.poll(250):
            liveness -= 1
            socket.send_multipart([b"", b"MDPW01", b"\x04"])
            continue
        liveness = 20
        frames = socket.recv_multipart()
        if frames[2] == b"\x02":
            socket.send_multipart([b"", b"MDPW01", b"\x03", frames[3], b""] + frames[5:])
        elif frames[2] == b"\x05":
            break
    socket.close()
