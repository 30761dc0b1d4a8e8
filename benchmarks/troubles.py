"""Clients that are a nuisance, one kind for each run of this program; ``neighbours.py`` watches what others feel.

    python -m benchmarks.troubles NAME PORT TLS_PORT

Prints a line when it has everything ready, begins when it reads one, and goes on until it is ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import resource
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gateway.mqtt.encode import encode
from gateway.mqtt.packets import Connect, Filter, Publish, Subscribe

ROOT: Final = Path(__file__).parents[1]
LOAD: Final = ROOT / "build" / "load"
FILLER: Final = b"x" * 4096
V311: Final = 4


def ready() -> None:
    """Say so, and wait for the word."""
    print("ready", flush=True)
    sys.stdin.readline()


def client(port: int, name: str) -> socket.socket:
    """A connected MQTT 3.1.1 client with the smallest receive buffer."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    one.connect(("127.0.0.1", port))
    one.sendall(encode(Connect(name, V311, True, 0), V311))
    one.recv(4)
    return one


def reader(port: int, bytes_a_second: float, pattern: str) -> None:
    """A client that is sent far more than it reads: 4 KiB messages of its own topic, 2 MB a second."""
    slow = client(port, "trouble-reader")
    slow.sendall(encode(Subscribe(1, (Filter("trouble", 0), Filter(pattern, 0))), V311))
    publisher = client(port, "trouble-publisher")
    publisher.setblocking(False)
    ready()
    message = encode(Publish("trouble", FILLER), V311)
    begin, read = time.monotonic(), 0
    for turn in itertools.count():
        with contextlib.suppress(BlockingIOError):
            publisher.send(message)
        if (time.monotonic() - begin) * bytes_a_second > read:
            read += len(slow.recv(512))
        time.sleep(max(0.0, begin + turn / 500 - time.monotonic()))


def hello() -> bytes:
    """A whole TLS ClientHello."""
    outgoing = ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def stopped_handshakes(port: int, count: int) -> None:
    """Half of a first record, and then nothing; who is thrown out comes again."""
    half = hello()[:100]
    ready()
    open_: list[socket.socket] = []
    while True:
        while len(open_) < count:
            one = socket.create_connection(("127.0.0.1", port))
            one.sendall(half)
            one.setblocking(False)
            open_.append(one)
        time.sleep(0.02)
        for one in list(open_):
            with contextlib.suppress(BlockingIOError, ConnectionError):
                if one.recv(100):
                    continue
                one.close()
                open_.remove(one)


def program(*arguments: str) -> Callable[[int, int], None]:
    """The load generator, again and again."""

    def run(port: int, tls_port: int) -> None:
        ready()
        while True:
            subprocess.run([LOAD, *arguments, "--port", str(port)], capture_output=True, check=False)

    return run


def tls_storm(port: int, count: int) -> None:
    """``count`` TLS connections at once, a CONNECT in each; when all are there they go, and come again."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    ready()

    async def one(number: int) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            stream, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
            writer.write(encode(Connect(f"trouble-{number}", V311, True, 0), V311))
            await stream.readexactly(4)
            writer.transport.abort()

    async def all_of_them() -> None:
        while True:
            await asyncio.gather(*(one(number) for number in range(count)))

    asyncio.run(all_of_them())


def crowd(port: int, count: int) -> None:
    """One publisher, two messages of QoS 0 a second, ``count`` receivers that read all."""
    receivers = []
    for number in range(count):
        one = client(port, f"trouble-{number}")
        one.sendall(encode(Subscribe(1, (Filter("trouble", 0),)), V311))
        one.recv(5)
        one.setblocking(False)
        receivers.append(one)
    publisher = client(port, "trouble-publisher")
    ready()
    for number in itertools.count():
        publisher.sendall(encode(Publish("trouble", b"%08d" % number), V311))
        time.sleep(0.5)
        for one in receivers:
            with contextlib.suppress(BlockingIOError):
                one.recv(4096)


TROUBLES: Final[dict[str, Callable[[int, int], None]]] = {
    "a slow reader": lambda port, tls: reader(port, 1000, "-"),
    "a client that never reads": lambda port, tls: reader(port, 0, "-"),
    "a slow reader of their topics": lambda port, tls: reader(port, 1000, "load/#"),
    "TLS that stops in the handshake": lambda port, tls: stopped_handshakes(tls, 1),
    "200 of them": lambda port, tls: stopped_handshakes(tls, 200),
    "1000 connections at once": program("storm", "--clients", "1000", "--count", "1000", "--patience", "60"),
    "1000 TLS connections at once": lambda port, tls: tls_storm(tls, 1000),
    "10 000 filters of one client": program("filters", "--clients", "1", "--count", "10000", "--patience", "60"),
    "a message to 5000 receivers": lambda port, tls: crowd(port, 5000),
}


if __name__ == "__main__":
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    TROUBLES[sys.argv[1]](int(sys.argv[2]), int(sys.argv[3]))
