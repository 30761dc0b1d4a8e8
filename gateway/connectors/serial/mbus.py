"""M-Bus, wired (EN 13757-2): asking a meter for its data. Pure. What its telegrams say: ``mbus_records.py``.

A meter is called by its primary address, 0 to 250, or is selected by its number of eight digits (secondary address,
EN 13757-3 section 11), reset or selected, and asked for its data (REQ_UD2) until it says that no more follows. Answers
are long frames with a sum (EN 13757-2 section 5.4).

Only the variable data structure with the low byte first is read, as every meter of this century sends it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from gateway.connectors.serial.dialog import Dialog, Done, Send, Silent, Step
from gateway.connectors.serial.mbus_records import Record, fields_of, parse
from gateway.message import Value

REACTION: Final = 0.5
"""Seconds: 330 bit times and 50 ms at 2400 baud are 0.19 (EN 13757-2 section 5.5); level converters add to it."""

_REACTION_BITS: Final = 330


def reaction(baud: int) -> float:
    """Seconds that a meter may take at this speed."""
    return max(REACTION, _REACTION_BITS / baud + 0.3)


MOST_TELEGRAMS: Final = 16
"""Telegrams of one readout."""

MOST_BYTES: Final = 1024
"""Bytes in which a telegram of at most 261 must be found."""

SELECTED: Final = 253
"""Address of whichever meter is selected."""

_ACK: Final = 0xE5
_START_SHORT, _START_LONG, _STOP = 0x10, 0x68, 0x16
_SND_NKE, _SND_UD, _REQ_UD2, _FCB = 0x40, 0x53, 0x5B, 0x20
_SELECT: Final = 0x52


def short_frame(control: int, address: int) -> bytes:
    """Five bytes: no data (EN 13757-2 section 5.4)."""
    return bytes((_START_SHORT, control, address, (control + address) & 0xFF, _STOP))


def long_frame(control: int, address: int, information: int, data: bytes) -> bytes:
    """A frame with data."""
    body = bytes((control, address, information)) + data
    return bytes((_START_LONG, len(body), len(body), _START_LONG)) + body + bytes((sum(body) & 0xFF, _STOP))


def address_problem(unit: str | int | None) -> str | None:
    """The check of a device's ``unit``."""
    if isinstance(unit, int) and not isinstance(unit, bool) and 0 <= unit <= 250:
        return None
    if isinstance(unit, str) and len(unit) == 8 and unit.isascii() and unit.isdigit():
        return None
    return 'must be the primary address of the meter, 0 to 250, or its number in quotes, such as "12345678"'


def field_problem(field: str | int | None) -> str | None:
    """The check of a point's ``field``."""
    if isinstance(field, int) and field >= 0:
        return None
    if isinstance(field, str) and re.fullmatch(r"[!-~][ -~]{0,63}", field):
        return None
    return 'must be the name of a value, such as "energy", "volume@1" or "id", or the number of a record, from 0'


class MbusReadout(Dialog):
    """One readout.

    unit     primary address, or the number of the meter
    silence  seconds that it may be silent
    """

    def __init__(self, unit: str | int, silence: float = REACTION) -> None:
        self.fields: Mapping[str, Value] = {}
        self.meter = ""
        self._selected = unit if isinstance(unit, str) else None
        self._address = SELECTED if isinstance(unit, str) else unit
        self._silence = silence
        self._last = 0.0
        self._buffer = bytearray()
        self._records: list[Record] = []
        self._header = b""
        self._telegrams = 0
        self._received = 0
        self._is_ready = False

    def begin(self) -> list[Step]:
        if self._selected is None:
            return [Send(short_frame(_SND_NKE, self._address))]
        number = bytes.fromhex(self._selected)[::-1]
        return [Send(long_frame(_SND_UD, SELECTED, _SELECT, number + b"\xff\xff\xff\xff"))]

    def waits(self, now: float) -> None:
        self._last = now

    def next_timer(self) -> float:
        return self._last + self._silence

    def on_timer(self, now: float) -> list[Step]:
        if now < self.next_timer():
            return []
        what = "telegram to its end" if self._is_ready else "acknowledgement"
        raise Silent(f"no {what} within {self._silence:g} s of silence")

    def feed(self, data: bytes, now: float) -> list[Step]:
        self._received += len(data)
        if self._received > MOST_BYTES:
            raise Silent(f"no telegram in {MOST_BYTES} bytes: somebody else speaks on the line")
        self._buffer += data
        if not self._is_ready:
            at = self._buffer.find(_ACK)
            if at < 0:
                del self._buffer[:-1]
                return []
            self._is_ready = True
            self._buffer.clear()
            self._received = 0
            return [Send(short_frame(_REQ_UD2 | _FCB, self._address))]
        self._last = now
        return self._taken()

    def _taken(self) -> list[Step]:
        body = take_long(self._buffer)
        if body is None:
            return []
        self._telegrams += 1
        self._received = 0
        header, records, has_more = parse(body)
        self._header = self._header or header
        self._records += records
        if has_more and self._telegrams < MOST_TELEGRAMS:
            self._buffer.clear()
            toggled = _FCB if self._telegrams % 2 == 0 else 0
            return [Send(short_frame(_REQ_UD2 | toggled, self._address))]
        self.fields = fields_of(self._header, self._records)
        self.meter = f"{self.fields.get('manufacturer', '')} {self.fields.get('id', '')}".strip()
        return [Done()]


def take_long(buffer: bytearray) -> bytes | None:
    """The body of the long frame in the buffer, from control on; None until it is whole. Raises Silent for one whose
    sum is wrong."""
    while True:
        at = buffer.find(_START_LONG)
        del buffer[: at if at >= 0 else len(buffer)]
        if len(buffer) < 4:
            return None
        size = buffer[1]
        if buffer[2] != size or buffer[3] != _START_LONG or size < 3:
            del buffer[:1]
            continue
        if len(buffer) < size + 6:
            return None
        body = bytes(buffer[4 : 4 + size])
        if sum(body) & 0xFF != buffer[4 + size] or buffer[5 + size] != _STOP:
            raise Silent("the sum of the telegram is wrong")
        del buffer[: size + 6]
        return body
