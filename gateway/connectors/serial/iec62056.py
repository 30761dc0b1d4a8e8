"""IEC 62056-21 (was IEC 1107): reading a meter through its optical head. Pure.

Sign-on at 300 baud, the meter names itself and the speed that it can (section 6.3.2), the gateway takes it (6.3.3,
modes A, B and C of section 5), and the meter sends its data readout: lines of a code and its values, with a block
check (6.3.4, ISO 1155). A meter of mode D sends the same lines by itself, and ends them with ``!``. Programming mode is
not here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from gateway.connectors.serial.decode import Fields
from gateway.connectors.serial.dialog import Dialog, Done, Pause, Send, Silent, Speed, Step
from gateway.connectors.serial.framing import Delimited, Framer
from gateway.message import Value

REACTION: Final = 2.2
"""Seconds: the longest time that a meter may take to react, or between two characters, is 1.5 (section 6.4.3); heads on
USB add to it."""

LONGEST: Final = 65_536
"""Bytes of a readout."""

TOTAL: Final = 240.0
"""Seconds for all of it: eight kilobytes at 300 baud take that."""

SIGN_ON: Final = 10.0
"""Seconds for the identification: a hundred characters at 300 baud take three."""

SIGN_ON_BAUD: Final = 300

_STX, _ETX, _ACK = 0x02, 0x03, b"\x06"
_SLOW, _QUICK = 0.2, 0.02
"""Seconds before the answer to the meter (section 6.4.3); a small third letter of the maker means the short one."""

MODE_C: Final = {"0": 300, "1": 600, "2": 1200, "3": 2400, "4": 4800, "5": 9600, "6": 19_200}
MODE_B: Final = {"A": 600, "B": 1200, "C": 2400, "D": 4800, "E": 9600, "F": 19_200}
"""Speeds by the letter Z of the identification; other letters are mode A, which stays at 300 (section 6.3.14)."""

_IDENTIFICATION: Final = re.compile(rb"/([A-Za-z]{3})([ -~])(?:\\[!-~])*([^/!\r\n]{0,64})\r\n")
_DATA_SET: Final = re.compile(r"([^()\r\n!/\x02]{0,32})((?:\([^()\r\n]{0,128}\))+)")
_VALUE: Final = re.compile(r"\(([^()*]*)(?:\*([^()]*))?\)")
_CODE: Final = re.compile(r"(?:[0-9]{1,3}-[0-9]{1,3}:)?([0-9A-Z]{1,3}(?:\.[0-9A-Z]{1,3}){1,3}(?:[*&][0-9]{1,3})?)")
_FIELD: Final = re.compile(_CODE.pattern + r"(?:#[1-9]|@unit)?")


def code_problem(field: str | int | None) -> str | None:
    """The check of a point's ``field``."""
    if isinstance(field, str) and _FIELD.fullmatch(field):
        return None
    return (
        'must be the code of a value, such as "1.8.0" or "1-0:1.8.0*255"; "1.6.0#1" is the second value behind a code, '
        '"1.8.0@unit" the unit that the meter says'
    )


def block_check(data: bytes) -> int:
    """Exclusive or of all characters behind STX, up to ETX and with it (ISO 1155)."""
    check = 0
    for byte in data:
        check ^= byte
    return check & 0x7F


def framer() -> Framer:
    """Cuts what a meter sends by itself into readouts; the ``!`` of each ends it."""
    return Delimited(b"!", LONGEST)


def decode(readout: bytes) -> Fields:
    """The data sets of a readout that was sent by itself, with the identification before it or without."""
    return parse_readout(_text(readout))


def _text(data: bytes) -> str:
    # The parity bit is here when the line runs with eight bits.
    return bytes(byte & 0x7F for byte in data).decode()


def parse_readout(text: str) -> Fields:
    """The data sets of a readout. Raises ValueError when there is none.

    A value is found by its code as the meter writes it, and without the medium and channel before it (``1-0:``) and
    ``*255`` behind it. Where a code comes twice, the first one counts.
    """
    fields: dict[str, Value] = {}
    for found in _DATA_SET.finditer(text):
        for code in _spellings(found[1].strip()):
            for number, value in enumerate(_VALUE.finditer(found[2])):
                fields.setdefault(f"{code}#{number}" if number else code, value[1].strip())
                if number == 0 and value[2]:
                    fields.setdefault(f"{code}@unit", value[2].strip())
    if not fields:
        raise ValueError("no values in the readout")
    return fields


