"""Waiting for something to become true, with a bound and with words for when it does not."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

LOOK_EVERY = 0.02


class NotInTime(AssertionError):
    """What was waited for did not come."""


def wait_until(condition: Callable[[], T], timeout: float, what: str) -> T:
    """The first true result of ``condition``; looks every 20 ms. Raises NotInTime."""
    end = time.monotonic() + timeout
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise NotInTime(f"not within {timeout:g} s: {what}")
        time.sleep(LOOK_EVERY)


def is_listening(port: int) -> bool:
    """Whether a connection to 127.0.0.1:``port`` is accepted now."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def free_port() -> int:
    """A TCP port that nobody had a moment ago, for programs that cannot take port 0 and tell.

    Taken from outside the range of ephemeral ports, where a client's own port could get in the way.
    """
    while True:
        port = _next_port()
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _next_port() -> int:
    global _port
    _port = _port + 1 if _port < LAST_PORT else FIRST_PORT
    return _port


FIRST_PORT, LAST_PORT = 15_000, 31_000
_port = FIRST_PORT + time.time_ns() // 1000 % (LAST_PORT - FIRST_PORT)
