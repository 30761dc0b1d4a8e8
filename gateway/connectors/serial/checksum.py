"""Checksums of serial frames: what they are called, how they are computed, where they stand. Pure.

The parameters of the CRCs are those of Ross Williams' model ("A painless guide to CRC error detection algorithms",
1993) as Greg Cook's catalogue of parametrised CRC algorithms lists them; a test holds each against its check value,
the CRC of the nine characters ``123456789``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

Order = Literal["big", "little"]
Form = Literal["bytes", "hex"]


@dataclass(frozen=True, slots=True)
class Crc:
    """One CRC: width in bits, polynomial, first value, whether bits are taken and given lowest first, last xor."""

    width: int
    polynomial: int
    first: int
    is_reflected: bool
    last: int

    def __call__(self, data: bytes) -> int:
        table, mask = _table(self.width, self.polynomial, self.is_reflected), (1 << self.width) - 1
        if self.is_reflected:
            crc = _reversed(self.first, self.width)
            for byte in data:
                crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
        else:
            crc, shift = self.first, self.width - 8
            for byte in data:
                crc = (crc << 8 & mask) ^ table[crc >> shift ^ byte]
        return crc ^ self.last


def _reversed(value: int, width: int) -> int:
    return int(f"{value:0{width}b}"[::-1], 2)


@cache
def _table(width: int, polynomial: int, is_reflected: bool) -> tuple[int, ...]:
    mask, top = (1 << width) - 1, 1 << width - 1
    table = []
    for byte in range(256):
        crc = (_reversed(byte, 8) if is_reflected else byte) << width - 8
        for _ in range(8):
            crc = (crc << 1 ^ polynomial if crc & top else crc << 1) & mask
        table.append(_reversed(crc, width) if is_reflected else crc)
    return tuple(table)


def _xor8(data: bytes) -> int:
    result = 0
    for byte in data:
        result ^= byte
    return result


SUMS: Final[dict[str, tuple[int, Callable[[bytes], int]]]] = {
    "sum8": (1, lambda data: sum(data) & 0xFF),
    "sum16": (2, lambda data: sum(data) & 0xFFFF),
    "lrc": (1, lambda data: -sum(data) & 0xFF),
    "xor8": (1, _xor8),
    "crc8": (1, Crc(8, 0x07, 0x00, False, 0x00)),
    "crc8-maxim": (1, Crc(8, 0x31, 0x00, True, 0x00)),
    "crc16-arc": (2, Crc(16, 0x8005, 0x0000, True, 0x0000)),
    "crc16-modbus": (2, Crc(16, 0x8005, 0xFFFF, True, 0x0000)),
    "crc16-ccitt-false": (2, Crc(16, 0x1021, 0xFFFF, False, 0x0000)),
    "crc16-xmodem": (2, Crc(16, 0x1021, 0x0000, False, 0x0000)),
    "crc16-kermit": (2, Crc(16, 0x1021, 0x0000, True, 0x0000)),
    "crc16-x25": (2, Crc(16, 0x1021, 0xFFFF, True, 0xFFFF)),
    "crc32": (4, Crc(32, 0x04C11DB7, 0xFFFFFFFF, True, 0xFFFFFFFF)),
    "crc32c": (4, Crc(32, 0x1EDC6F41, 0xFFFFFFFF, True, 0xFFFFFFFF)),
}
"""Bytes of the checksum, and how it is computed. lrc is the two's complement of the sum, as of Modbus ASCII."""


class Checksum:
    """The checksum of one kind of frame, which stands at its end.

    name   one of SUMS
    form   bytes, or hexadecimal digits
    order  which of several bytes comes first; the digits of ``hex`` are always highest first for ``big``
    skip   bytes at the begin of the frame that are not covered
    mark   bytes between what is covered and the checksum, as the ``*`` of NMEA 0183
    """

    __slots__ = ("_compute", "_form", "_mark", "_order", "_size", "_skip")

    def __init__(self, name: str, form: Form = "bytes", order: Order = "big", skip: int = 0, mark: bytes = b"") -> None:
        self._size, self._compute = SUMS[name]
        self._form = form
        self._order: Order = order
        self._skip = skip
        self._mark = mark

    @property
    def length(self) -> int:
        """Bytes that mark and checksum take."""
        return len(self._mark) + self._size * (2 if self._form == "hex" else 1)

    def add(self, body: bytes) -> bytes:
        """The frame: ``body``, mark and checksum."""
        return body + self._mark + self._written(body)

    def check(self, frame: bytes) -> bytes:
        """The body of a frame. Raises ValueError when the frame is too short or its checksum is wrong."""
        end = len(frame) - self.length
        if end < self._skip:
            raise ValueError("too short for its checksum")
        body, found = frame[:end], frame[end + len(self._mark) :]
        if frame[end : end + len(self._mark)] != self._mark:
            raise ValueError("no mark before the checksum")
        expected = self._written(body)
        if (found.upper() if self._form == "hex" else found) != expected:
            raise ValueError("wrong checksum")
        return body

    def _written(self, body: bytes) -> bytes:
        value = self._compute(body[self._skip :]).to_bytes(self._size, self._order)
        return value.hex().upper().encode() if self._form == "hex" else value
