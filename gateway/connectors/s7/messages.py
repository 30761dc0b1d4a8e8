"""S7 messages: questions made by python-snap7's protocol class, answers taken apart. No I/O. The only module that
imports the library (with ``doctor.py``).

Why answers to reads are taken apart here: ``S7Protocol`` raises for the whole answer when one of several variables does
not exist, and calls a refusal "truncated" whose length does not fit; we want to know which one, and why.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from snap7.datatypes import S7Area, S7WordLen
from snap7.error import S7Error, get_protocol_error_message
from snap7.s7protocol import S7Protocol

from gateway.connectors.s7.address import AREAS
from gateway.errors import GatewayError, Malformed

# What it has to say reaches us as exceptions.
logging.getLogger("snap7").setLevel(logging.CRITICAL + 1)

READ: Final = 4
WRITE: Final = 5
SETUP: Final = 0xF0

REFUSALS: Final = {
    0x01: "hardware fault",
    0x03: "access is not allowed; S7-1200/1500: permit PUT/GET",
    0x05: "the address is outside the block or area",
    0x06: "this type of data is not supported here",
    0x07: "the type of data does not fit",
    0x0A: "it does not exist; S7-1200/1500: the block must not have optimized access",
}
"""Return codes of single variables."""

NOT_THERE: Final = (0x03, 0x05, 0x06, 0x07, 0x0A)
"""Return codes that may be about a part of what was asked for."""

_HEADERS: Final = {
    0x8104: "it does not do this; S7-1200/1500: permit PUT/GET access in the protection settings",
    0x8500: "the message is too long for it",
    0xD602: "it is protected by a password",
}
"""Error words of whole answers, where the library's words say less."""

_PLAIN_LENGTHS: Final = (0x03, 0x07, 0x09)
"""Transport sizes whose length counts bytes (or bits that take one byte each); the others count bits."""


class DeviceError(GatewayError):
    """The controller refused. ``code`` is a return code (one byte) or an error word (two)."""

    def __init__(self, code: int) -> None:
        if code > 0xFF:
            words = _HEADERS.get(code) or str(get_protocol_error_message(code)).strip().rstrip(".")
            super().__init__(f"error 0x{code:04x}: {words}")
        else:
            super().__init__(f"error 0x{code:02x}: {REFUSALS.get(code, 'unknown')}")
        self.code = code


class Answer(NamedTuple):
    """One answer: number of the question, function (0: of another kind), parameters, data, and the whole message."""

    number: int
    function: int
    parameters: bytes
    data: bytes
    message: bytes
    error: int


class Extent(NamedTuple):
    """Bytes to read."""

    area: str
    block: int
    byte: int
    size: int


def number_of(message: bytes) -> int:
    """The number that a question carries and its answer repeats."""
    return int.from_bytes(message[4:6])


def parse(message: bytes) -> Answer:
    """Take an answer apart. Raises Malformed."""
    if len(message) < 12 or message[0] != 0x32:
        raise Malformed("this is no S7 message")
    kind, _, number, parameters, data = struct.unpack_from(">BHHHH", message, 1)
    start = 10 if kind == 7 else 12
    if kind not in (2, 3, 7) or start + parameters + data != len(message):
        raise Malformed("an S7 message whose lengths contradict each other")
    error = 0 if kind == 7 else int.from_bytes(message[10:12])
    given = message[start : start + parameters]
    function = given[0] if given and kind != 7 else 0
    return Answer(number, function, given, message[start + parameters :], message, error)


class Questions:
    """Makes questions, each with the next number, for one connection."""

    def __init__(self) -> None:
        self._library: Any = S7Protocol()

    def setup(self, pdu: int) -> bytes:
        """Propose a length for messages."""
        return bytes(self._library.build_setup_communication_request(pdu_length=pdu))

    def read(self, extents: Sequence[Extent]) -> bytes:
        """Read up to twenty pieces of memory."""
        variables = [(AREAS[one.area], one.block, one.byte, one.size) for one in extents]
        return bytes(self._library.build_multi_read_request(variables))

    def write(self, area: str, block: int, byte: int, bit: int | None, content: bytes) -> bytes:
        """Write bytes; or, with ``bit``, that one bit and none of its neighbours."""
        length = S7WordLen.BYTE if bit is None else S7WordLen.BIT
        start = byte if bit is None else byte * 8 + bit
        return bytes(self._library.build_write_request(S7Area(AREAS[area]), block, start, length, content))

    def data_blocks(self) -> bytes:
        """Ask for the numbers of all data blocks."""
        return bytes(self._library.build_list_blocks_of_type_request(0x41))

    def block_info(self, block: int) -> bytes:
        """Ask for what a data block is."""
        return bytes(self._library.build_get_block_info_request(0x41, block))

    def system(self, id: int, index: int = 0) -> bytes:
        """Ask for a part of the system status list."""
        return bytes(self._library.build_read_szl_request(id, index))

    def more(self, answer: Answer) -> bytes | None:
        """The question for what follows an answer of several parts; None when it was the last part."""
        given = answer.parameters
        if len(given) < 12 or given[9] == 0:
            return None
        return bytes(self._library.build_userdata_followup_request(given[5] & 15, given[6], given[7]))


def library_view(answer: Answer) -> dict[str, Any]:
    """An answer as the library's own parsers take it. Raises DeviceError for a refusal, Malformed for nonsense."""
    if len(answer.parameters) >= 12 and (error := int.from_bytes(answer.parameters[10:12])):
        raise DeviceError(error)
    try:
        found: dict[str, Any] = S7Protocol().parse_response(answer.message)
    except S7Error as error:
        raise Malformed(str(error)) from None
    return found


def agreed(answer: Answer) -> int:
    """The length of messages that the controller agrees to. Raises DeviceError, Malformed."""
    _expect(answer, SETUP)
    if len(answer.parameters) < 8 or (pdu := int.from_bytes(answer.parameters[6:8])) < 64:
        raise Malformed("no length of messages was agreed")
    return pdu


def contents(answer: Answer, extents: Sequence[Extent]) -> list[bytes | DeviceError]:
    """What was read, or why not, for each piece. Raises DeviceError when all was refused, Malformed."""
    _expect(answer, READ)
    if len(answer.parameters) != 2 or answer.parameters[1] != len(extents):
        raise Malformed("the answer is not about as many pieces as were asked for")
    found: list[bytes | DeviceError] = []
    data, at = answer.data, 0
    for extent in extents:
        if at + 4 > len(data):
            raise Malformed("the answer ends before its last piece")
        code, kind, length = struct.unpack_from(">BBH", data, at)
        at += 4
        if code != 0xFF:
            # The length of a refusal means nothing: some say 0, some what was asked for, and none sends bytes.
            found.append(DeviceError(code))
            continue
        size = length if kind in _PLAIN_LENGTHS else (length + 7) // 8
        if size != extent.size or at + size > len(data):
            raise Malformed(f"{size} bytes where {extent.size} were asked for")
        found.append(data[at : at + size])
        at += size + size % 2
    return found


def check_written(answer: Answer) -> None:
    """Raises DeviceError when the write was refused, Malformed."""
    _expect(answer, WRITE)
    if len(answer.data) != 1:
        raise Malformed("the answer to a write has no return code")
    if answer.data[0] != 0xFF:
        raise DeviceError(answer.data[0])


def _expect(answer: Answer, function: int) -> None:
    if answer.error:
        raise DeviceError(answer.error)
    if answer.function != function:
        raise Malformed(f"an answer of function {answer.function} to a question of function {function}")