def _spellings(code: str) -> tuple[str, ...]:
    found = _CODE.fullmatch(code)
    if found is None:
        return (code,)
    return tuple(dict.fromkeys((code, found[1], found[1].removesuffix("*255"))))


class Readout(Dialog):
    """One sign-on and readout.

    address    of the meter; empty: whichever hears
    silence    seconds that the meter may be silent
    fastest    highest speed to go to, baud; None: as the meter offers
    char_time  seconds of a character at the speed of the sign-on
    """

    def __init__(
        self, address: str = "", silence: float = REACTION, fastest: int | None = None, char_time: float = 0.0
    ):
        self.fields: Mapping[str, Value] = {}
        self.meter = ""
        self._sign_on = f"/?{address}!\r\n".encode("ascii", "replace")
        self._silence = silence
        self._fastest = fastest
        self._char_time = char_time
        self._buffer = bytearray()
        self._is_known = False
        self._last = 0.0
        self._begun: float | None = None

    def begin(self) -> list[Step]:
        return [Speed(None), Send(self._sign_on)]

    def waits(self, now: float) -> None:
        self._last = now
        if self._begun is None:
            self._begun = now

    def next_timer(self) -> float:
        return self._last + self._silence

    def on_timer(self, now: float) -> list[Step]:
        if now < self.next_timer():
            return []
        what = "readout to its end" if self._is_known else "identification"
        raise Silent(f"no {what} within {self._silence:g} s of silence")

    def feed(self, data: bytes, now: float) -> list[Step]:
        self._last = now
        self._buffer += _text(data).encode()
        if len(self._buffer) > LONGEST:
            raise Silent(f"a readout of more than {LONGEST} bytes")
        if self._begun is not None and now - self._begun > TOTAL:
            raise Silent(f"the readout takes more than {TOTAL:g} s")
        if not self._is_known and self._begun is not None and now - self._begun > SIGN_ON:
            raise Silent(f"no identification within {SIGN_ON:g} s, though somebody speaks")
        steps: list[Step] = []
        if not self._is_known:
            steps = self._identified()
        if self._is_known and not steps:
            steps = self._read()
        return steps

    def _identified(self) -> list[Step]:
        # A head hears what it sends: the sign-on stands before the answer and is passed over.
        found = _IDENTIFICATION.search(self._buffer)
        if found is None:
            del self._buffer[: max(0, len(self._buffer) - 256)]
            return []
        maker, letter, name = (part.decode() for part in found.groups())
        self.meter = f"{maker}{letter}{name}"
        self._is_known = True
        del self._buffer[: found.end()]
        if letter in MODE_B:
            return self._mode_b(MODE_B[letter])
        if letter in MODE_C:
            return self._mode_c(MODE_C[letter], maker[2].islower())
        return []

    def _mode_b(self, baud: int) -> list[Step]:
        if self._fastest is not None and baud > self._fastest:
            raise Silent(f"the meter goes to {baud} baud, and fastest is {self._fastest}")
        return [Speed(baud)]

    def _mode_c(self, offered: int, is_quick: bool) -> list[Step]:
        limit = offered if self._fastest is None else min(offered, self._fastest)
        letter, baud = max(
            ((letter, baud) for letter, baud in MODE_C.items() if baud <= limit), key=lambda pair: pair[1]
        )
        taken = _ACK + f"0{letter}0\r\n".encode()
        # The driver may say that all is sent while the adapter still has it: the time is reckoned.
        sent = Pause((len(taken) + 1) * self._char_time)
        return [Pause(_QUICK if is_quick else _SLOW), Send(taken), sent, Speed(baud)]

    def _read(self) -> list[Step]:
        start = self._buffer.find(_STX)
        if start >= 0:
            end = self._buffer.find(_ETX, start)
            if end < 0 or len(self._buffer) < end + 2:
                return []
            block = bytes(self._buffer[start + 1 : end + 1])
            if block_check(block) != self._buffer[end + 1]:
                raise Silent("the block check of the readout is wrong")
            text = block[:-1].decode()
        else:
            # Without STX there is no block check; the readout ends with "!" on a line of its own.
            end = self._buffer.find(b"!\r\n")
            if end < 0:
                return []
            text = self._buffer[:end].decode()
        try:
            self.fields = parse_readout(text)
        except ValueError as error:
            raise Silent(str(error)) from None
        return [Done()]
