"""MQTT over TCP and TLS: the sockets around ``mqtt.connection``. No decisions are made here.

No task and no queue for a client: an ``asyncio.Protocol`` feeds the pure connection, and one flush for each
loop pass writes what it answered.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Final, cast

from gateway.broker.access import Peer
from gateway.clock import Clock
from gateway.config.settings import MqttListener as Settings
from gateway.errors import Retry
from gateway.listeners.flush import Flusher
from gateway.listeners.tls import BadCertificate, identity, server_context
from gateway.mqtt.connection import Connection, State
from gateway.mqtt.server import MqttServer

DRAIN_SECONDS: Final = 2.0
"""How long a connection that we ended stays half-open, so that the client reads why. A plain close would reset it."""

HANDSHAKE_SECONDS: Final = 10.0
WRITE_HIGH_WATER: Final = 64 << 10


class Shell(asyncio.Protocol):
    """One socket."""

    __slots__ = ("_clock", "_flusher", "_listener", "_paused", "_server", "connection", "transport")

    def __init__(self, listener: MqttListener) -> None:
        self._listener = listener
        self._server = listener.server
        self._clock = listener.clock
        self._flusher = listener.flusher
        self._paused = False
        self.transport: asyncio.Transport | None = None
        self.connection: Connection | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        if len(self._server.connections) >= self._listener.max_connections:
            self._server.metrics.count("connects_refused")
            self.transport.abort()
            return
        self.transport.set_write_buffer_limits(WRITE_HIGH_WATER)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._read_clock()
        peer = Peer(
            _address(transport.get_extra_info("peername")),
            self._listener.local,
            identity(transport.get_extra_info("peercert")),
        )
        self.connection = Connection(self._server, peer, self._wake)
        self._listener.shells.add(self)

    def _read_clock(self) -> None:
        clock = self._server.clock
        clock.now = self._clock.now()
        clock.time = self._clock.time()

    def _wake(self) -> None:
        self._flusher.add(self)

    def data_received(self, data: bytes) -> None:
        connection = self.connection
        if connection is None:
            return
        self._read_clock()
        connection.receive(data)
        if connection.hold and not self._paused and self.transport is not None:
            self._paused = True
            self.transport.pause_reading()

    def flush(self) -> None:
        """Write what is queued; close when the connection is at its end."""
        connection, transport = self.connection, self.transport
        if connection is None or transport is None or transport.is_closing():
            return
        data = connection.take_output()
        if data:
            transport.write(data)
            connection.flushed()
        if self._paused and not connection.hold:
            self._paused = False
            transport.resume_reading()
        if connection.state is State.CLOSING:
            self._finish(transport)

    def _finish(self, transport: asyncio.Transport) -> None:
        if transport.can_write_eof():
            transport.write_eof()
            self._listener.loop.call_later(DRAIN_SECONDS, transport.abort)
        else:
            transport.close()

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        if self.connection is not None:
            self.connection.blocked = True

    def resume_writing(self) -> None:
        if self.connection is not None:
            self.connection.unblocked()

    def connection_lost(self, exc: Exception | None) -> None:
        self._listener.shells.discard(self)
        if self.connection is not None:
            self._read_clock()
            self.connection.lost()


class MqttListener:
    """One bound address. ``run`` is its life; it raises Retry when the address cannot be bound now."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        server: MqttServer,
        clock: Clock,
    ) -> None:
        self.name = name
        self.settings = settings
        self.server = server
        self.clock = clock
        self.local = settings.address.is_loopback
        self.shells: set[Shell] = set()
        self.max_connections = server.limits.max_sessions + 100
        self.loop: asyncio.AbstractEventLoop
        self.flusher: Flusher
        self.bound: list[str] = []

    @classmethod
    def check(cls, settings: Settings) -> Iterator[tuple[str, str]]:
        """Certificates that cannot be used, before anything is bound."""
        if settings.tls is not None:
            try:
                server_context(settings.tls)
            except BadCertificate as error:
                yield error.key, str(error)

    async def run(self, up: Callable[[], None]) -> None:
        """Bind, accept, and on cancellation close everything that was accepted."""
        self.loop = asyncio.get_running_loop()
        self.flusher = Flusher(self.loop)
        context: ssl.SSLContext | None = server_context(self.settings.tls) if self.settings.tls else None
        address = self.settings.address
        try:
            server = await self.loop.create_server(
                lambda: Shell(self),
                address.host,
                address.port,
                ssl=context,
                ssl_handshake_timeout=HANDSHAKE_SECONDS if context else None,
                backlog=512,
            )
        except OSError as error:
            raise Retry(f"cannot bind {address.host}:{address.port}: {error.strerror or error}") from None
        self.bound = [_address(one.getsockname()) for one in server.sockets]
        up()
        try:
            await asyncio.Event().wait()
        finally:
            server.close()
            self.bound = []
            await self._close_all()

    async def _close_all(self) -> None:
        """Flush last words, then give clients a moment to read them."""
        for shell in list(self.shells):
            shell.flush()
        for _ in range(20):
            if not self.shells:
                break
            await asyncio.sleep(0.025)
        for shell in list(self.shells):
            if shell.transport is not None:
                shell.transport.abort()
        await asyncio.sleep(0)

    def status(self) -> dict[str, object]:
        """Where it listens and how many sockets it has."""
        return {"bound": self.bound, "tls": self.settings.tls is not None, "connections": len(self.shells)}


def _address(name: object) -> str:
    if isinstance(name, tuple) and len(name) >= 2:
        return f"[{name[0]}]:{name[1]}" if ":" in str(name[0]) else f"{name[0]}:{name[1]}"
    return str(name or "local")
