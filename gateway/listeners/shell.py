"""The sockets around ``mqtt.connection``: bytes in, bytes out, one write for each pass of the loop. No decisions.

No task and no queue for a client: a protocol of asyncio feeds the pure connection, and one flush for each loop pass
writes what it answered. ``Shell`` is a bare socket; ``LayeredShell`` has layers (``layer.py``) between it and MQTT.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, cast

from gateway.broker.access import Peer
from gateway.listeners.layer import Stack
from gateway.mqtt.connection import Connection, State

if TYPE_CHECKING:
    from gateway.listeners.base import SocketListener

log = logging.getLogger("gateway")

DRAIN_SECONDS: Final = 2.0
"""How long a connection that we ended stays half-open, so that the client reads why. A plain close would reset it."""

WRITE_HIGH_WATER: Final = 64 << 10

EARLY_BYTES: Final = 64 << 10
"""What a client may send before the next step of its handshake; then it is not read from."""


class Shell:
    """One socket: a protocol of asyncio by its methods, not by inheritance: compiled classes have compiled parents."""

    __slots__ = (
        "_address",
        "_clock",
        "_drain",
        "_flusher",
        "_is_finished",
        "_is_paused",
        "_listener",
        "_server",
        "connection",
        "transport",
    )

    def __init__(self, listener: SocketListener[Any], address: str) -> None:
        self._listener = listener
        self._server = listener.server
        self._clock = listener.clock
        self._flusher = listener.flusher
        self._address = address
        self._is_paused = False
        self._is_finished = False
        self._drain: asyncio.TimerHandle | None = None
        self.transport: asyncio.Transport | None = None
        self.connection: Connection | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(WRITE_HIGH_WATER)
        self._open(self._address, None)

    def _open(self, address: str, identity: str | None) -> None:
        self._read_clock()
        self.connection = Connection(self._server, Peer(address, self._listener.local, identity), self._wake)

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
        self._flusher.begin_read()
        try:
            connection.receive(data)
            if self._is_behind(connection):
                self._pause()
        finally:
            self._flusher.end_read(self._server.clock.now)

    def _is_behind(self, connection: Connection) -> bool:
        """Whether the client is not read from now: its packets have to wait, or it does not read its answers. Without
        the second, one that only asks would fill our memory."""
        return connection.hold or (connection.blocked and connection.full())

    def _pause(self) -> None:
        if not self._is_paused and self.transport is not None:
            self._is_paused = True
            self.transport.pause_reading()

    def _resume(self) -> None:
        if self._is_paused and self.transport is not None:
            self._is_paused = False
            self.transport.resume_reading()

    def flush(self) -> None:
        """Write what is queued; close when the connection is at its end."""
        connection, transport = self.connection, self.transport
        if connection is None or transport is None or self._is_finished or transport.is_closing():
            return
        # Asked before flushed(), which may end the connection with words that only the next flush writes.
        is_closing = connection.state is State.CLOSING
        if not connection.blocked or is_closing:
            # A blocked socket leaves the output with the connection, where it is bounded and seen by publishers.
            data = connection.take_output()
            if data:
                transport.write(data)
            connection.flushed()
        if self._is_paused and not self._is_behind(connection):
            self._resume()
        if is_closing:
            self._finish()

    def _finish(self) -> None:
        """Everything is said: half-close, and give the other side a moment to read it."""
        self._is_finished = True
        transport = self.transport
        assert transport is not None
        if transport.can_write_eof():
            transport.write_eof()
            self._resume()
            self._drain = self._listener.loop.call_later(DRAIN_SECONDS, transport.abort)
        else:
            transport.close()

    def drop(self) -> None:
        """Close now, whatever is under way."""
        if self.transport is not None:
            self.transport.abort()

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
        if self._drain is not None:
            self._drain.cancel()
        if self.connection is not None:
            self._read_clock()
            self.connection.lost()


class LayeredShell(Shell):
    """One socket with layers. Until they are open there is no MQTT connection, and the gate holds it."""

    __slots__ = ("_early", "_stack")

    def __init__(self, listener: SocketListener[Any], address: str, stack: Stack) -> None:
        super().__init__(listener, address)
        self._stack = stack
        self._early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(WRITE_HIGH_WATER)
        self._listener.gate.enter(self)

    def data_received(self, data: bytes) -> None:
        if self._is_finished or self._stack.ended:
            return
        if self.connection is not None:
            self._take(data)
            return
        self._early += data
        self._listener.gate.ready(self)
        if len(self._early) > EARLY_BYTES:
            self._pause()

    def handshake(self) -> None:
        """One step, with what has come; the gate says when."""
        data, self._early = self._early, b""
        self._resume()
        self._take(data)

    def _take(self, data: bytes) -> None:
        stack = self._stack
        plain = stack.receive(data)
        if self.connection is None and stack.is_open:
            self._listener.gate.leave(self)
            self._open(stack.address or self._address, stack.identity)
        if plain:
            super().data_received(plain)
        if stack.ended:
            self._end(stack.ended, stack.is_fault)
        # The layers may have words of their own.
        self._wake()

    def _end(self, why: str, is_fault: bool) -> None:
        if self.connection is None:
            self._listener.gate.leave(self)
            self._server.metrics.count("handshakes_failed")
            log.debug("handshake failed", extra={"peer": self._stack.address or self._address, "reason": why})
            return
        if is_fault:
            self._server.metrics.count("malformed")
        self._read_clock()
        self.connection.lost()

    def flush(self) -> None:
        connection, transport, stack = self.connection, self.transport, self._stack
        if transport is None or self._is_finished or transport.is_closing():
            return
        last = stack.ended != "" or (connection is not None and connection.state is State.CLOSING)
        may_write = connection is not None and (not connection.blocked or last)
        data = connection.take_output() if connection is not None and may_write else b""
        wire = stack.send(data, last)
        if wire:
            transport.write(wire)
        if connection is not None:
            if may_write:
                connection.flushed()
            if self._is_paused and not self._is_behind(connection):
                self._resume()
        if last:
            self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        self._listener.gate.leave(self)
        super().connection_lost(exc)
