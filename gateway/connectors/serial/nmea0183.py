"""NMEA 0183: sentences of ship instruments and GPS receivers to fields. Pure.

The standard is not public; the fields are as Eric Raymond's "NMEA Revealed" (gpsd, version 2.23) and the manuals of
makers describe them. A sentence is ``$``, two letters for the talker, three for what it says, fields between commas,
``*`` and the exclusive or of what stands between ``$`` and ``*``, in hexadecimal.

A field is called by its sentence, ``RMC.speed``, or by its name alone, ``speed``: then from whatever sentence brings
it. Where a receiver says that it has no fix, what needs one is empty. Latitude and longitude are degrees, north and
east positive; speeds are knots, but the wind's metres a second; angles degrees; lengths metres.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from gateway.connectors.serial.checksum import Checksum
from gateway.connectors.serial.decode import Fields
from gateway.connectors.serial.framing import Delimited, Framer
from gateway.message import Value

LONGEST: Final = 255
"""Characters of a sentence; the standard allows 82, and makers more."""

_CHECKSUM: Final = Checksum("xor8", "hex", skip=1, mark=b"*")

METRES_A_SECOND: Final = {"K": 1 / 3.6, "M": 1.0, "N": 1852 / 3600, "S": 1609.344 / 3600}
"""Of one kilometre an hour, metre a second, knot, statute mile an hour."""

FOOT: Final = 0.3048

Read = Callable[[Sequence[str]], Value]
"""Takes the fields of a sentence, the first at 1, and gives one value; None where it is empty.
Raises ValueError, IndexError."""


def framer() -> Framer:
    """Cuts a stream into sentences whose checksum is right."""
    return Delimited(b"\n", LONGEST, _check, strip=b"\r")


def _check(line: bytes) -> bytes:
    # A line that was cut by noise, or by unplugging, may hold the begin of another sentence.
    return _CHECKSUM.check(line[max(0, line.rfind(b"$")) :])


def decode(sentence: bytes) -> Fields:
    """The fields of one sentence, without its checksum. Raises ValueError for one that breaks its form; one of a kind
    that is not known has no fields."""
    parts = sentence.decode("ascii", "replace").split(",")
    kind = parts[0][3:]
    if kind == "XDR":
        return _transducers(parts)
    fields: dict[str, Value] = {}
    for name, read in SENTENCES.get(kind, {}).items():
        try:
            value = read(parts)
        except _Absent:
            continue
        except (ValueError, IndexError, KeyError):
            raise ValueError(f"{kind} with a wrong {name}") from None
        fields[name] = value
    return {**fields, **{f"{kind}.{name}": value for name, value in fields.items()}}


def field_problem(field: str | int | None) -> str | None:
    """The check of a point's ``field``."""
    if isinstance(field, str) and (field in FIELDS or re.fullmatch(r"XDR\.[!-~]{1,32}", field)):
        return None
    return f"must be a field of a sentence, such as RMC.speed, or its name alone: {', '.join(sorted(NAMES))}"


def _text(at: int) -> Read:
    return lambda parts: parts[at].strip() or None


def _number(at: int, scale: float = 1) -> Read:
    def read(parts: Sequence[str]) -> Value:
        text = parts[at].strip()
        if not text:
            return None
        if not re.fullmatch(r"[+-]?[0-9]{0,12}(\.[0-9]{0,12})?", text):
            raise ValueError(text)
        number = float(text)
        if scale != 1:
            return round(number * scale, 6)
        return int(number) if "." not in text else number

    return read


class _Absent(Exception):
    """The sentence says nothing of the field, not even that it is empty."""


def _optional(at: int, read: Read) -> Read:
    """A field that later versions of the standard added."""

    def only(parts: Sequence[str]) -> Value:
        if len(parts) <= at:
            raise _Absent
        return read(parts)

    return only


def _position(at: int) -> Read:
    """Degrees and minutes, ``ddmm.mmmm``, and a hemisphere (NMEA Revealed, "Latitude and longitude")."""

    def read(parts: Sequence[str]) -> Value:
        text, side = parts[at], parts[at + 1]
        if not text and not side:
            return None
        found = re.fullmatch(r"([0-9]{1,3})([0-9]{2}(?:\.[0-9]{0,9})?)", text)
        most = {"N": 90, "S": 90, "E": 180, "W": 180}[side]
        if found is None or float(found[2]) >= 60:
            raise ValueError(text)
        degrees = round(int(found[1]) + float(found[2]) / 60, 8)
        if degrees > most:
            raise ValueError(text)
        return -degrees if side in "SW" else degrees

    return read


def _signed(at: int, negative: str) -> Read:
    """A number, and a letter that gives its sign in the next field."""

    def read(parts: Sequence[str]) -> Value:
        value = _number(at)(parts)
        return -value if isinstance(value, int | float) and parts[at + 1] == negative else value

    return read


