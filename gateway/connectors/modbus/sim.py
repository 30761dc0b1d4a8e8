"""A small Modbus TCP server with several units, for the demo and the tests. Written from the standard, by hand.

Registers live in four dicts for each unit; an address that is not there does not exist (exception 2). A register
may be a function of time instead of a number. Faults are switched while it runs: a unit that is mute, late,
answers exceptions or nonsense; connections that are cut. Every question is kept for a test to count.

It is no example of a good device: it does not check who writes.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

from gateway.clock import Clock

Content = int | Callable[[float], int]
"""What stands in a register (0 to 65535) or bit (0, 1): a number, or a function of the wall clock."""

ILLEGAL_FUNCTION: Final = 1
ILLEGAL_ADDRESS: Final = 2
ILLEGAL_VALUE: Final = 3

_HEADER: Final = struct.Struct(">HHHB")
"""Transaction, protocol (0), bytes that follow, unit (Modbus Messaging on TCP/IP V1.0b section 3.1.3)."""

_LONGEST: Final = 254
"""Bytes that may follow the length: unit and a PDU of 253 bytes."""

_TABLES: Final = {
    1: "coil",
    2: "discrete",
    3: "holding",
    4: "input",
    5: "coil",
    6: "holding",
    15: "coil",
    16: "holding",
}
_MOST: Final = {1: 2000, 2: 2000, 3: 125, 4: 125, 15: 1968, 16: 123}
_KEPT: Final = 100_000


@dataclass(frozen=True, slots=True)
class Question:
    """One request as it arrived."""

    unit: int
    function: int
    address: int
    count: int


class _Exception(Exception):
    def __init__(self, code: int) -> None:
        self.code = code


class Unit:
    """One device.

    coil, discrete, holding, input  its tables
    is_mute    answers nothing
    delay      seconds before each answer
    exception  answers everything with this code
    garbage    answers everything with these bytes
    frozen     addresses of holding registers that take a write and keep their value
    """

    def __init__(self) -> None:
        self.coil: dict[int, Content] = {}
        self.discrete: dict[int, Content] = {}
        self.holding: dict[int, Content] = {}
        self.input: dict[int, Content] = {}
        self.is_mute = False
        self.delay = 0.0
        self.exception: int | None = None
        self.garbage: bytes | None = None
        self.frozen: set[int] = set()

    def answer(self, function: int, data: bytes, time: float) -> bytes:
        """The answer to one request: function code and data, without header."""
        try:
            if self.exception is not None:
                raise _Exception(self.exception)
            if function not in _TABLES:
                raise _Exception(ILLEGAL_FUNCTION)
            if len(data) < 4:
                raise _Exception(ILLEGAL_VALUE)
            table: dict[int, Content] = getattr(self, _TABLES[function])
            address, number = struct.unpack_from(">HH", data)
            if function <= 4:
                return bytes((function,)) + self._read(table, function, address, number, time)
            self._write(table, function, address, number, data[4:])
            return bytes((function,)) + data[:4]
        except _Exception as refusal:
            return bytes((function | 0x80, refusal.code))

    def _read(self, table: dict[int, Content], function: int, address: int, count: int, time: float) -> bytes:
        if not 1 <= count <= _MOST[function]:
            raise _Exception(ILLEGAL_VALUE)
        try:
            found = [table[at] for at in range(address, address + count)]
        except KeyError:
            raise _Exception(ILLEGAL_ADDRESS) from None
        values = [content(time) if callable(content) else content for content in found]
        body = _pack_bits(values) if function <= 2 else struct.pack(f">{count}H", *values)
        return bytes((len(body),)) + body

    def _write(self, table: dict[int, Content], function: int, address: int, number: int, rest: bytes) -> None:
        values = [number]
        if function == 5:
            if number not in (0, 0xFF00):
                raise _Exception(ILLEGAL_VALUE)
            values = [number >> 15]
        elif function >= 15:
            size = (number + 7) // 8 if function == 15 else number * 2
            if not 1 <= number <= _MOST[function] or rest[:1] != bytes((size,)) or len(rest) != size + 1:
                raise _Exception(ILLEGAL_VALUE)
            values = _unpack_bits(rest[1:], number) if function == 15 else list(struct.unpack(f">{number}H", rest[1:]))
        places = range(address, address + len(values))
        if any(at not in table for at in places):
            raise _Exception(ILLEGAL_ADDRESS)
        table.update((at, value) for at, value in zip(places, values, strict=True) if at not in self.frozen)


class Simulator:
    """The server. ``units`` by identifier; questions to others get no answer, as on a serial line."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.units: dict[int, Unit] = {}
        self.questions: deque[Question] = deque(maxlen=_KEPT)
        self.accepted = 0
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    def unit(self, identifier: int) -> Unit:
        """The unit with this identifier; made on first use."""
        return self.units.setdefault(identifier, Unit())

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen; the port that was bound."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), host, port)
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
        for connection in list(self._connections):
            connection.cut()

    @property
    def connections(self) -> int:
        """Connections that stand."""
        return len(self._connections)


class _Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self._simulator.accepted += 1
        self._simulator._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._simulator._connections.discard(self)

    def cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= _HEADER.size:
            transaction, protocol, length, unit = _HEADER.unpack_from(self._buffer)
            if protocol != 0 or not 2 <= length <= _LONGEST:
                self.cut()
                return
            if len(self._buffer) < 6 + length:
                return
            request, self._buffer = self._buffer[7 : 6 + length], self._buffer[6 + length :]
            self._answer(transaction, unit, request)

    def _answer(self, transaction: int, identifier: int, request: bytes) -> None:
        address, count = struct.unpack_from(">HH", request.ljust(5, b"\0"), 1)
        self._simulator.questions.append(Question(identifier, request[0], address, count))
        unit = self._simulator.units.get(identifier)
        if unit is None or unit.is_mute:
            return
        body = unit.answer(request[0], request[1:], self._simulator.clock.time())
        frame = _HEADER.pack(transaction, 0, len(body) + 1, identifier) + body
        if unit.garbage is not None:
            frame = unit.garbage
        if unit.delay > 0:
            asyncio.get_running_loop().call_later(unit.delay, self._send, frame)
        else:
            self._send(frame)

    def _send(self, frame: bytes) -> None:
        if self._transport is not None:
            self._transport.write(frame)


def _pack_bits(values: list[int]) -> bytes:
    packed = sum(bool(value) << at for at, value in enumerate(values))
    return packed.to_bytes((len(values) + 7) // 8, "little")


def _unpack_bits(data: bytes, count: int) -> list[int]:
    packed = int.from_bytes(data, "little")
    return [packed >> at & 1 for at in range(count)]
