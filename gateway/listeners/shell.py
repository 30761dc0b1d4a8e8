"""The sockets around ``mqtt.connection``: bytes in, bytes out, one write for each turn of the pool. No decisions.

No task, queue or callback of the event loop for a client: ``pool.py`` serves the socket, the pure connection decides.
``Shell`` is a bare socket; ``LayeredShell`` has layers (``layer.py``) between it and MQTT.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING, Any, Final

from gateway.broker.access import Peer
from gateway.listeners.layer import Stack
from gateway.listeners.stream import Stream
from gateway.mqtt.connection import Connection, State

if TYPE_CHECKING:
    from gateway.listeners.base import SocketListener

log = logging.getLogger("gateway")

DRAIN_SECONDS: Final = 2.0
"""How long a connection that we ended stays half-open, so that the client reads why. A plain close would reset it."""

EARLY_BYTES: Final = 64 << 10
"""What a client may send before the next step of its handshake; then it is not read from."""


class Shell(Stream):
    """One socket and its MQTT connection."""

    __slots__ = ("_address", "_drain", "_is_finished", "_is_paused", "_listener", "_server", "connection")

    def __init__(self, listener: SocketListener[Any], sock: socket.socket, address: str) -> None:
        super().__init__(listener.pool, sock)
        self._listener = listener
        self._server = listener.server
        self._address = address
        self._is_paused = False
        self._is_finished = False
        self._drain: asyncio.TimerHandle | None = None
        self.connection: Connection | None = None

    def begin(self) -> None:
        """The socket was accepted."""
        self._pool.enter(self)
        self._listener.read_clock()
        self._open(self._address, None)

    def _open(self, address: str, identity: str | None) -> None:
        self.connection = Connection(self._server, Peer(address, self._listener.local, identity), self._wake)
        self.is_new = True

    def _wake(self) -> None:
        self._pool.add(self)

    def on_data(self, data: bytes) -> None:
        connection = self.connection
        if connection is not None:
            connection.receive(data)
            self.is_new = connection.is_new
            if self._is_behind(connection):
                self._hold()

    def _is_behind(self, connection: Connection) -> bool:
        """Whether the client is not read from now: its packets have to wait, or it does not read its answers. Without
        the second, one that only asks would fill our memory."""
        return connection.hold or (connection.blocked and connection.full())

    def _hold(self) -> None:
        if not self._is_paused:
            self._is_paused = True
            self.pause()

    def _go_on(self) -> None:
        if self._is_paused:
            self._is_paused = False
            self.resume()

    def flush(self) -> None:
        """Write what is queued; close when the connection is at its end."""
        connection = self.connection
        if connection is None or self._is_finished or self.closed:
            return
        # Asked before flushed(), which may end the connection with words that only the next flush writes.
        is_closing = connection.state is State.CLOSING
        if not connection.blocked or is_closing:
            # A blocked socket leaves the output with the connection, where it is bounded and seen by publishers.
            data = connection.take_output()
            if data:
                self.write(data)
            connection.flushed()
        if self._is_paused and not self._is_behind(connection):
            self._go_on()
        if is_closing:
            self._finish()

    def _finish(self) -> None:
        """Everything is said: half-close, and give the other side a moment to read it."""
        self._is_finished = True
        self.end_output()
        self._go_on()
        self._drain = self._listener.loop.call_later(DRAIN_SECONDS, self.abort)

    def drop(self) -> None:
        """Close now, whatever is under way."""
        self.abort()

    def on_room(self, room: bool) -> None:
        connection = self.connection
        if connection is None:
            return
        if room:
            connection.unblocked()
        else:
            connection.blocked = True

    def on_lost(self) -> None:
        self._listener.shells.discard(self)
        if self._drain is not None:
            self._drain.cancel()
        if self.connection is not None:
            self._listener.read_clock()
            self.connection.lost()


class LayeredShell(Shell):
    """One socket with layers. Until they are open there is no MQTT connection, and the gate holds it."""

    __slots__ = ("_early", "_stack")

    def __init__(self, listener: SocketListener[Any], sock: socket.socket, address: str, stack: Stack) -> None:
        super().__init__(listener, sock, address)
        self._stack = stack
        self._early = b""

    def begin(self) -> None:
        self._pool.enter(self)
        self._listener.gate.enter(self)

    def on_data(self, data: bytes) -> None:
        if self._is_finished or self._stack.ended:
            return
        if self.connection is not None:
            self._take(data)
            return
        self._early += data
        self._listener.gate.ready(self)
        if len(self._early) > EARLY_BYTES:
            self._hold()

    def handshake(self) -> None:
        """One step, with what has come; the gate says when."""
        data, self._early = self._early, b""
        self._go_on()
        self._take(data)

    def _take(self, data: bytes) -> None:
        stack = self._stack
        plain = stack.receive(data)
        if self.connection is None and stack.is_open:
            self._listener.gate.leave(self)
            self._open(stack.address or self._address, stack.identity)
        if plain:
            super().on_data(plain)
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
        self._listener.read_clock()
        self.connection.lost()

    def flush(self) -> None:
        connection, stack = self.connection, self._stack
        if self._is_finished or self.closed:
            return
        last = stack.ended != "" or (connection is not None and connection.state is State.CLOSING)
        may_write = connection is not None and (not connection.blocked or last)
        data = connection.take_output() if connection is not None and may_write else b""
        wire = stack.send(data, last)
        if wire:
            self.write(wire)
        if connection is not None:
            if may_write:
                connection.flushed()
            if self._is_paused and not self._is_behind(connection):
                self._go_on()
        if last:
            self._finish()

    def on_lost(self) -> None:
        self._listener.gate.leave(self)
        super().on_lost()
