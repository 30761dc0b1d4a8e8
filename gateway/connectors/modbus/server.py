"""The Modbus server: shows the last values of points to Modbus clients, and makes commands of what they write.

A subscriber of the broker like any other: of what it is given it keeps nothing but the last value. A write becomes a
command at ``<topic>/set``, so that limits, interlocks and the journal are those of every other command. The client is
told that it was taken, not that it was done: Modbus knows no answer for later.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol, cast

from gateway.broker.port import Done, Publisher, Subscriber
from gateway.clock import Clock
from gateway.connectors.modbus.mbap import header, take_frame
from gateway.connectors.modbus.server_config import ModbusListener
from gateway.connectors.modbus.server_line import ServedLine
from gateway.connectors.modbus.serving import serve
from gateway.connectors.modbus.shown import Registers
from gateway.errors import Malformed, Retry
from gateway.message import Message, Value

log = logging.getLogger("gateway")

ITSELF: Final = (0, 255)
"""Unit identifiers that mean the server itself (Modbus Messaging on TCP/IP V1.0b section 4.4.2.3)."""

_MOST_WAITING: Final = 64 * 1024
"""Bytes of answers that a client does not read; then it is cut."""


class Broker(Protocol):
    """Who knows the broker: the MQTT server, as for every listener."""

    @property
    def broker(self) -> Publisher: ...


class ModbusServer(Subscriber):
    """One bound address. ``run`` is its life; it raises Retry when the address cannot be bound now."""

    def __init__(self, name: str, settings: ModbusListener, server: Broker, clock: Clock, pool: object = None) -> None:
        self.name = name
        self.settings = settings
        self.bound: list[str] = []
        self.questions = 0
        self.refused = 0
        self.clients: dict[_Client, None] = {}
        self._broker = server.broker
        self._clock = clock
        self._networks = [ipaddress.ip_network(one) for one in settings.clients]
        self._units = {settings.unit, *ITSELF}
        self._registers = Registers(settings.register, settings.max_age, self._command)

    async def run(self, up: Callable[[], None]) -> None:
        """Bind, serve, and on cancellation close everything."""
        endpoint = self.settings.line
        if endpoint is not None:
            line = ServedLine(endpoint, self.settings.unit, self._serve)
            with self._informed([str(endpoint)]):
                up()
                await line.run()
            return
        address, loop = self.settings.address, asyncio.get_running_loop()
        try:
            server = await loop.create_server(lambda: _Client(self), address.host, address.port)
        except OSError as error:
            raise Retry(f"cannot listen on {self.settings.bind}: {error.strerror or error}") from None
        try:
            with self._informed([_text(one.getsockname()) for one in server.sockets]):
                up()
                await asyncio.Event().wait()
        finally:
            server.close()
            for client in list(self.clients):
                client.cut()
            await asyncio.sleep(0)

    @contextmanager
    def _informed(self, bound: list[str]) -> Iterator[None]:
        """Bound, and told of new values."""
        self.bound = bound
        self._registers.now = self._clock.now()
        try:
            for topic in self._registers.topics:
                for message in self._broker.retained(topic):
                    self.deliver(message, None)
                self._broker.subscribe(topic, self)
            yield
        finally:
            self.bound = []
            for topic in self._registers.topics:
                self._broker.unsubscribe(topic, self)

    def deliver(self, message: Message, done: Done | None) -> bool:
        """A point has a new value."""
        self._registers.now = self._clock.now()
        self._registers.took(message.topic, message.value)
        return False

    def keeps(self) -> bool:
        return False

    def reload(self) -> bool:
        """Nothing of it is read again."""
        return True

    def status(self) -> dict[str, Any]:
        """Where it listens, who is there, what was asked."""
        return {
            "bound": self.bound,
            "tls": False,
            "connections": len(self.clients),
            "handshakes": 0,
            "questions": self.questions,
            "refused": self.refused,
        }

    # -- clients -------------------------------------------------------------------------------------------

    def admit_client(self, client: _Client, host: str) -> bool:
        """Whether a client may stay. It may cost the one its connection that has been idle longest."""
        peer = ipaddress.ip_address(host.partition("%")[0])
        if isinstance(peer, ipaddress.IPv6Address) and peer.ipv4_mapped is not None:
            peer = peer.ipv4_mapped
        if not any(peer in network for network in self._networks):
            self.refused += 1
            log.warning("modbus client refused", extra={"listener": self.name, "peer": host})
            return False
        if len(self.clients) >= self.settings.max_connections:
            next(iter(self.clients)).cut()
        self.clients[client] = None
        return True

    def answer(self, client: _Client, unit: int, pdu: bytes) -> bytes | None:
        """The answer to one question; None for another unit."""
        self.clients.pop(client, None)
        self.clients[client] = None  # the last one to have asked
        return self._serve(pdu) if unit in self._units else None

    def _serve(self, pdu: bytes) -> bytes:
        self.questions += 1
        self._registers.now = self._clock.now()
        return serve(pdu, self._registers)

    def _command(self, topic: str, value: Value) -> None:
        self._broker.publish(
            Message(f"{topic}/set", qos=1, time=self._clock.time(), source=f"listener:{self.name}", value=value)
        )


def _text(name: tuple[Any, ...]) -> str:
    return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"


class _Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, server: ModbusServer) -> None:
        self._server = server
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        peer = transport.get_extra_info("peername")
        if peer is None or not self._server.admit_client(self, peer[0]):
            self.cut()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._server.clients.pop(self, None)

    def cut(self) -> None:
        """Close without a word."""
        self._server.clients.pop(self, None)
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            while self._transport is not None and (taken := take_frame(self._buffer)) is not None:
                transaction, unit, pdu, self._buffer = taken
                answer = self._server.answer(self, unit, pdu)
                if answer is not None:
                    self._transport.write(header(transaction, unit, answer) + answer)
        except Malformed:
            self.cut()
        if self._transport is not None and self._transport.get_write_buffer_size() > _MOST_WAITING:
            self.cut()
