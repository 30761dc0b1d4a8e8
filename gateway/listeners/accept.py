"""Accepting connections: a few for each pass of the loop, and a pause when the system has no room.

The pause is what keeps a full table of open files from turning into a loop that does nothing else: the listening
socket stays readable while nothing can be accepted.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Callable
from typing import Any, Final

from gateway.metrics import Metrics

log = logging.getLogger("gateway")

AT_A_TIME: Final = 8
"""Connections accepted in one pass of the loop; the rest wait in the system's backlog."""

PAUSE_SECONDS: Final = 0.25

_CREDENTIALS: Final = struct.Struct("3i")


class Acceptor:
    """One listening socket. ``adopt`` gets each connection: non-blocking, and the name of the other side as the system
    gives it."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        adopt: Callable[[socket.socket, Any], None],
        metrics: Metrics,
    ) -> None:
        self._loop = loop
        self._socket = sock
        self._adopt = adopt
        self._metrics = metrics
        self._pause: asyncio.TimerHandle | None = None
        self._is_short = False
        loop.add_reader(sock, self._ready)

    def close(self) -> None:
        """Accept nothing more; the listening socket is closed."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _ready(self) -> None:
        for _ in range(AT_A_TIME):
            try:
                sock, name = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._rest(error)
                return
            self._is_short = False
            sock.setblocking(False)
            if sock.family != socket.AF_UNIX:
                # Answers are small, and each turn writes all of them in one piece: waiting for more would only delay.
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._adopt(sock, name)

    def _rest(self, error: OSError) -> None:
        self._metrics.count("accept_errors")
        if not self._is_short:
            self._is_short = True
            log.warning("cannot accept connections", extra={"reason": error.strerror})
        self._loop.remove_reader(self._socket)
        self._pause = self._loop.call_later(PAUSE_SECONDS, self._go_on)

    def _go_on(self) -> None:
        self._pause = None
        self._loop.add_reader(self._socket, self._ready)


def address_text(name: Any) -> str:
    """The name of a TCP socket, as ``127.0.0.1:41234`` or ``[::1]:41234``."""
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def peer_text(sock: socket.socket, name: Any) -> str:
    """The other side of a connection; of a Unix socket the process that opened it: ``unix:uid=1000,pid=4242``."""
    if sock.family != socket.AF_UNIX:
        return address_text(name)
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(credentials)
    return f"unix:uid={uid},pid={pid}"
