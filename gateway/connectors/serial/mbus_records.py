"""What the telegrams of an M-Bus meter say (EN 13757-3 section 6): data records to fields. Pure.

A record is a data information block (how long, which function, which storage, tariff and part of the meter), a value
information block (what, in which unit and power of ten) and the data, lowest byte first.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from gateway.connectors.serial.decode import Fields
from gateway.connectors.serial.dialog import Silent
from gateway.message import Value

_HEADERS: Final = {0x72: 12, 0x7A: 4, 0x78: 0}
"""Bytes between the control information and the first record (EN 13757-3 table 1)."""


class Record(NamedTuple):
    """One value: what it is called, in which unit, and how much; None where the meter has none."""

    name: str
    unit: str
    value: Value


def parse(body: bytes) -> tuple[bytes, list[Record], bool]:
    """Header, records, and whether more telegrams follow. Raises Silent for a body that breaks its form."""
    information = body[2]
    if information not in _HEADERS:
        raise Silent(f"the meter sends data of the form 0x{information:02X}, which is not known")
    start = 3 + _HEADERS[information]
    try:
        records, has_more = _records(body, start)
    except IndexError:
        raise Silent("a record runs over the end of its telegram") from None
    return body[3:start], records, has_more


def _records(body: bytes, at: int) -> tuple[list[Record], bool]:
    records: list[Record] = []
    while at < len(body):
        dif = body[at]
        at += 1
        if dif == 0x2F:
            continue
        if dif & 0x0F == 0x0F:
            return records, dif == 0x1F  # what follows is the maker's own
        storage, tariff, subunit, shift = dif >> 6 & 1, 0, 0, 0
        extends = dif & 0x80
        while extends:
            dife = body[at]
            at += 1
            storage |= (dife & 0x0F) << 1 + 4 * shift
            tariff |= (dife >> 4 & 3) << 2 * shift
            subunit |= (dife >> 6 & 1) << shift
            shift += 1
            extends = dife & 0x80
        meaning, at = _meaning(body, at)
        value, at = _data(body, at, dif & 0x0F)
        if meaning.name == "time" and dif & 0x0F == 6 and isinstance(value, int):
            value = value >> 8 & 0xFFFFFFFF  # type I: seconds before and flags behind what is type F
        name = meaning.name + ("", ".max", ".min", ".error")[dif >> 4 & 3]
        name += f"/{tariff}" if tariff else ""
        name += f"@{storage}" if storage else ""
        name += f"#{subunit}" if subunit else ""
        records.append(Record(name, meaning.unit, meaning.shape(value)))
    return records, False


class _Meaning(NamedTuple):
    name: str
    unit: str
    shape: Callable[[Value], Value]


def _meaning(body: bytes, at: int) -> tuple[_Meaning, int]:
    """What the value information says (EN 13757-3 tables 10 to 14), and where it ends."""
    first = body[at]
    at += 1
    text = ""
    extensions = []
    extends = first & 0x80
    if first & 0x7F == 0x7C:
        size = body[at]
        text = bytes(body[at + 1 : at + 1 + size])[::-1].decode("latin-1")
        at += 1 + size
    while extends:
        extensions.append(body[at] & 0x7F)
        extends = body[at] & 0x80
        at += 1
    if text:
        found = _Meaning(text, text, lambda value: value)
    elif first in (0xFB, 0xFD):
        table = _TABLE_FB if first == 0xFB else _TABLE_FD
        found = _found(table, extensions[0], f"{first:02x}{extensions[0]:02x}")
        extensions = extensions[1:]
    else:
        found = _found(_TABLE, first & 0x7F, f"{first & 0x7F:02x}")
    for extension in extensions:
        if extension in _FACTORS:
            found = found._replace(shape=_times(_FACTORS[extension], found.shape))
        else:
            # What qualifies a value makes it another one: "volume" is not "volume at the base conditions".
            found = found._replace(name=f"{found.name}+{extension:02x}")
    return found, at


def _times(exponent: int, shape: Callable[[Value], Value]) -> Callable[[Value], Value]:
    """A correction behind the value information (EN 13757-3 table 15)."""
    scale = _scaled(exponent)
    return lambda value: scale(shape(value))


def _found(table: Mapping[range, tuple[str, str, int]], code: int, other: str) -> _Meaning:
    for codes, (name, unit, power) in table.items():
        if code in codes:
            exponent = power + code - codes.start
            return _Meaning(name, unit, _special(name, code - codes.start) or _scaled(exponent))
    return _Meaning(f"vif{other}", "", lambda value: value)


def _scaled(exponent: int) -> Callable[[Value], Value]:
    def scale(value: Value) -> Value:
        if not isinstance(value, int | float):
            return value
        if exponent >= 0:
            return value * 10**exponent
        if isinstance(value, int):
            return round(value / 10**-exponent, -exponent)
        return round(value / 10**-exponent, 9)

    return scale


_SECONDS: Final = (1, 60, 3600, 86_400)


def _special(name: str, code: int) -> Callable[[Value], Value] | None:
    """Times come in seconds to days, dates in bits."""
    if name in ("on_time", "operating_time", "averaging_time", "actuality_time"):
        return lambda value: value * _SECONDS[code] if isinstance(value, int | float) else value
    if name in ("date", "time"):
        return lambda value: _date(value) if name == "date" else _time(value)
    if name in (
        "fabrication_number",
        "identification",
        "bus_address",
        "digital_output",
        "digital_input",
        "error_flags",
    ):
        return lambda value: value
    return None


def _date(value: Value) -> Value:
    """Type G (EN 13757-3 annex A)."""
    if not isinstance(value, int):
        return None
    value &= 0xFFFF
    year, month, day = value >> 5 & 7 | value >> 9 & 0x78, value >> 8 & 0x0F, value & 0x1F
    if year > 99 or not 1 <= month <= 12 or not day:
        return None  # every year, month or day; or none
    # Two digits: those above 80 are of the last century (EN 13757-3 annex A, compound type F).
    return f"{1900 + year if year > 80 else 2000 + year:04d}-{month:02d}-{day:02d}"


def _time(value: Value) -> Value:
    """Type F (EN 13757-3 annex A); the meter's own time, of no zone."""
    if not isinstance(value, int) or value & 0x80:
        return None
    day = _date(value >> 16)
    return None if day is None else f"{day}T{value >> 8 & 0x1F:02d}:{value & 0x3F:02d}:00"


