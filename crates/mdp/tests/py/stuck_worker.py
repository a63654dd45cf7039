"""Takes one request, says so, and never answers."""
import sys
import time
import zmq

socket = zmq.Context().socket(zmq.DEALER)
socket.connect(sys.argv[1])
socket.send_multipart([b"", b"MDPW01", b"\x01", b"work"])
while True:
    frames = socket.recv_multipart()
    if frames[2] == b"\x02":
        print("got it", flush=True)
        time.sleep(1000)
