"""Where a value stands in a controller: ``DB1.DBD4``, ``M10.0``, ``IW0``, ``EB3``.

The letters are Siemens' own, English and German (I or E input, Q or A output, M flag); X, B, W and D say how wide the
place is: a bit, one byte, two, four. Pure: text in, numbers out.
"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

AREAS: Final = {"I": 0x81, "Q": 0x82, "M": 0x83, "DB": 0x84}
"""Area codes of the S7-ANY pointer (process inputs, outputs, flags, data blocks)."""

LAST_BYTE: Final = 65_535
LAST_BLOCK: Final = 65_535

Width = Literal["", "X", "B", "W", "D"]

WIDTHS: Final = {"X": 1, "B": 1, "W": 2, "D": 4}
"""Bytes that each letter spans; X is one bit in one byte."""

FORM: Final = (
    'must be like "DB1.DBD4" (four bytes), "DB1.DBW2" (two), "DB1.DBB6" (one, or the first of many), "DB1.DBX10.0" '
    '(a bit), or without DB for flags, inputs and outputs: "M10.0", "MW20", "IW0", "QB1"'
)

_GERMAN: Final = {"E": "I", "A": "Q"}
_BLOCK: Final = re.compile(r"DB([0-9]{1,9})\.DB([XBWD])([0-9]{1,9})(?:\.([0-9]{1,9}))?")
_PLAIN: Final = re.compile(r"([IQMEA])([XBWD]?)([0-9]{1,9})(?:\.([0-9]{1,9}))?")


class Place(NamedTuple):
    """A place in a controller's memory.

    area   one of AREAS
    block  number of the data block; 0 elsewhere
    byte   first byte
    bit    0 to 7 when the place is a bit, else None
    width  its letter
    """

    area: str
    block: int
    byte: int
    bit: int | None
    width: Width

    def __str__(self) -> str:
        head = f"DB{self.block}.DB{self.width}" if self.area == "DB" else self.area + self.width.replace("X", "")
        return f"{head}{self.byte}" + ("" if self.bit is None else f".{self.bit}")


def parse_place(text: str) -> Place:
    """The place behind ``"DB1.DBX10.0"``. Raises ValueError with what it must be."""
    compact = re.sub(r"\s", "", text).upper()
    if found := _BLOCK.fullmatch(compact):
        area, block, letter, byte, bit = "DB", int(found[1]), found[2], int(found[3]), found[4]
        if not 1 <= block <= LAST_BLOCK:
            raise ValueError(f"the number of a data block must be between 1 and {LAST_BLOCK}")
    elif found := _PLAIN.fullmatch(compact):
        area, block, letter, byte, bit = _GERMAN.get(found[1], found[1]), 0, found[2], int(found[3]), found[4]
        letter = letter or "X"
    else:
        raise ValueError(FORM)
    if byte > LAST_BYTE:
        raise ValueError(f"the byte must be between 0 and {LAST_BYTE}")
    if letter == "X":
        if bit is None:
            raise ValueError(f'a bit needs its number, 0 to 7: "{text}.0"; {FORM}')
        if int(bit) > 7:
            raise ValueError("the bit must be between 0 and 7")
    elif bit is not None:
        raise ValueError(f'only X has a bit: "{text[: -len(bit) - 1]}" without .{bit}, or X instead of {letter}')
    width: Width = letter  # type: ignore[assignment]
    return Place(area, block, byte, None if bit is None else int(bit), width)