def _data(body: bytes, at: int, kind: int) -> tuple[Value, int]:
    """The value of one data field (EN 13757-3 table 4), and where it ends."""
    if kind in _INTEGERS:
        size = _INTEGERS[kind]
        data = _bytes(body, at, size)
        return int.from_bytes(data, "little", signed=True), at + size
    if kind == 5:
        value: float = struct.unpack("<f", _bytes(body, at, 4))[0]
        return value, at + 4
    if kind in _BCD:
        size = _BCD[kind]
        return _bcd(_bytes(body, at, size)), at + size
    if kind == 0x0D:
        return _variable(body, at)
    return None, at


def _variable(body: bytes, at: int) -> tuple[Value, int]:
    size = body[at]
    at += 1
    if size < 0xC0:
        return _bytes(body, at, size)[::-1].decode("latin-1"), at + size
    if size < 0xE0:
        digits = size & 0x0F
        value = _bcd(_bytes(body, at, digits))
        return (-value if size >= 0xD0 and isinstance(value, int) else value), at + digits
    if size < 0xF0:
        return int.from_bytes(_bytes(body, at, size & 0x0F), "little", signed=True), at + (size & 0x0F)
    raise Silent(f"a value of the length 0x{size:02X}, which is not known")


def _bytes(body: bytes, at: int, size: int) -> bytes:
    if at + size > len(body):
        raise IndexError
    return body[at : at + size]


def _bcd(data: bytes) -> Value:
    """Digits, lowest byte first; a first digit of F is a minus sign. None for digits that are none: the meter has no
    value (EN 13757-3 annex B)."""
    text = data[::-1].hex()
    sign = -1 if text[:1] == "f" else 1
    text = text[1:] if sign < 0 else text
    return sign * int(text) if text.isdigit() else None


_PLAIN: Final = (
    *("fabrication_number", "identification", "bus_address"),
    *("heat_cost_units", "digital_output", "digital_input", "error_flags"),
)
"""What has no scale."""

