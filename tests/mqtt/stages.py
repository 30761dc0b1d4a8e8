"""Where the cases of ``notation`` are played: a server as function calls, or a live process over TCP."""

from __future__ import annotations

import socket
import time
from typing import Any, Protocol

from mqtt.pair import Client, World

PATIENCE = 5.0
"""Seconds until a live process that says nothing has failed."""


class Link(Protocol):
    """One connection to the server."""

    def send(self, data: bytes) -> None: ...

    def receive(self) -> bytes | None:
        """Bytes; none when nothing came; None when the server has closed."""

    def lose(self) -> None: ...


class Stage(Protocol):
    """A server that takes connections, and its time.

    in_order  what is sent on one connection has had its effect before anything is sent on the next
    """

    in_order: bool

    def open(self) -> Link: ...

    def wait(self, seconds: float) -> None: ...


class CallLink:
    """A connection by function calls. ``step``: bytes given at once; 0 is all."""

    def __init__(self, client: Client, step: int) -> None:
        self._client = client
        self._step = step

    def send(self, data: bytes) -> None:
        step = self._step or len(data) or 1
        for at in range(0, len(data), step):
            self._client.raw(data[at : at + step])

    def receive(self) -> bytes | None:
        for _ in range(2):
            data = self._client.connection.take_output()
            self._client.connection.flushed()
            if data:
                return data
        return None if self._client.closed else b""

    def lose(self) -> None:
        self._client.lose()


class CallStage:
    """A server of its own for one case."""

    in_order = True

    def __init__(self, limits: dict[str, Any], step: int = 0) -> None:
        self._world = World(**limits)
        self._step = step

    def open(self) -> Link:
        return CallLink(Client(self._world), self._step)

    def wait(self, seconds: float) -> None:
        self._world.advance(seconds)


class SocketLink:
    """A connection over TCP."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.create_connection(address, PATIENCE)

    def send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the server may close before it has read everything

    def receive(self) -> bytes | None:
        try:
            return self._socket.recv(65536) or None
        except TimeoutError:
            return b""
        except ConnectionResetError:
            return None

    def lose(self) -> None:
        self._socket.close()


class SocketStage:
    """A live process for all cases."""

    in_order = False

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address

    def open(self) -> Link:
        return SocketLink(self.address)

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)
