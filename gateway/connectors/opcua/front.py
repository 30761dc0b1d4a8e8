"""What stands before a simulated server and spoils the line: counts connections, cuts them, holds answers back.

It passes bytes on and understands none of them, so it does to OPC-UA what bad networks and dead controllers do.
"""

from __future__ import annotations

import asyncio
from typing import Final, cast

GARBAGE: Final = b"\xa5" * 64
"""What a faulty device says: no header of OPC-UA begins so."""


class Front:
    """Listens at one address and passes on to another.

    is_mute     takes everything and lets nothing back
    delay       seconds before each answer
    is_garbage  answers are replaced by nonsense
    """

    def __init__(self) -> None:
        self.is_mute = False
        self.delay = 0.0
        self.is_garbage = False
        self.accepted = 0
        self._server: asyncio.Server | None = None
        self._to: tuple[str, int] = ("", 0)
        self._pairs: set[_Client] = set()

    async def start(self, host: str, port: int, to: tuple[str, int]) -> int:
        """Listen; the port that was bound. Raises OSError when it is taken."""
        self._to = to
        self._server = await asyncio.get_running_loop().create_server(lambda: _Client(self), host, port)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Stop listening and cut all connections."""
        if self._server is not None:
            self._server.close()
            self.cut()
            await self._server.wait_closed()
            self._server = None

    def cut(self) -> None:
        """Cut all connections, without a word."""
        for pair in list(self._pairs):
            pair.cut()

    @property
    def connections(self) -> int:
        """Connections that stand."""
        return len(self._pairs)


class _Client(asyncio.Protocol):
    """One client, and the connection to the server that is made for it."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._transport: asyncio.Transport | None = None
        self._back: asyncio.Transport | None = None
        self._waiting = b""
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._front.accepted += 1
        self._front._pairs.add(self)
        self._task = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        try:
            transport, _ = await asyncio.get_running_loop().create_connection(lambda: _Server(self), *self._front._to)
        except OSError:
            self.cut()
            return
        self._back = transport
        self._back.write(self._waiting)
        self._waiting = b""

    def data_received(self, data: bytes) -> None:
        if self._back is None:
            self._waiting += data
        else:
            self._back.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._front._pairs.discard(self)
        if self._task is not None:
            self._task.cancel()
        if self._back is not None:
            self._back.abort()

    def cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def answer(self, data: bytes) -> None:
        front = self._front
        if front.is_mute:
            return
        if front.is_garbage:
            data = GARBAGE
        if front.delay > 0:
            asyncio.get_running_loop().call_later(front.delay, self._send, data)
        else:
            self._send(data)

    def _send(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def end(self) -> None:
        if self._transport is not None:
            self._transport.close()


class _Server(asyncio.Protocol):
    """The side of the server."""

    def __init__(self, client: _Client) -> None:
        self._client = client

    def data_received(self, data: bytes) -> None:
        self._client.answer(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._client.end()
