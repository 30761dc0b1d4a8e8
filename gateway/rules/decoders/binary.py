"""Binary records by a description of their fields. Pure.

Source of the number formats: IEEE 754 and two's complement as Python's ``struct`` reads them, without padding.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from gateway.message import Message, Value
from gateway.rules.decoders.record import Decoder, Record
from gateway.rules.octets import plain

CODES: Final = {
    "int8": "b",
    "uint8": "B",
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "int64": "q",
    "uint64": "Q",
    "float16": "e",
    "float32": "f",
    "float64": "d",
    "bool": "?",
}

Bits = Mapping[str, tuple[int, int]]
"""Lowest and highest bit of each name."""


class Part(NamedTuple):
    """One field.

    type    a key of CODES, or ``text``, ``hex``, ``skip``
    length  bytes of a text, of hex, of what is skipped
    repeat  how many times; more than once makes a list
    """

    name: str
    type: str
    order: str
    length: int = 1
    repeat: int = 1
    scale: float = 1.0
    offset: float = 0.0
    bits: Bits | None = None

    @property
    def size(self) -> int:
        """Bytes."""
        return (struct.calcsize(CODES[self.type]) if self.type in CODES else self.length) * self.repeat


def binary_decoder(parts: Sequence[Part], repeats: bool) -> Decoder:
    """Records of a fixed size. ``repeats``: a message holds several, one behind the other; else exactly one."""
    size = sum(part.size for part in parts)
    readers = [(part, _reader(part)) for part in parts]

    def run(message: Message) -> Iterator[Record]:
        data = message.payload
        if not repeats and len(data) != size:
            yield Record(None, f"has {len(data)} bytes, not {size}", data)
            return
        for at in range(0, len(data), size):
            raw = data[at : at + size]
            if len(raw) < size:
                yield Record(None, f"{len(raw)} bytes are left over; a record has {size}", raw)
                return
            yield _record(readers, raw)

    return run


def _record(readers: Sequence[tuple[Part, Callable[[bytes, int], Value]]], raw: bytes) -> Record:
    record: dict[str, Value] = {}
    at = 0
    for part, read in readers:
        if part.type != "skip":
            value = record[part.name] = read(raw, at)
            for name, (low, high) in (part.bits or {}).items():
                found = value >> low & (1 << high - low + 1) - 1  # bits are of whole numbers that are not scaled
                record[name] = bool(found) if low == high else found
        at += part.size
    return Record(record, raw=raw)


def _reader(part: Part) -> Callable[[bytes, int], Value]:
    if part.type in ("text", "hex", "skip"):
        return _bytes_reader(part)
    one = struct.Struct(("<" if part.order == "little" else ">") + f"{part.repeat}{CODES[part.type]}")
    finish = _scaling(part.scale, part.offset)
    if part.repeat == 1:
        return lambda raw, at: finish(one.unpack_from(raw, at)[0])
    return lambda raw, at: [finish(value) for value in one.unpack_from(raw, at)]


def _bytes_reader(part: Part) -> Callable[[bytes, int], Value]:
    convert = plain if part.type == "text" else bytes.hex
    length, repeat = part.length, part.repeat

    def run(raw: bytes, at: int) -> Value:
        found = [convert(raw[begin : begin + length]) for begin in range(at, at + length * repeat, length)]
        return found if repeat > 1 else found[0]

    return run


def _scaling(scale: float, offset: float) -> Callable[[Any], Value]:
    if (scale, offset) == (1, 0):
        return plain

    def run(value: Any) -> Value:
        found = plain(value)
        # Twelve digits: 713 by 0.1 is 71.3, whatever binary fractions say.
        return None if found is None else float(f"{found * scale + offset:.12g}")

    return run
