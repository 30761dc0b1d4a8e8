"""What simulated serial devices say: the way back from values to frames, by the settings of the real ones. Pure.

Written from the settings and the standards, not from the decoders: an answer is put together here and taken apart
there.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from gateway.connectors.points import Point
from gateway.connectors.serial.checksum import Checksum
from gateway.connectors.serial.config import ASKED, COMMANDED, SerialDevice, SerialPoint
from gateway.connectors.serial.decode import convert
from gateway.connectors.serial.iec62056 import block_check
from gateway.connectors.serial.pattern import Pattern
from gateway.connectors.serial.template import Template
from gateway.errors import Rejected
from gateway.message import Value

_pattern: Final = lru_cache(256)(Pattern)

Values = Mapping[str, Value]
"""What the device holds, by point: before scale and offset."""


class Speech:
    """One simulated device of protocol ``frames``: its questions and commands, and what it says."""

    def __init__(self, config: SerialDevice) -> None:
        self.config = config
        self.points = {point.name: SimPoint(point, config) for point in config.point}
        self._checksum = None if config.checksum is None else config.checksum.checksum()
        self._framer = config.frame.framer()
        self.questions: dict[bytes, list[SimPoint]] = {}
        self.told: list[SimPoint] = []
        for point in self.points.values():
            ask = point.settings.ask or config.ask
            if ask is None:
                self.told.append(point)
            else:
                data = Template(ask, ASKED).fill(**config.words(point.settings.address))
                self.questions.setdefault(self._sent(data), []).append(point)
        self._commands = [(point, self._command(point)) for point in self.points.values() if point.settings.set]

    def answer(self, question: bytes, values: Values) -> bytes:
        """All frames that answer one question."""
        return self.frames(self.questions[question], values)

    def command(self, buffer: bytes) -> tuple[SimPoint, Value, int] | None:
        """The command at the begin of the buffer: its point, what it is to hold, and its size. Raises Rejected."""
        for point, pattern in self._commands:
            found = pattern.match(buffer)
            if found is not None:
                return point, self._value(point, found[1].decode("latin-1")), found.end()
        return None

    def acknowledge(self, point: SimPoint) -> bytes:
        """What it answers to a command."""
        if point.settings.ack is None:
            return b""
        return self._framed(_pattern(point.settings.ack).example({}))

    def frames(self, points: list[SimPoint], values: Values) -> bytes:
        """The frames that say these points."""
        said = b""
        shared = [point for point in points if point.settings.pattern is None]
        if shared:
            said += self._framed(self._shared(shared, values))
        for point in points:
            if point.settings.pattern is not None:
                said += self._framed(self._by_pattern(point, point.settings.pattern, values))
        return said

    def _shared(self, points: list[SimPoint], values: Values) -> bytes:
        decode = self.config.decode
        if decode.as_ == "pattern":
            return self._by_pattern(points[0], decode.pattern or "", values)
        fields = {str(point.settings.field): point.said(values[point.name]) for point in points}
        if decode.as_ == "pairs":
            return decode.separator.join(f"{key}{decode.equals}{value}" for key, value in fields.items()).encode()
        if decode.as_ == "json":
            return json.dumps(_nested({str(p.settings.field): values[p.name] for p in points})).encode()
        if decode.as_ == "text":
            return points[0].said(values[points[0].name]).encode()
        numbered = {self._number(point): point for point in self.points.values()}
        if decode.as_ == "struct":
            count = len(struct.unpack(decode.format or "<", bytes(struct.calcsize(decode.format or "<"))))
            raw = [values[numbered[at].name] if at in numbered else 0 for at in range(count)]
            size = re.findall(r"([0-9]*)([cbB?hHiIlLqQefds])", decode.format or "")
            types = [letter for many, letter in size for _ in range(1 if letter == "s" else int(many or 1))]
            packed = [_packable(value, letter) for value, letter in zip(raw, types, strict=True)]
            return self._head(decode.at) + struct.pack(decode.format or "<", *packed)
        last = max(numbered, default=0)
        parts = [numbered[at].said(values[numbered[at].name]) if at in numbered else "" for at in range(last + 1)]
        return decode.separator.join(parts).encode()

    def _head(self, size: int) -> bytes:
        """What stands before the values: the start mark, and the length where frames say it."""
        frame = self.config.frame
        start = bytearray(self._start().ljust(size, b"\0"))
        if frame.by == "length":
            whole = size + struct.calcsize(self.config.decode.format or "<")
            whole += 0 if self._checksum is None else self._checksum.length
            start[frame.at : frame.at + frame.width] = (whole - frame.extra).to_bytes(frame.width, frame.order)
        return bytes(start)

    def _start(self) -> bytes:
        frame = self.config.frame
        return b"" if frame.start is None or frame.by == "marks" else Template(frame.start, ()).fill()

    def _number(self, point: SimPoint) -> int:
        field = point.settings.field
        if field is None:
            return 0
        return self.config.decode.names.index(field) if isinstance(field, str) else field

    def _by_pattern(self, point: SimPoint, text: str, values: Values) -> bytes:
        pattern = _pattern(text)
        field = point.settings.field
        group = pattern.names[field] if isinstance(field, str) and field in pattern.names else field
        number = int(group) if group is not None else min(1, pattern.groups)
        said = point.said(values[point.name]).encode()
        return pattern.example({number: said}) if number else said

    def _framed(self, body: bytes) -> bytes:
        return self._framer.wrap(body if self._checksum is None else self._checksum.add(body))

    def _sent(self, body: bytes) -> bytes:
        """What arrives when the gateway sends ``body``."""
        return self._framed(body) if self.config.framed else body

    def _command(self, point: SimPoint) -> re.Pattern[bytes]:
        """What the commands of a point look like; the first group is the value."""
        template = Template(point.settings.set or "", COMMANDED)
        marker = "\x00\x01" if not template.is_hex else "00ff00fe"
        text = "hex:" if template.is_hex else ""
        for literal, name, spec in template.parts:
            words = self.config.words(point.settings.address)
            text += literal.replace("{", "{{").replace("}", "}}")
            if name is not None:
                text += marker if name == "value" else format(words[name], spec)
        data = Template(text, ()).fill()
        if self.config.framed:
            if self._checksum is not None:
                data += b"\x00\x02"
            data = self._framer.wrap(data)
        mark = bytes.fromhex(marker) if template.is_hex else marker.encode()
        size = self._checksum.length if self._checksum is not None else 0
        # A value in hexadecimal digits has a known size; one in text ends where the text behind it begins.
        digits = next((re.sub("[^0-9]", "", spec) for _, name, spec in template.parts if name == "value"), "")
        value = b"(.{%d})" % (int(digits or 2) // 2) if template.is_hex else b"(.*?)"
        pattern = re.escape(data).replace(re.escape(mark), value).replace(re.escape(b"\x00\x02"), b".{%d}" % size)
        return re.compile(pattern if not pattern.endswith(b"(.*?)") else pattern[:-3] + b"+)", re.DOTALL)

    def _value(self, point: SimPoint, text: str) -> Value:
        template = Template(point.settings.set or "", COMMANDED)
        spec = next(spec for _, name, spec in template.parts if name == "value")
        if template.is_hex:
            return int.from_bytes(text.encode("latin-1"), "big")
        if spec[-1:] in ("x", "X"):
            return int(text, 16)
        try:
            return convert(text, point.settings.type)
        except ValueError as error:
            raise Rejected(str(error)) from None


class SimPoint:
    """One point of a simulated device: between its unit and what the device says."""

    def __init__(self, settings: SerialPoint, device: SerialDevice) -> None:
        self.settings = settings
        self.name = settings.name
        # What a total adds up, and what is plausible, the gateway finds out; the device only holds a number.
        self._point = Point(replace(settings, counter=None, range=None, rate=None, flat_for=None), device)

    def held(self, value: Value) -> Value:
        """What the device holds when the point has ``value``. Raises Rejected."""
        if self.settings.expression is not None:
            raise Rejected(f"{self.name} has an expression, which cannot be turned round")
        return self._point.to_device(value)

    def value(self, held: Value) -> Value:
        """The way back."""
        return self._point.took(held, 0.0, 0.0).value

    def said(self, held: Value) -> str:
        """As text."""
        if isinstance(held, bool):
            return "1" if held else "0"
        if self.settings.type == "hex" and isinstance(held, int):
            return f"{held:X}"
        return str(held)

    @property
    def first(self) -> Value:
        """What a device holds that was just switched on."""
        return {"text": "", "bool": False}.get(self.settings.type, 0)


def _nested(fields: Mapping[str, Value]) -> Any:
    """A table of tables from paths; levels of digits are lists."""
    root: dict[str, Any] = {}
    for path, value in fields.items():
        *levels, last = path.split(".")
        table = root
        for level in levels:
            table = table.setdefault(level, {})
        table[last] = value
    return _listed(root)


def _listed(table: Any) -> Any:
    if not isinstance(table, dict):
        return table
    if table and all(key.isdigit() for key in table):
        return [_listed(table.get(str(at))) for at in range(max(map(int, table)) + 1)]
    return {key: _listed(value) for key, value in table.items()}


def _packable(value: Value, letter: str) -> Any:
    if letter == "s":
        return str(value).encode("latin-1")
    if letter == "?":
        return bool(value)
    number = value if isinstance(value, int | float) else 0
    return float(number) if letter in "efd" else round(number)


def readout(config: SerialDevice, values: Values) -> bytes:
    """The data readout of a meter (IEC 62056-21 section 6.3.4): STX, data sets, ``!``, ETX and block check."""
    lines = []
    for point in config.point:
        field = str(point.field)
        if "#" not in field and "@" not in field:
            unit = f"*{point.unit}" if point.unit else ""
            lines.append(f"{field}({values[point.name]}{unit})\r\n")
    block = ("".join(lines) + "!\r\n").encode("ascii", "replace") + b"\x03"
    return b"\x02" + block + bytes((block_check(block),))


_MBUS: Final[dict[str, tuple[str, float]]] = {
    # name: (value information, how many of its units are one of the field's)
    "energy": ("03", 1),
    "volume": ("13", 1000),
    "power": ("2b", 1),
    "flow": ("3b", 1000),
    "flow_temperature": ("5a", 10),
    "return_temperature": ("5e", 10),
    "external_temperature": ("66", 10),
    "pressure": ("6a", 10),
    "voltage": ("fd48", 10),
    "current": ("fd5a", 100),
}


def telegram(config: SerialDevice, values: Values) -> bytes:
    """The data of a meter on the M-Bus: a header, and a record of eight bytes for each point that is known above."""
    number = config.unit if isinstance(config.unit, str) else "00000001"
    data = bytes.fromhex(number)[::-1] + bytes.fromhex("f81e 01 02 00 00 0000")
    for point in config.point:
        value = values[point.name]
        if str(point.field) in _MBUS and isinstance(value, int | float):
            information, many = _MBUS[str(point.field)]
            data += b"\x07" + bytes.fromhex(information) + round(value * many).to_bytes(8, "little", signed=True)
    body = bytes((0x08, 1, 0x72)) + data
    return bytes((0x68, len(body), len(body), 0x68)) + body + bytes((sum(body) & 0xFF, 0x16))


_NMEA: Final[dict[str, tuple[str, dict[str, int]]]] = {
    # kind: (a sentence, places of fields that are plain numbers)
    "RMC": ("GPRMC,{time},A,{lat},{lon},0.0,0.0,{date},,,A", {"speed": 7, "course": 8}),
    "GGA": (
        "GPGGA,{time},{lat},{lon},1,08,0.9,0.0,M,0.0,M,,",
        {"fix": 6, "satellites": 7, "hdop": 8, "altitude": 9, "geoid": 11},
    ),
    "VTG": ("GPVTG,0.0,T,0.0,M,0.0,N,0.0,K,A", {"course": 1, "course_magnetic": 3, "speed": 5, "speed_kmh": 7}),
    "HDT": ("HEHDT,0.0,T", {"heading": 1}),
    "HDG": ("HCHDG,0.0,,,,", {"heading_magnetic": 1}),
    "MWV": ("WIMWV,0.0,R,0.0,M,A", {"apparent_wind_angle": 1, "apparent_wind_speed": 3}),
    "DBT": ("SDDBT,,f,0.0,M,,F", {"depth": 3}),
    "MTW": ("YXMTW,0.0,C", {"water_temperature": 1}),
    "VHW": ("VWVHW,,T,,M,0.0,N,,K", {"water_speed": 5}),
}
_NMEA_SUM: Final = Checksum("xor8", "hex", skip=1, mark=b"*")


def sentences(config: SerialDevice, values: Values, hour: str, day: str) -> bytes:
    """The sentences that say the points of an NMEA 0183 device. ``hour``: hhmmss.ss, ``day``: ddmmyy."""
    said: dict[str, list[str]] = {}
    position = {"latitude": 0.0, "longitude": 0.0}
    for point in config.point:
        name = str(point.field).rpartition(".")[2]
        value = values[point.name]
        if name in position and isinstance(value, int | float):
            position[name] = float(value)
    where = {"lat": _degrees(position["latitude"], 2, "NS"), "lon": _degrees(position["longitude"], 3, "EW")}
    for point in config.point:
        kind, _, name = str(point.field).rpartition(".")
        for known, (text, places) in _NMEA.items():
            if kind in ("", known) and (name in places or (known in ("RMC", "GGA") and name in (*position, "time"))):
                parts = said.setdefault(known, text.format(time=hour, date=day, **where).split(","))
                if name in places:
                    parts[places[name]] = str(values[point.name])
    return b"".join(_NMEA_SUM.add(b"$" + ",".join(parts).encode()) + b"\r\n" for parts in said.values())


def _degrees(value: float, digits: int, sides: str) -> str:
    whole, minutes = divmod(round(abs(value) * 60, 5), 60)
    return f"{int(whole):0{digits}d}{minutes:08.5f},{sides[value < 0]}"
