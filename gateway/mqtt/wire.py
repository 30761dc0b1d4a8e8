"""The data types of the wire (MQTT 5 section 1.5): a bounded reader, and functions that pack.

``Reader`` walks over a part of a buffer without copying it. No method reads past the end of its part; each
raises ``Malformed`` instead, with the packet and the field in its text. The packing functions raise ValueError
for what the wire cannot carry.
"""

from __future__ import annotations

from typing import Final

from gateway.errors import Malformed
from gateway.mqtt.reasons import MALFORMED_PACKET

MAX_VARINT: Final = 268_435_455
"""Largest Variable Byte Integer: four bytes of seven bits (section 1.5.5)."""

MAX_BYTES: Final = 65_535
"""Longest string or binary data: a two byte length (sections 1.5.4 and 1.5.6)."""


class Reader:
    """Reads fields one after the other from ``data[at:end]``; ``what`` is the packet's name, for errors."""

    __slots__ = ("data", "at", "end", "what")

    def __init__(self, data: bytes, at: int, end: int, what: str) -> None:
        self.data = data
        self.at = at
        self.end = end
        self.what = what

    def fail(self, text: str, reason: int = MALFORMED_PACKET) -> Malformed:
        """The error to raise, with the packet's name in front."""
        return Malformed(f"{self.what}: {text}", reason)

    def take(self, size: int, field: str) -> int:
        """Step over ``size`` bytes; the position where they begin."""
        at = self.at
        if size > self.end - at:
            raise self.fail(f"{field} needs {size} bytes, {self.end - at} are left")
        self.at = at + size
        return at

    def byte(self, field: str) -> int:
        return self.data[self.take(1, field)]

    def two_bytes(self, field: str) -> int:
        at = self.take(2, field)
        return self.data[at] << 8 | self.data[at + 1]

    def four_bytes(self, field: str) -> int:
        at = self.take(4, field)
        return int.from_bytes(self.data[at : at + 4], "big")

    def varint(self, field: str) -> int:
        """A Variable Byte Integer, at most four bytes; [MQTT-1.5.5-1] no byte more than needed."""
        if self.at < self.end and self.data[self.at] < 0x80:
            self.at += 1
            return self.data[self.at - 1]
        value = 0
        for shift in (0, 7, 14, 21):
            byte = self.byte(field)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if byte == 0 and shift:
                    raise self.fail(f"{field} {value} is written with more bytes than it needs")
                return value
        raise self.fail(f"{field} is longer than four bytes")

    def binary(self, field: str) -> bytes:
        data = self.data
        at = self.at + 2
        if at <= self.end:
            stop = at + (data[at - 2] << 8 | data[at - 1])
            if stop <= self.end:
                self.at = stop
                return data[at:stop]
        at = self.take(self.two_bytes(field), field)  # raises, with the number that is missing
        return data[at : self.at]

    def text(self, field: str) -> str:
        """A UTF-8 string: [MQTT-1.5.4-1] well formed, without surrogates, [MQTT-1.5.4-2] without NUL."""
        raw = self.binary(field)
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            raise self.fail(f"{field} is not UTF-8 at byte {error.start}: {error.reason}") from None
        if "\0" in text:
            raise self.fail(f"{field} holds a NUL character")
        return text

    def part(self, size: int, field: str) -> Reader:
        """A reader for the next ``size`` bytes; this one steps over them."""
        at = self.take(size, field)
        return Reader(self.data, at, at + size, self.what)

    def left(self) -> int:
        """How many bytes are left."""
        return self.end - self.at

    def finish(self) -> None:
        """The packet ends here: anything that follows is an error."""
        if self.at != self.end:
            raise self.fail(f"{self.end - self.at} bytes too many at the end")


def pack_varint(value: int) -> bytes:
    """A Variable Byte Integer in as few bytes as it needs."""
    if 0 <= value < 0x80:
        return bytes((value,))
    if not 0 <= value <= MAX_VARINT:
        raise ValueError(f"{value} does not fit a Variable Byte Integer: 0 to {MAX_VARINT}")
    if value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def pack_int(value: int, size: int) -> bytes:
    """An unsigned integer of ``size`` bytes, big-endian."""
    try:
        return value.to_bytes(size, "big")
    except OverflowError:
        raise ValueError(f"{value} does not fit {size} unsigned bytes") from None


def pack_binary(data: bytes) -> bytes:
    """Binary data behind its two byte length."""
    if len(data) > MAX_BYTES:
        raise ValueError(f"{len(data)} bytes are too long for a field: at most {MAX_BYTES}")
    return len(data).to_bytes(2, "big") + data


def pack_text(text: str) -> bytes:
    """A UTF-8 string behind its two byte length; no surrogates, no NUL (section 1.5.4)."""
    if "\0" in text:
        raise ValueError(f"{text[:40]!r} holds a NUL character")
    return pack_binary(text.encode())
