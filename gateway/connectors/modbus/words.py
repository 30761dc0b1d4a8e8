"""What a Modbus PDU says, in words, for the trace. Pure; Modbus Application Protocol V1.1b3 section 6."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from gateway.connectors.modbus import pdu as known
from gateway.connectors.modbus.mbap import take_frame
from gateway.connectors.modbus.pdu import EXCEPTIONS, unpack_bits
from gateway.errors import Malformed

_TABLES: Final = {code: table for table, code in known.READ.items()}

_NAMES: Final = {
    known.WRITE_COIL: "write coil",
    known.WRITE_REGISTER: "write holding",
    known.WRITE_COILS: "write coils",
    known.WRITE_REGISTERS: "write holding",
    known.MASK_WRITE: "mask write holding",
}

MOST: Final = 32
"""Values that are listed."""


def question_words(unit: int, pdu: bytes) -> str:
    """``unit 1: read input 30, 2 registers (function 4)``; where bytes are missing, that."""
    function = pdu[0] if pdu else 0
    try:
        return f"unit {unit}: {_question(function, pdu)} (function {function})"
    except struct.error:
        return f"unit {unit}: function {function}, cut off"


def _question(function: int, pdu: bytes) -> str:
    if function in _TABLES:
        address, count = struct.unpack_from(">HH", pdu, 1)
        return f"read {_TABLES[function]} {address}, {count} {'bits' if function <= 2 else 'registers'}"
    name = _NAMES.get(function, "unknown function")
    if function == known.WRITE_COIL:
        address, value = struct.unpack_from(">HH", pdu, 1)
        return f"{name} {address}: {'on' if value else 'off'}"
    if function == known.WRITE_REGISTER:
        address, value = struct.unpack_from(">HH", pdu, 1)
        return f"{name} {address}: {value}"
    if function == known.MASK_WRITE:
        address, keep, put = struct.unpack_from(">HHH", pdu, 1)
        return f"{name} {address}: keep 0x{keep:04x}, put 0x{put:04x}"
    if function in (known.WRITE_COILS, known.WRITE_REGISTERS):
        address, count = struct.unpack_from(">HH", pdu, 1)
        values = unpack_bits(pdu[6:], count) if function == known.WRITE_COILS else _registers(pdu[6:])
        return f"{name} {address}, {count}: {_listed(values)}"
    return name


def answer_words(unit: int, pdu: bytes, question: bytes = b"") -> str:
    """``unit 1: 2 registers: 17254 6554``, or the exception. ``question``: the PDU that it answers; with it bits are
    counted to the one."""
    if not pdu:
        return f"unit {unit}: nothing"
    function = pdu[0]
    if function & 0x80:
        code = pdu[1] if len(pdu) > 1 else 0
        return f"unit {unit}: exception {code}, {EXCEPTIONS.get(code, 'unknown')} (to function {function & 0x7F})"
    if function <= 2:
        count = int.from_bytes(question[3:5]) if len(question) >= 5 else 8 * len(pdu[2:])
        return f"unit {unit}: {count} bits: {_listed(unpack_bits(pdu[2:], count))}"
    if function <= 4:
        values = _registers(pdu[2:])
        return f"unit {unit}: {len(values)} registers: {_listed(values)}"
    if function in _NAMES:
        return f"unit {unit}: done ({_NAMES[function]} {int.from_bytes(pdu[1:3])})"
    return f"unit {unit}: answer to function {function}"


def _registers(data: bytes) -> list[int]:
    return list(struct.unpack(f">{len(data) // 2}H", data[: len(data) // 2 * 2]))


def _listed(values: list[int]) -> str:
    return " ".join(map(str, values[:MOST])) + (f" ... {len(values) - MOST} more" if len(values) > MOST else "")


def tcp_frames(data: bytes) -> Iterator[tuple[bytes, int, int, bytes]]:
    """The frames of Modbus TCP in bytes as they were read: frame, transaction, unit, PDU. What is no whole frame comes
    as it is, with the transaction -1."""
    while data:
        try:
            found = take_frame(data)
        except Malformed:
            found = None
        if found is None:
            yield data, -1, 0, b""
            return
        transaction, unit, pdu, rest = found
        yield data[: len(data) - len(rest)], transaction, unit, pdu
        data = rest
