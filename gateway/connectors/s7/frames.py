"""TPKT and COTP around an S7 message: ISO transport over TCP (RFC 1006, RFC 905 class 0). Pure.

``Frames`` takes bytes as they arrive and gives whole TPDUs; what breaks the rules raises Malformed, and the
connection is of no use any more.
"""

from __future__ import annotations

import struct
from typing import Final

from gateway.errors import Malformed

CONNECT: Final = 0xE0
CONFIRM: Final = 0xD0
DISCONNECT: Final = 0x80
DATA: Final = 0xF0

_VERSION: Final = 3
_LONGEST: Final = 8192 + 7
"""Bytes of the longest frame; no controller agrees to a message of more than 960 bytes."""

_END: Final = 0x80
_SIZE, _CALLING, _CALLED = 0xC0, 0xC1, 0xC2
_TPDU_1024: Final = 10


def tpkt(body: bytes) -> bytes:
    """One frame (RFC 1006 section 6)."""
    return struct.pack(">BBH", _VERSION, 0, len(body) + 4) + body


def connect_request(local: int, remote: int) -> bytes:
    """The frame that asks for a transport connection between two TSAPs."""
    parameters = struct.pack(">BBBBBHBBH", _SIZE, 1, _TPDU_1024, _CALLING, 2, local, _CALLED, 2, remote)
    return tpkt(struct.pack(">BBHHB", 6 + len(parameters), CONNECT, 0, 1, 0) + parameters)


def data(message: bytes) -> bytes:
    """The frame of one S7 message."""
    return tpkt(struct.pack(">BBB", 2, DATA, _END) + message)


def parse(tpdu: bytes) -> tuple[int, bytes]:
    """The code of a TPDU, and what a data TPDU carries. Raises Malformed."""
    length = tpdu[0] if tpdu else 0
    if length < 2 or length + 1 > len(tpdu):
        raise Malformed("a transport header that is longer than its frame")
    code = tpdu[1] & 0xF0
    if code == DATA and tpdu[2] & _END == 0:
        raise Malformed("a message in several parts; none was agreed to be that long")
    return code, tpdu[length + 1 :] if code == DATA else tpdu[: length + 1]


class Frames:
    """A stream of bytes, cut into TPDUs."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, received: bytes) -> list[bytes]:
        """The TPDUs that are whole now. Raises Malformed."""
        self._buffer += received
        whole = []
        while len(self._buffer) >= 4:
            version, _, length = struct.unpack_from(">BBH", self._buffer)
            if version != _VERSION or not 7 <= length <= _LONGEST:
                raise Malformed("these bytes are not ISO transport over TCP; is it an S7 controller?")
            if len(self._buffer) < length:
                break
            whole.append(bytes(self._buffer[4:length]))
            del self._buffer[:length]
        return whole
