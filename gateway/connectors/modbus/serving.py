"""The other side of the protocol: a question in, an answer out. Pure; Modbus Application Protocol V1.1b3 section 6.

What stands in the tables, and who may write them, is the business of whoever serves: the Modbus server that shows
points, the simulator.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, Protocol

from gateway.connectors.modbus.pdu import MASK_WRITE, WRITE_COIL, WRITE_COILS, pack_bits, unpack_bits

ILLEGAL_FUNCTION: Final = 1
ILLEGAL_ADDRESS: Final = 2
ILLEGAL_VALUE: Final = 3
FAILURE: Final = 4
BUSY: Final = 6

_TABLES: Final = {
    1: "coil",
    2: "discrete",
    3: "holding",
    4: "input",
    5: "coil",
    6: "holding",
    15: "coil",
    16: "holding",
    22: "holding",
}

_MOST: Final = {1: 2000, 2: 2000, 3: 125, 4: 125, 15: 1968, 16: 123}
"""Most registers or bits in one question, by function."""

_LENGTH: Final = {5: 5, 6: 5, 22: 7, 1: 5, 2: 5, 3: 5, 4: 5}

_ON: Final = 0xFF00


class Illegal(Exception):
    """A question that is answered with an exception; ``code`` says which (section 7)."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Tables(Protocol):
    """What is served. ``table``: coil, discrete, input or holding. Both raise Illegal."""

    def read(self, table: str, address: int, count: int) -> Sequence[int]: ...
    def write(self, table: str, address: int, values: Sequence[int]) -> None: ...


def serve(pdu: bytes, tables: Tables) -> bytes:
    """The answer to one question, both without what is around them. Any bytes get one."""
    function = pdu[0] if pdu else 0
    try:
        if function not in _TABLES:
            raise Illegal(ILLEGAL_FUNCTION)
        if len(pdu) < 5 or len(pdu) != _LENGTH.get(function, len(pdu)):
            raise Illegal(ILLEGAL_VALUE)
        address, number = struct.unpack_from(">HH", pdu, 1)
        table = _TABLES[function]
        if function <= 4:
            return _read(function, table, address, number, tables)
        if function == MASK_WRITE:
            put = int.from_bytes(pdu[5:7], "big")
            (word,) = tables.read(table, address, 1)
            tables.write(table, address, [word & number | put & ~number & 0xFFFF])
            return pdu
        tables.write(table, address, _values(function, number, pdu))
        return pdu[:5]
    except Illegal as refusal:
        return bytes((function | 0x80, refusal.code))


def _read(function: int, table: str, address: int, count: int, tables: Tables) -> bytes:
    if not 1 <= count <= _MOST[function]:
        raise Illegal(ILLEGAL_VALUE)
    if address + count > 65_536:
        raise Illegal(ILLEGAL_ADDRESS)
    values = tables.read(table, address, count)
    body = pack_bits(values) if function <= 2 else struct.pack(f">{count}H", *values)
    return bytes((function, len(body))) + body


def _values(function: int, number: int, pdu: bytes) -> list[int]:
    if function == WRITE_COIL:
        if number not in (0, _ON):
            raise Illegal(ILLEGAL_VALUE)
        return [number >> 15]
    if function == 6:
        return [number]
    size = (number + 7) // 8 if function == WRITE_COILS else number * 2
    if not 1 <= number <= _MOST[function] or len(pdu) != 6 + size or pdu[5] != size:
        raise Illegal(ILLEGAL_VALUE)
    address = int.from_bytes(pdu[1:3], "big")
    if address + number > 65_536:
        raise Illegal(ILLEGAL_ADDRESS)
    return unpack_bits(pdu[6:], number) if function == WRITE_COILS else list(struct.unpack(f">{number}H", pdu[6:]))
