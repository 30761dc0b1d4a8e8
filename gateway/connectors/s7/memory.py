"""The memory of a simulated S7 controller, and its answers to questions. Written from the protocol, by hand.

Pure: bytes of a question in, bytes of an answer out.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

from gateway.connectors.s7.address import AREAS
from gateway.errors import Malformed

LONGEST: Final = 960
"""Bytes of a message that an S7-1500 agrees to."""

_NAMES: Final = {code: name for name, code in AREAS.items()}
_BIT: Final = 1
_SIZES: Final = {1: 1, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 4, 8: 4}
"""Bytes of one element by the transport size in its address; bits take a byte each."""

DOES_NOT_EXIST: Final = 0x0A
OUT_OF_RANGE: Final = 0x05
NOT_ALLOWED: Final = 0x03
OK: Final = 0xFF


class Memory:
    """Areas of bytes: ``("DB", 1)``, ``("M", 0)``, ``("I", 0)``, ``("Q", 0)``.

    pdu       longest message it agrees to
    names     what it says that it is, by index of the identification (SZL 0x001c)
    kept      bytes, as (area, block, byte) and how many, that outlive ``clear``: declarations, not values
    frozen    bytes, as (area, block, byte), that take a write and keep their content
    refusal   code with which every read or write is refused: of one byte for each variable, of two for the whole
              answer; 0 is none
    """

    def __init__(self, pdu: int = 240) -> None:
        self.pdu = pdu
        self.areas: dict[tuple[str, int], bytearray] = {}
        self.names = {1: "simulated", 2: "CPU", 7: "CPU simulated by edge-gateway"}
        self.kept: dict[tuple[str, int, int], int] = {}
        self.frozen: set[tuple[str, int, int]] = set()
        self.refusal = 0
        self.reads = self.variables = 0

    def area(self, name: str, block: int, size: int = 0) -> bytearray:
        """An area, made or enlarged to ``size`` bytes."""
        area = self.areas.setdefault((name, block), bytearray())
        area.extend(bytes(max(0, size - len(area))))
        return area

    def clear(self) -> None:
        """Everything 0, as after a loss of power."""
        for (name, block), area in self.areas.items():
            heads = {at: area[at : at + size] for (n, b, at), size in self.kept.items() if (n, b) == (name, block)}
            area[:] = bytes(len(area))
            for at, head in heads.items():
                area[at : at + len(head)] = head

    def answer(self, question: bytes) -> bytes | None:
        """The answer to one message; None to one that this controller does not understand at all. Raises Malformed."""
        try:
            return self._answer(question)
        except (struct.error, IndexError):
            raise Malformed("a question that ends too early") from None

    def _answer(self, question: bytes) -> bytes | None:
        if len(question) < 10 or question[0] != 0x32:
            return None
        kind, _, number, length, data_length = struct.unpack_from(">BHHHH", question, 1)
        parameters = question[10 : 10 + length]
        content = question[10 + length : 10 + length + data_length]
        if not parameters:
            return None
        if kind == 7:
            return self._told(number, parameters, content)
        if kind != 1:
            return None
        if parameters[0] == 0xF0:
            return self._agree(number, parameters)
        if self.refusal > 0xFF:
            return _message(number, b"", b"", self.refusal)
        if parameters[0] == 4:
            return self._read(number, parameters)
        if parameters[0] == 5:
            return self._write(number, parameters, content)
        return _message(number, b"", b"", 0x8104)

    def _agree(self, number: int, parameters: bytes) -> bytes:
        asked = int.from_bytes(parameters[6:8])
        self.pdu = min(self.pdu, LONGEST)
        return _message(number, struct.pack(">BBHHH", 0xF0, 0, 1, 1, min(asked, self.pdu)), b"")

    def _read(self, number: int, parameters: bytes) -> bytes:
        count = parameters[1]
        self.reads += 1
        self.variables += count
        data = bytearray()
        for index in range(count):
            if len(data) % 2:
                data.append(0)
            data += self._item(parameters[2 + 12 * index : 14 + 12 * index])
        if len(data) + 14 > self.pdu or count > 20:
            return _message(number, b"", b"", 0x8500)
        return _message(number, bytes((4, count)), bytes(data))

    def _item(self, address: bytes) -> bytes:
        code, found = self._find(address)
        if code != OK:
            return struct.pack(">BBH", code, 0, 0)
        name, block, start, size, bit = found
        content = bytes(self.areas[name, block][start : start + size])
        if bit is not None:
            return struct.pack(">BBHB", OK, 3, 1, content[0] >> bit & 1)
        return struct.pack(">BBH", OK, 4, size * 8) + content

    def _write(self, number: int, parameters: bytes, data: bytes) -> bytes:
        codes, at = bytearray(), 0
        for index in range(parameters[1]):
            at += at % 2
            _, kind, length = struct.unpack_from(">BBH", data, at)
            size = length if kind in (3, 7, 9) else length // 8
            codes.append(self._put(parameters[2 + 12 * index : 14 + 12 * index], data[at + 4 : at + 4 + size]))
            at += 4 + size
        return _message(number, bytes((5, parameters[1])), bytes(codes))

    def _put(self, address: bytes, content: bytes) -> int:
        code, (name, block, start, size, bit) = self._find(address)
        if code != OK:
            return code
        if size != len(content):
            return 0x07
        if name == "I":
            return NOT_ALLOWED
        area = self.areas[name, block]
        for offset, byte in enumerate(content):
            if (name, block, start + offset) in self.frozen:
                continue
            if bit is not None:
                byte = area[start] & ~(1 << bit) | (byte & 1) << bit
            area[start + offset] = byte
        return OK

    def _find(self, address: bytes) -> tuple[int, tuple[str, int, int, int, int | None]]:
        nowhere = ("", 0, 0, 0, None)
        if self.refusal:
            return self.refusal, nowhere
        kind, count, block, code = struct.unpack_from(">BHHB", address, 3)
        bits = int.from_bytes(address[9:12])
        name = _NAMES.get(code, "")
        if kind not in _SIZES or not name:
            return 0x06, nowhere
        if (name, block) not in self.areas:
            return DOES_NOT_EXIST, nowhere
        start, size = bits // 8, count * _SIZES[kind]
        if start + size > len(self.areas[name, block]) or not count:
            return OUT_OF_RANGE, nowhere
        return OK, (name, block, start, size, bits % 8 if kind == _BIT else None)

    def _told(self, number: int, parameters: bytes, data: bytes) -> bytes:
        """What it is, the numbers of its data blocks, and what one is; nothing else of the user data functions."""
        asked = parameters[5:7]
        numbers = sorted(block for name, block in self.areas if name == "DB")
        found = b""
        if asked == b"\x43\x02" and data[4:6] == b"0A":
            found = b"".join(struct.pack(">HBB", block, 0x22, 0x05) for block in numbers)
        elif asked == b"\x43\x03" and data[4:6] == b"0A" and data[6:11].isdigit():
            block = int(data[6:11])
            if block in numbers:
                found = _block_info(block, len(self.areas["DB", block]))
        elif asked == b"\x44\x01" and data[4:6] == b"\x00\x1c":
            found = data[4:8] + _identity(self.names)
        error = 0 if found else 0xD209
        given = bytes((0, 1, 0x12, 8, 0x12, 0x80 | asked[0] & 15, asked[1], 1, 0, 0)) + struct.pack(">H", error)
        body = struct.pack(">BBH", 0xFF if found else 0x0A, 9 if found else 0, len(found)) + found
        return struct.pack(">BBHHHH", 0x32, 7, 0, number, len(given), len(body)) + given + body


def _block_info(block: int, size: int) -> bytes:
    """78 bytes, as Snap7's TResDataBlockInfo: number and length are what we know."""
    info = bytearray(78)
    info[0:2] = b"\x01\x00"
    info[2:4] = (74).to_bytes(2)
    info[9], info[10], info[11] = 1, 0x05, 0x0A
    info[12:14] = block.to_bytes(2)
    info[14:18] = (size + 36).to_bytes(4)
    info[40:42] = size.to_bytes(2)
    return bytes(info)


def _identity(names: Mapping[int, str]) -> bytes:
    """Records of index and text; the seventh stands in sixth place, as controllers send them."""
    records = [struct.pack(">H32s", index, names.get(index, "").encode()) for index in (1, 2, 3, 4, 5, 7)]
    return struct.pack(">HH", 34, len(records)) + b"".join(records)


def _message(number: int, parameters: bytes, data: bytes, error: int = 0) -> bytes:
    kind = 2 if not data and parameters[:1] != b"\xf0" else 3
    return struct.pack(">BBHHHHH", 0x32, kind, 0, number, len(parameters), len(data), error) + parameters + data
