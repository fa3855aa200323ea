"""``python -m tests.harness.child_program ENCODING``: a process for the tests of `harness.child`, with a few commands."""

import json
import os
import pickle
import socket
import subprocess
import sys
import time

from harness.child import Server

sys.stdout.write("printed at its start\n")
encoding = {"json": json, "pickle": pickle}[sys.argv[1]]
server = Server(encoding)


def talk():
    """Return a second socket object for the connection to the owner."""
    return socket.socket(fileno=os.dup(server._channel.talk.fileno()))  # noqa: SLF001 (the tests write packets themselves)


def prints():
    """Print to standard output in two ways, and read standard input."""
    sys.stdout.write("printed\n")
    os.write(1, b"written\n")
    return sys.stdin.read()


def fails():
    """Raise an error with a message of two lines."""
    raise ValueError("first line\nsecond line")


def in_pieces(value):
    """Send the reply to this request in three packets, which end anywhere in the text."""
    request = server._request  # noqa: SLF001 (the tests write packets themselves)
    text = json.dumps([request, "result", value]).encode()
    with talk() as raw:
        for packet in (b"+" + text[:3], b"+" + text[3:-2], b"." + text[-2:]):
            raw.send(packet)
    server._channel.receive()  # noqa: SLF001 (the next request, so that no second reply is sent)
    os._exit(7)


def starts():
    """Start a process that never ends, and return its id."""
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1e6)"]).pid


def forges(packet):
    """Send a packet that is no reply."""
    with talk() as raw:
        raw.send(packet.encode())


server.serve(
    echo=lambda value: value,
    prints=prints,
    fails=fails,
    leaves=os._exit,
    in_pieces=in_pieces,
    starts=starts,
    forges=forges,
    hangs=lambda: time.sleep(1e6),
    half=lambda: talk().send(b"+half a reply") and time.sleep(1e6),
)
