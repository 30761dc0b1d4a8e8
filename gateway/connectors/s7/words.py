"""What an S7 frame says, in words, for the trace. Pure."""

from __future__ import annotations

import struct
from typing import Final

from gateway.connectors.s7 import frames, messages
from gateway.connectors.s7.address import AREAS
from gateway.errors import Malformed

_AREAS: Final = {code: name for name, code in AREAS.items()}
_SPECIFICATION: Final = 12
"""Bytes of one variable in a question."""


def frame_words(frame: bytes) -> str:
    """``write DB1 byte 4, 2 bytes``; ``read: 2 pieces: 41b20000, error 0x05: ...``."""
    try:
        code, body = frames.parse(frame[4:])
    except (Malformed, IndexError):
        return "no whole frame of S7"
    if code != frames.DATA:
        names = {frames.CONNECT: "connect", frames.CONFIRM: "connected", frames.DISCONNECT: "disconnected"}
        return names.get(code, f"transport message 0x{code:02x}")
    try:
        return _message(body)
    except (Malformed, struct.error, IndexError):
        return "no whole message of S7"


def _message(body: bytes) -> str:
    kind, _, number, parameters, _ = struct.unpack_from(">BHHHH", body, 1)
    if kind == 1:
        return f"{_question(body[10 : 10 + parameters], body[10 + parameters :])} (number {number})"
    if kind == 7:
        return f"question about the controller itself, or its answer (number {number})"
    answer = messages.parse(body)
    return f"{_answer(answer)} (number {number})"


def _question(parameters: bytes, data: bytes) -> str:
    function = parameters[0]
    if function == messages.SETUP:
        return f"agree on messages of {int.from_bytes(parameters[6:8])} bytes"
    if function not in (messages.READ, messages.WRITE):
        return f"function {function}"
    places = [
        _place(parameters[at : at + _SPECIFICATION])
        for at in range(2, 2 + parameters[1] * _SPECIFICATION, _SPECIFICATION)
    ]
    verb = "read" if function == messages.READ else "write"
    return f"{verb} {', '.join(places)}" + (f": {data[4:].hex()}" if function == messages.WRITE else "")


def _place(specification: bytes) -> str:
    size, count, block = specification[3], *struct.unpack_from(">HH", specification, 4)
    area, bits = specification[8], int.from_bytes(specification[9:12])
    name = _AREAS.get(area, f"area 0x{area:02x}")
    where = f"{name}{block}" if block else name
    return f"{where} byte {bits // 8}" + (f" bit {bits % 8}" if size == 1 else f", {count} bytes")


def _answer(answer: messages.Answer) -> str:
    if answer.error:
        return str(messages.DeviceError(answer.error))
    if answer.function == messages.SETUP:
        return f"messages of {int.from_bytes(answer.parameters[6:8])} bytes"
    if answer.function == messages.WRITE:
        code = answer.data[0] if answer.data else 0
        return "written" if code == 0xFF else str(messages.DeviceError(code))
    if answer.function != messages.READ:
        return f"answer to function {answer.function}"
    found, data, at = [], answer.data, 0
    for _ in range(answer.parameters[1]):
        code, kind, length = struct.unpack_from(">BBH", data, at)
        size = 0 if code != 0xFF else length if kind in (0x03, 0x07, 0x09) else (length + 7) // 8
        found.append(data[at + 4 : at + 4 + size].hex() if code == 0xFF else str(messages.DeviceError(code)))
        at += 4 + size + size % 2
    return f"{len(found)} pieces: {', '.join(found)}"
