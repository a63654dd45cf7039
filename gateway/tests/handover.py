"""Holds a listening socket as systemd does, and restarts the gateway behind it while clients come.

handover.py FOLDER COMMAND…   prints {"answered": N, "failed": [why, …]}
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

folder, command = sys.argv[1], sys.argv[2:]
held = socket.create_server(("127.0.0.1", 0), backlog=4096)
address = held.getsockname()
# Where sd_listen_fds(3) begins.
os.dup2(held.fileno(), 3, inheritable=True)
environment = {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "http"}


def start(name):
    ready = os.path.join(folder, name)
    log = open(os.path.join(folder, name + ".log"), "w")
    process = subprocess.Popen(
        command + ["--ready-file", ready], pass_fds=(3,), env=environment, stderr=log
    )
    deadline = time.monotonic() + 30
    while not os.path.exists(ready):
        assert process.poll() is None and time.monotonic() < deadline, open(log.name).read()
        time.sleep(0.01)
    # Where it listens is the socket, whatever the settings say.
    bound = json.load(open(ready))["http"]
    assert bound == "%s:%d" % address, bound
    return process


def stop(process):
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


answered, failed, done = 0, [], threading.Event()


def visit():
    global answered
    try:
        with socket.create_connection(address, 30) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
            head = client.recv(15)
            if head.startswith(b"HTTP/1.1 200"):
                answered += 1
            else:
                failed.append(repr(head))
    except OSError as error:
        failed.append(repr(error))


def visits():
    while not done.is_set():
        visit()


gateway = start("first")
clients = [threading.Thread(target=visits) for _ in range(4)]
for client in clients:
    client.start()
for name in ["second", "third"]:
    stop(gateway)
    gateway = start(name)
done.set()
for client in clients:
    client.join()
stop(gateway)
print(json.dumps({"answered": answered, "failed": failed}))