def _time(at: int) -> Read:
    def read(parts: Sequence[str]) -> Value:
        found = re.fullmatch(r"([01][0-9]|2[0-3])([0-5][0-9])([0-5][0-9]|60)(\.[0-9]{1,6})?", parts[at])
        if found is None:
            if parts[at]:
                raise ValueError(parts[at])
            return None
        return f"{found[1]}:{found[2]}:{found[3]}{found[4] or ''}Z"

    return read


def _date(parts: Sequence[str]) -> Value:
    """``ddmmyy`` of RMC. Two digits of a year are of 1980 to 2079: GPS began in 1980."""
    if not parts[9]:
        return None
    found = re.fullmatch(r"(0[1-9]|[12][0-9]|3[01])(0[1-9]|1[0-2])([0-9]{2})", parts[9])
    if found is None:
        raise ValueError(parts[9])
    year = int(found[3])
    return f"{2000 + year if year < 80 else 1900 + year}-{found[2]}-{found[1]}"


def _valid(read: Read, at: int, void: str) -> Read:
    """Empty when field ``at`` says that there is no fix."""
    return lambda parts: None if parts[at] in void else read(parts)


def _wind(reference: str, read: Read) -> Read:
    """Of the apparent (R) or the true (T) wind, and only when the instrument calls it valid."""

    def only(parts: Sequence[str]) -> Value:
        if parts[2] != reference:
            raise _Absent
        return read(parts) if parts[5] == "A" else None

    return only


def _wind_speed(parts: Sequence[str]) -> Value:
    return _number(3, METRES_A_SECOND[parts[4]])(parts)


def _depth(parts: Sequence[str]) -> Value:
    return _number(3)(parts) if parts[3] else _number(1, FOOT)(parts)


def _transducers(parts: Sequence[str]) -> Fields:
    """XDR: groups of type, value, unit and name."""
    fields: dict[str, Value] = {}
    for at in range(1, len(parts) - 3, 4):
        fields[f"XDR.{parts[at + 3]}"] = _number(at + 1)(parts)
    return fields


_RMC_VOID: Final = (2, "V")
_GGA_VOID: Final = (6, "0")
_GLL_VOID: Final = (6, "V")

SENTENCES: Final[dict[str, dict[str, Read]]] = {
    "RMC": {
        "time": _time(1),
        "status": _text(2),
        "latitude": _valid(_position(3), *_RMC_VOID),
        "longitude": _valid(_position(5), *_RMC_VOID),
        "speed": _valid(_number(7), *_RMC_VOID),
        "course": _valid(_number(8), *_RMC_VOID),
        "date": _date,
        "variation": _optional(11, _signed(10, "W")),
    },
    "GGA": {
        "time": _time(1),
        "latitude": _valid(_position(2), *_GGA_VOID),
        "longitude": _valid(_position(4), *_GGA_VOID),
        "fix": _number(6),
        "satellites": _number(7),
        "hdop": _number(8),
        "altitude": _valid(_number(9), *_GGA_VOID),
        "geoid": _number(11),
    },
    "GLL": {
        "latitude": _valid(_position(1), *_GLL_VOID),
        "longitude": _valid(_position(3), *_GLL_VOID),
        "time": _time(5),
        "status": _text(6),
    },
    "GSA": {
        "dimension": _number(2),
        "pdop": _number(15),
        "hdop": _number(16),
        "vdop": _number(17),
    },
    "GSV": {"in_view": _number(3)},
    "VTG": {
        "course": _number(1),
        "course_magnetic": _number(3),
        "speed": _number(5),
        "speed_kmh": _number(7),
    },
    "ZDA": {"time": _time(1)},
    "HDT": {"heading": _number(1)},
    "HDM": {"heading_magnetic": _number(1)},
    "HDG": {"heading_magnetic": _number(1), "deviation": _signed(2, "W"), "variation": _signed(4, "W")},
    "ROT": {"rate_of_turn": _valid(_number(1), 2, "V")},
    "MWV": {
        "apparent_wind_angle": _wind("R", _number(1)),
        "apparent_wind_speed": _wind("R", _wind_speed),
        "true_wind_angle": _wind("T", _number(1)),
        "true_wind_speed": _wind("T", _wind_speed),
    },
    "DBT": {"depth": _depth},
    "DPT": {"depth": _number(1), "depth_offset": _number(2)},
    "MTW": {"water_temperature": _number(1)},
    "VHW": {"heading": _number(1), "heading_magnetic": _number(3), "water_speed": _number(5)},
}
"""What each sentence says, and where."""

NAMES: Final = frozenset(name for fields in SENTENCES.values() for name in fields)
FIELDS: Final = NAMES | {f"{kind}.{name}" for kind, fields in SENTENCES.items() for name in fields}
