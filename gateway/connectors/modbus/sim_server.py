"""Several simulated units behind one endpoint: Modbus TCP, serial frames over TCP, or a pseudo-terminal.

Faults are switched while it runs: a unit that is mute, late, answers exceptions or nonsense; connections that are
cut. Every question is kept for a test to count. Questions to units that are not there get no answer, as on a line.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import tty
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol, cast

from gateway.clock import Clock
from gateway.connectors.modbus.endpoint import Framing
from gateway.connectors.modbus.framing import MAX_ASCII, frame, take_question
from gateway.connectors.modbus.mbap import header, take_frame
from gateway.connectors.modbus.sim_unit import Question, Unit
from gateway.errors import Malformed

_KEPT: Final = 100_000
_CHUNK: Final = 4096


class _Way(Protocol):
    """One client, however it comes."""

    def cut(self) -> None: ...


class Simulator:
    """The server. ``units`` by identifier."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.units: dict[int, Unit] = {}
        self.questions: deque[Question] = deque(maxlen=_KEPT)
        self.accepted = 0
        self._ways: set[_Way] = set()
        self._server: asyncio.Server | None = None

    def unit(self, identifier: int) -> Unit:
        """The unit with this identifier; made on first use."""
        return self.units.setdefault(identifier, Unit())

    async def start(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        framing: Framing = "mbap",
        tls: ssl.SSLContext | None = None,
    ) -> int:
        """Listen; the port that was bound."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self, framing), host, port, ssl=tls)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    def plug(self, path: str, framing: Framing = "rtu") -> None:
        """Be at the other end of a pseudo-terminal found at ``path``. Raises OSError when something is there."""
        self._ways.add(_Line(self, path, framing))

    async def stop(self) -> None:
        """Stop listening, pull the plug, cut all connections."""
        if self._server is not None:
            self._server.close()
        self.cut()
        if self._server is not None:
            await self._server.wait_closed()
            self._server = None

    def cut(self) -> None:
        """Cut all connections, without a word."""
        for way in list(self._ways):
            way.cut()

    def hang_up(self) -> None:
        """Cut the connections of clients; a plug stays in."""
        for way in list(self._ways):
            if isinstance(way, _Connection):
                way.cut()

    @property
    def connections(self) -> int:
        """Connections that stand."""
        return len(self._ways)

    def ask(self, identifier: int, pdu: bytes) -> tuple[bytes | None, Unit | None]:
        """What the unit says, and the unit; None when it says nothing. Unit 0 is all of them on a line."""
        address, count = int.from_bytes(pdu[1:3], "big"), int.from_bytes(pdu[3:5], "big")
        self.questions.append(Question(identifier, pdu[0], address, count))
        unit = self.units.get(identifier)
        if unit is None or unit.is_mute:
            return None, unit
        return unit.answer(pdu, self.clock.time()), unit

    def tell_all(self, pdu: bytes) -> None:
        """A broadcast."""
        self.questions.append(Question(0, pdu[0], int.from_bytes(pdu[1:3], "big"), int.from_bytes(pdu[3:5], "big")))
        for unit in self.units.values():
            if not unit.is_mute:
                unit.answer(pdu, self.clock.time())

    def answer_line(self, framing: Framing, buffer: bytes, send: Send) -> bytes:
        """Answer every whole question in ``buffer``; what is left of it."""
        while (taken := take_question(framing, buffer)) is not None:
            identifier, pdu, buffer = taken
            if identifier == 0:
                self.tell_all(pdu)
                continue
            answer, unit = self.ask(identifier, pdu)
            if answer is not None and unit is not None:
                send(unit, frame(framing, identifier, answer) if unit.garbage is None else unit.garbage)
        return buffer[-MAX_ASCII:]


def _when_free(unit: Unit, send: Callable[[bytes], None], data: bytes) -> None:
    """A unit does one thing at a time: what it was asked later it answers later."""
    loop = asyncio.get_running_loop()
    now = loop.time()
    at = max(now, unit.busy_until) + unit.delay
    if at <= now:
        send(data)
    else:
        unit.busy_until = at
        loop.call_at(at, send, data)


class Send(Protocol):
    """Sends an answer of a unit, when it is time."""

    def __call__(self, unit: Unit, data: bytes) -> None: ...


class _Connection(asyncio.Protocol):
    """One TCP client."""

    def __init__(self, simulator: Simulator, framing: Framing) -> None:
        self._simulator = simulator
        self._framing = framing
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self._simulator.accepted += 1
        self._simulator._ways.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._simulator._ways.discard(self)

    def cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._framing != "mbap":
            self._buffer = self._simulator.answer_line(self._framing, self._buffer, self._later)
            return
        try:
            while (taken := take_frame(self._buffer)) is not None:
                transaction, identifier, pdu, self._buffer = taken
                answer, unit = self._simulator.ask(identifier, pdu)
                if answer is not None and unit is not None:
                    data = header(transaction, identifier, answer) + answer
                    self._later(unit, data if unit.garbage is None else unit.garbage)
        except Malformed:
            self.cut()

    def _later(self, unit: Unit, data: bytes) -> None:
        _when_free(unit, self._send, data)

    def _send(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


class _Line:
    """A pseudo-terminal: the gateway's end is a link at ``path``, ours is read and written here."""

    def __init__(self, simulator: Simulator, path: str, framing: Framing) -> None:
        self._simulator = simulator
        self._framing = framing
        self._buffer = b""
        self._ours, self._theirs = os.openpty()
        try:
            tty.setraw(self._theirs)
            os.set_blocking(self._ours, False)
            self._link = _link(path, os.ttyname(self._theirs))
        except OSError:
            os.close(self._ours)
            os.close(self._theirs)
            raise
        asyncio.get_running_loop().add_reader(self._ours, self._readable)

    def cut(self) -> None:
        """Pull the plug."""
        asyncio.get_running_loop().remove_reader(self._ours)
        self._simulator._ways.discard(self)
        os.close(self._ours)
        os.close(self._theirs)
        self._ours = -1
        self._link.unlink(missing_ok=True)

    def _readable(self) -> None:
        try:
            self._buffer += os.read(self._ours, _CHUNK)
        except BlockingIOError:
            return
        self._buffer = self._simulator.answer_line(self._framing, self._buffer, self._later)

    def _later(self, unit: Unit, data: bytes) -> None:
        _when_free(unit, self._send, data)

    def _send(self, data: bytes) -> None:
        if self._ours >= 0:
            os.write(self._ours, data)


def _link(path: str, target: str) -> Path:
    link = Path(path)
    if link.is_symlink() and not link.exists():
        link.unlink()  # of a simulation that was killed: what it led to is gone
    link.symlink_to(target)
    return link
