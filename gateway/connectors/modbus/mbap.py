"""The frame of Modbus TCP, for servers. Pure; Modbus Messaging on TCP/IP V1.0b section 3.1.3.

The client's side of it is pymodbus's.
"""

from __future__ import annotations

import struct
from typing import Final

from gateway.errors import Malformed

_HEADER: Final = struct.Struct(">HHHB")
"""Transaction, protocol (0), bytes that follow, unit."""

_LONGEST: Final = 254
"""Bytes that may follow the length: unit and a PDU of 253 bytes."""


def header(transaction: int, unit: int, pdu: bytes) -> bytes:
    """What goes before a PDU."""
    return _HEADER.pack(transaction, 0, len(pdu) + 1, unit)


def take_frame(data: bytes) -> tuple[int, int, bytes, bytes] | None:
    """The first frame: transaction, unit, PDU, and what follows it; None when it is not whole yet.

    Raises Malformed for bytes that are no frame: where the next one would begin cannot be known.
    """
    if len(data) < _HEADER.size:
        return None
    transaction, protocol, length, unit = _HEADER.unpack_from(data)
    if protocol != 0 or not 2 <= length <= _LONGEST:
        raise Malformed("no frame of Modbus TCP")
    end = 6 + length
    return (transaction, unit, data[7:end], data[end:]) if len(data) >= end else None
