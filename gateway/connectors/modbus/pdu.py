"""Questions of a client, and what their answers look like. Pure; Modbus Application Protocol V1.1b3 section 6.

A *PDU* is a function code and its data, the same on every transport; what is around it is ``framing.py``. The length
of a good answer follows from the question, so an answer of any other length is not one to this question.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from gateway.errors import GatewayError

READ: Final = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
"""Function codes that read, by table."""

WRITE_COIL: Final = 5
WRITE_REGISTER: Final = 6
WRITE_COILS: Final = 15
WRITE_REGISTERS: Final = 16
MASK_WRITE: Final = 22

MAX_BITS: Final = 2000
MAX_WORDS: Final = 125
"""Most in one request that reads (sections 6.1 and 6.3)."""

EXCEPTIONS: Final = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure",
    5: "acknowledged, still working",
    6: "device busy",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway got no answer from the unit",
}
"""Exception codes in words (section 7)."""

_ON: Final = 0xFF00


class Timeout(GatewayError):
    """The unit did not answer in time. What it was asked to write may have been written.

    is_heard  something else arrived in that time
    """

    def __init__(self, text: str, *, is_heard: bool = False) -> None:
        super().__init__(text)
        self.is_heard = is_heard


class DeviceError(GatewayError):
    """The unit answered with an exception; ``code`` as in EXCEPTIONS."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exception {code}, {EXCEPTIONS.get(code, 'unknown')}")
        self.code = code


class Question(NamedTuple):
    """One question to one unit.

    pdu    function code and data
    size   bytes of a good answer, function code included
    """

    unit: int
    pdu: bytes
    size: int

    @property
    def function(self) -> int:
        """Its function code."""
        return self.pdu[0]

    @property
    def is_read(self) -> bool:
        """Whether the answer begins with the number of bytes that follow."""
        return self.pdu[0] <= 4


def read_question(table: str, unit: int, address: int, count: int) -> Question:
    """Read ``count`` registers or bits."""
    size = (count + 7) // 8 if table in ("coil", "discrete") else 2 * count
    return Question(unit, struct.pack(">BHH", READ[table], address, count), 2 + size)


def write_question(table: str, unit: int, address: int, values: Sequence[int], *, as_block: bool = False) -> Question:
    """Write registers, or bits as 0 and 1; one value with the function for one, unless ``as_block``."""
    if len(values) == 1 and not as_block:
        if table == "coil":
            return Question(unit, struct.pack(">BHH", WRITE_COIL, address, _ON if values[0] else 0), 5)
        return Question(unit, struct.pack(">BHH", WRITE_REGISTER, address, values[0]), 5)
    if table == "coil":
        data = pack_bits(values)
        return Question(unit, struct.pack(">BHHB", WRITE_COILS, address, len(values), len(data)) + data, 5)
    head = struct.pack(">BHHB", WRITE_REGISTERS, address, len(values), 2 * len(values))
    return Question(unit, head + struct.pack(f">{len(values)}H", *values), 5)


def mask_question(unit: int, address: int, keep: int, put: int) -> Question:
    """Set a holding register to (what it is & ``keep``) | (``put`` & ~``keep``), in the device (section 6.16)."""
    return Question(unit, struct.pack(">BHHH", MASK_WRITE, address, keep, put), 7)


def fits(question: Question, pdu: bytes) -> bool:
    """Whether ``pdu`` can be the answer to ``question``: its function, its length, and for a write its address and
    value. An exception fits when it is one to the function."""
    if not pdu:
        return False
    if pdu[0] == question.function | 0x80:
        return len(pdu) == 2
    if pdu[0] != question.function or len(pdu) != question.size:
        return False
    if question.is_read:
        return pdu[1] == question.size - 2
    return pdu == question.pdu[: question.size]


def contents(question: Question, pdu: bytes, count: int) -> list[int]:
    """The ``count`` registers or bits that a fitting answer brings. Raises DeviceError for an exception."""
    if pdu[0] & 0x80:
        raise DeviceError(pdu[1])
    if question.function <= 2:
        return unpack_bits(pdu[2:], count)
    return list(struct.unpack(f">{count}H", pdu[2:]))


def pack_bits(values: Sequence[int]) -> bytes:
    """Bits to bytes, the first one lowest (section 6.1)."""
    packed = sum(bool(value) << at for at, value in enumerate(values))
    return packed.to_bytes((len(values) + 7) // 8, "little")


def unpack_bits(data: bytes, count: int) -> list[int]:
    """The way back."""
    packed = int.from_bytes(data, "little")
    return [packed >> at & 1 for at in range(count)]