_INTEGERS: Final = {1: 1, 2: 2, 3: 3, 4: 4, 6: 6, 7: 8}
_BCD: Final = {9: 1, 0x0A: 2, 0x0B: 3, 0x0C: 4, 0x0E: 6}

_TABLE: Final[Mapping[range, tuple[str, str, int]]] = {
    # codes: (name, unit, power of ten of the first one)
    range(0x08): ("energy", "Wh", -3),
    range(0x08, 0x10): ("energy_joule", "J", 0),
    range(0x10, 0x18): ("volume", "m3", -6),
    range(0x18, 0x20): ("mass", "kg", -3),
    range(0x20, 0x24): ("on_time", "s", 0),
    range(0x24, 0x28): ("operating_time", "s", 0),
    range(0x28, 0x30): ("power", "W", -3),
    range(0x30, 0x38): ("power_joule", "J/h", 0),
    range(0x38, 0x40): ("flow", "m3/h", -6),
    range(0x40, 0x48): ("flow_minute", "m3/min", -7),
    range(0x48, 0x50): ("flow_second", "m3/s", -9),
    range(0x50, 0x58): ("mass_flow", "kg/h", -3),
    range(0x58, 0x5C): ("flow_temperature", "Cel", -3),
    range(0x5C, 0x60): ("return_temperature", "Cel", -3),
    range(0x60, 0x64): ("temperature_difference", "K", -3),
    range(0x64, 0x68): ("external_temperature", "Cel", -3),
    range(0x68, 0x6C): ("pressure", "bar", -3),
    range(0x6C, 0x6D): ("date", "", 0),
    range(0x6D, 0x6E): ("time", "", 0),
    range(0x6E, 0x6F): ("heat_cost_units", "", 0),
    range(0x70, 0x74): ("averaging_time", "s", 0),
    range(0x74, 0x78): ("actuality_time", "s", 0),
    range(0x78, 0x79): ("fabrication_number", "", 0),
    range(0x79, 0x7A): ("identification", "", 0),
    range(0x7A, 0x7B): ("bus_address", "", 0),
}
"""EN 13757-3 table 10."""

_FACTORS: Final = {**{0x70 + code: code - 6 for code in range(8)}, 0x7D: 3}
"""Powers of ten that correct a value (EN 13757-3 table 15)."""

_TABLE_FB: Final[Mapping[range, tuple[str, str, int]]] = {
    range(0x02): ("energy", "Wh", 5),
    range(0x08, 0x0A): ("energy_joule", "J", 8),
    range(0x10, 0x12): ("volume", "m3", 2),
    range(0x18, 0x1A): ("mass", "kg", 5),
    range(0x28, 0x2A): ("power", "W", 5),
    range(0x30, 0x32): ("power_joule", "J/h", 8),
}
"""EN 13757-3 table 14: the large ones."""

_TABLE_FD: Final[Mapping[range, tuple[str, str, int]]] = {
    range(0x17, 0x18): ("error_flags", "", 0),
    range(0x1A, 0x1B): ("digital_output", "", 0),
    range(0x1B, 0x1C): ("digital_input", "", 0),
    range(0x40, 0x50): ("voltage", "V", -9),
    range(0x50, 0x60): ("current", "A", -12),
}
"""EN 13757-3 table 12."""

MEDIA: Final = {
    2: "electricity",
    3: "gas",
    4: "heat",
    6: "warm water",
    7: "water",
    10: "cooling",
    13: "heat and cooling",
}
"""EN 13757-3 table 3, the usual ones."""


def fields_of(header: bytes, records: list[Record]) -> Fields:
    """Records by name and by number from 0, ``name unit``, and what the header says. The first of a name counts."""
    fields: dict[str, Value] = {}
    if len(header) == 12:
        maker = int.from_bytes(header[4:6], "little")
        fields["id"] = header[3::-1].hex()
        fields["manufacturer"] = "".join(chr((maker >> shift & 31) + 64) for shift in (10, 5, 0))
        fields["version"] = header[6]
        fields["medium"] = MEDIA.get(header[7], str(header[7]))
        fields["status"] = header[9]
    elif len(header) == 4:
        fields["status"] = header[1]
    for number, record in enumerate(records):
        fields[str(number)] = record.value
        fields.setdefault(record.name, record.value)
        fields.setdefault(f"{record.name} unit", record.unit)
    return fields
