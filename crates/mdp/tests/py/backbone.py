"""What Backbone's peers do beyond the specification (mdp.md 9.2, 9.3)."""
import os
import sys
import zmq

endpoint = sys.argv[1]
context = zmq.Context()


def socket(kind):
    it = context.socket(kind)
    it.setsockopt(zmq.RCVTIMEO, 10000)
    it.connect(endpoint)
    return it


def until(worker, command):
    frames = worker.recv_multipart()
    while frames[2] != command:
        assert frames == [b"", b"MDPW01", b"\x04"], frames
        frames = worker.recv_multipart()
    return frames


# A request without body reaches the service with nothing after the empty frame.
service = socket(zmq.DEALER)
service.send_multipart([b"", b"MDPW01", b"\x01", b"ls-service"])
client = socket(zmq.REQ)
client.send_multipart([b"MDPC01", b"ls-service"])
request = until(service, b"\x02")
assert len(request) == 5 and request[3] and request[4] == b"", request
# Echoing all address frames up to the first empty one, as its services do.
end = request.index(b"", 3)
service.send_multipart([b"", b"MDPW01", b"\x03"] + request[3:end] + [b"", b"README.md\nclient\n"])
assert client.recv_multipart() == [b"MDPC01", b"ls-service", b"README.md\nclient\n"]

# One quoted string stays one frame.
client.send_multipart([b"MDPC01", b"ls-service", b"request_data1, request_data2"])
request = until(service, b"\x02")
assert request[5:] == [b"request_data1, request_data2"], request
service.send_multipart([b"", b"MDPW01", b"\x03", request[3], b"", b"response_data1", b"response_data2"])
assert client.recv_multipart()[2:] == [b"response_data1", b"response_data2"]

# Frames after HEARTBEAT and DISCONNECT are ignored; DISCONNECT takes the service away.
service.send_multipart([b"", b"MDPW01", b"\x04", b"extra"])
until(service, b"\x04")
service.send_multipart([b"", b"MDPW01", b"\x05", b"ls-service"])
client.send_multipart([b"MDPC01", b"mmi.service", b"ls-service"])
assert client.recv_multipart()[2] == b"404"

# After that its heartbeat is unknown, and our DISCONNECT carries the delimiter.
service.send_multipart([b"", b"MDPW01", b"\x04"])
assert until(service, b"\x05") == [b"", b"MDPW01", b"\x05"]
print("ok", flush=True)
os._exit(0)
