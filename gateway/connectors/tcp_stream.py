"""A TCP connection to a server that passes bytes on, looking like ``tty.Tty``: ``received`` and ``lost`` are called."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final, cast

from gateway.connectors.system_words import reason_of
from gateway.errors import Retry

_KEEP_ALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 20),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000),
)
"""A serial server that is switched off says no good-bye: after 50 seconds of its silence the system does."""

Received = Callable[[bytes], None]
Lost = Callable[[str], None]


class TcpStream(asyncio.Protocol):
    """One connection. ``is_open`` as of ``Tty``."""

    def __init__(self, received: Received, lost: Lost) -> None:
        self.data_received = received  # type: ignore[method-assign, assignment]
        self._lost: Lost | None = lost
        self._transport: asyncio.Transport | None = None
        self._can_write = asyncio.Event()
        self._can_write.set()

    @property
    def is_open(self) -> bool:
        """Whether it still stands, as far as this side knows."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, data: bytes) -> None:
        """Send all of it. Raises Retry when that cannot be done now."""
        if self._transport is None:
            raise Retry("connection lost")
        self._transport.write(data)

    async def drained(self) -> None:
        """Until the system has taken what was sent, or the connection has ended."""
        await self._can_write.wait()

    def drop(self) -> None:
        """Nothing: what has arrived was given to ``received``."""

    def pause(self) -> None:
        """Leave what arrives with the system."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume(self) -> None:
        """Take it again."""
        if self._transport is not None and self.is_open:
            self._transport.resume_reading()

    def close(self) -> None:
        """Close it; ``lost`` is not called."""
        self._lost = None
        self._can_write.set()
        if self._transport is not None:
            self._transport.abort()

    # -- what the loop calls -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        found = transport.get_extra_info("socket")
        for level, option, value in _KEEP_ALIVE:
            found.setsockopt(level, option, value)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._can_write.set()
        if self._lost is not None:
            self._lost("closed the connection" + (f": {exc}" if exc is not None else ""))

    def pause_writing(self) -> None:
        self._can_write.clear()

    def resume_writing(self) -> None:
        self._can_write.set()


async def connected(name: str, host: str, port: int, timeout: float, received: Received, lost: Lost) -> TcpStream:
    """A connection to ``name`` within ``timeout`` seconds. Raises Retry."""
    stream = TcpStream(received, lost)
    try:
        async with asyncio.timeout(timeout):
            await asyncio.get_running_loop().create_connection(lambda: stream, host, port)
    except TimeoutError:
        stream.close()
        raise Retry(f"cannot connect to {name} within {timeout:g} s") from None
    except OSError as error:
        raise Retry(f"cannot connect to {name}: {reason_of(error)}") from None
    except BaseException:
        stream.close()
        raise
    return stream
