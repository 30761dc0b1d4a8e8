"""What stands around a PDU on a serial line: RTU and ASCII frames. Pure; Modbus over Serial Line V1.02 section 2.5.

A frame is looked for at every place of what has arrived: bytes of noise before it, or a late frame of another
length, cost nothing but themselves. It counts only with its checksum, and for the client only when it fits the
question; five bytes that must be right make a frame in noise less likely than one in a million million.
"""

from __future__ import annotations

import struct
from typing import Final

from gateway.connectors.modbus.endpoint import Framing
from gateway.connectors.modbus.pdu import Question, fits

MAX_PDU: Final = 253
"""Bytes of a PDU at most (Modbus Application Protocol section 4.1)."""

MAX_RTU: Final = 256
MAX_ASCII: Final = 513
"""Bytes of a frame at most (sections 2.5.1 and 2.5.2)."""

_CRC: Final[list[int]] = []
for _byte in range(256):
    _value = _byte
    for _ in range(8):
        _value = (_value >> 1) ^ (0xA001 if _value & 1 else 0)
    _CRC.append(_value)


def crc16(data: bytes) -> int:
    """The checksum of RTU: polynomial 0x8005 reflected, from 0xFFFF (section 6.2.2)."""
    crc = 0xFFFF
    for byte in data:
        crc = (crc >> 8) ^ _CRC[(crc ^ byte) & 0xFF]
    return crc


def lrc(data: bytes) -> int:
    """The checksum of ASCII: what makes the sum of all bytes 0 (section 6.2.1)."""
    return -sum(data) & 0xFF


def frame(framing: Framing, unit: int, pdu: bytes) -> bytes:
    """The bytes that go on the line."""
    body = bytes((unit,)) + pdu
    if framing == "ascii":
        return b":" + (body + bytes((lrc(body),))).hex().upper().encode() + b"\r\n"
    return body + struct.pack("<H", crc16(body))


def answer_in(framing: Framing, data: bytes, question: Question) -> bytes | None:
    """The PDU that answers ``question`` in what has arrived; None when there is none yet."""
    return _ascii_answer(data, question) if framing == "ascii" else _rtu_answer(data, question)


def _rtu_answer(data: bytes, question: Question) -> bytes | None:
    function = question.function
    last = len(data) - 5  # an exception is the shortest frame
    start = data.find(question.unit)
    while 0 <= start <= last:
        begins = data[start + 1]
        if begins == function or begins == function | 0x80:
            end = start + (1 + question.size if begins == function else 3)
            if _is_whole(data, start, end) and fits(question, data[start + 1 : end]):
                return data[start + 1 : end]
        start = data.find(question.unit, start + 1)
    return None


def _is_whole(data: bytes, start: int, end: int) -> bool:
    return len(data) >= end + 2 and data[end] | data[end + 1] << 8 == crc16(data[start:end])


def _ascii_answer(data: bytes, question: Question) -> bytes | None:
    for body in _ascii_bodies(data):
        if body[0] == question.unit and fits(question, body[1:]):
            return body[1:]
    return None


def _ascii_bodies(data: bytes) -> list[bytes]:
    """Unit and PDU of each whole frame. A colon always begins anew."""
    found = []
    for piece in data.split(b":")[1:]:
        text, end, _ = piece.partition(b"\r\n")
        if not end or len(text) > MAX_ASCII - 3:
            continue
        try:
            body = bytes.fromhex(text.decode("ascii"))
        except ValueError:
            continue
        if len(body) >= 3 and not sum(body) & 0xFF:
            found.append(body[:-1])
    return found


def question_size(pdu: bytes) -> int | None:
    """Length of a question by its first bytes, as a server must find it: RTU marks the end by silence alone."""
    if not pdu:
        return None
    function = pdu[0]
    if function in (1, 2, 3, 4, 5, 6):
        return 5
    if function == 8:
        return 5
    if function == 22:
        return 7
    if function in (15, 16):
        return 6 + pdu[5] if len(pdu) >= 6 else None
    return 0


def take_question(framing: Framing, data: bytes) -> tuple[int, bytes, bytes] | None:
    """The first whole question in ``data`` for a server: unit, PDU, and what follows it; None when there is none."""
    if framing == "ascii":
        end = data.find(b"\r\n")
        while end >= 0:
            bodies = _ascii_bodies(data[: end + 2])
            if bodies:
                return bodies[-1][0], bodies[-1][1:], data[end + 2 :]
            end = data.find(b"\r\n", end + 2)
        return None
    for start in range(len(data) - 3):
        size = question_size(data[start + 1 : start + 8])
        if size and _is_whole(data, start, start + 1 + size):
            end = start + 1 + size
            return data[start], data[start + 1 : end], data[end + 2 :]
    return None
