"""Settings of a Modbus device, and where each of its points is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from gateway.config.declare import Duration, between, not_empty, setting
from gateway.connectors.modbus.codec import Codec, Order, ends_of, make_codec, words_of
from gateway.connectors.modbus.endpoint import DEFAULT_PORT, SECURE_PORT, Endpoint, parse_url
from gateway.connectors.modbus.exponent import Powered
from gateway.connectors.modbus.options import Quirks, Rs485Table, Tls
from gateway.connectors.points import DeviceSettings, PointSettings
from gateway.connectors.shape import Whole

LAST_ADDRESS: Final = 65_535

_LAST_UNIT: Final = 247
"""Addresses above are reserved (Modbus over Serial Line V1.02 section 2.2)."""

TABLES: Final = ("coil", "discrete", "input", "holding")
"""The four tables of a device (Modbus Application Protocol V1.1b3 section 4.3)."""

BIT_TABLES: Final = ("coil", "discrete")
WRITABLE_TABLES: Final = ("coil", "holding")

_FORM: Final = (
    'must be a table and a protocol address counted from 0, such as "holding:100", "input:0", "coil:3" or '
    '"discrete:7"; a bare number is a holding register'
)


class Place(NamedTuple):
    """Where a value is: its table and the address of its first register or bit, counted from 0."""

    table: str
    address: int

    def __str__(self) -> str:
        return f"{self.table}:{self.address}"


def parse_place(text: str | int) -> Place:
    """The place behind ``"holding:100"``. Raises ValueError with what it must be."""
    table, colon, number = str(text).strip().rpartition(":")
    if not colon:
        table = "holding"
    if table not in TABLES or not re.fullmatch(r"-?[0-9]{1,9}", number):
        raise ValueError(_FORM)
    if not 0 <= int(number) <= LAST_ADDRESS:
        raise ValueError(f"must be between 0 and {LAST_ADDRESS}")
    return Place(table, int(number))


def is_place(value: str | int) -> str | None:
    """Check: a table and an address."""
    try:
        parse_place(value)
    except ValueError as error:
        return str(error)
    return None


def _url(value: str) -> str | None:
    try:
        parse_url(value)
    except ValueError as error:
        return str(error)
    return None


def is_type(value: str) -> str | None:
    """Check: the type of a value."""
    try:
        words_of(value)
    except ValueError as error:
        return str(error)
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModbusPoint(PointSettings):
    """One value of a Modbus device: a register, several neighbouring ones, or a bit."""

    address: str | int = setting(
        text="Table and protocol address, counted from 0: holding:100 is what many manuals call 40101. A bare number "
        "is a holding register.",
        check=is_place,
        example='"holding:100"',
    )
    type: str = setting(
        "uint16",
        text="What the registers hold: int16, uint16, int32, uint32, int64, uint64, float32, float64, bcd16, bcd32 "
        "(4 or 8 decimal digits), string:<bytes>; bool for a coil or discrete input. A bit of a register is a point of "
        "uint16 with bits.",
        check=is_type,
    )
    order: Order = setting(
        "ABCD",
        text="Order in which the bytes arrive, for reading and writing. ABCD: highest first, as the standard says; "
        "CDAB: words swapped; BADC: bytes swapped within words; DCBA: lowest first. Longer types go on likewise.",
    )

    exponent: str | int | None = setting(
        None,
        text="Register, of the same table, with the power of ten by which the number is multiplied: the scale factor "
        "of SunSpec. Both are read in one request.",
        check=is_place,
        example='"holding:103"',
    )

    @property
    def place(self) -> Place:
        """Where the first register is, of the number or of its exponent."""
        number = parse_place(self.address)
        return number if self.exponent is None else min(number, parse_place(self.exponent))

    @property
    def width(self) -> int:
        """Registers, or bits, from the first to the last one."""
        return self.codec.width

    @property
    def codec(self) -> Codec:
        """Between the registers and the raw value. Raises ValueError for an unknown type."""
        number = make_codec(self.type, self.order)
        if self.exponent is None:
            return number
        first = self.place.address
        at, exponent = parse_place(self.address).address, parse_place(self.exponent).address
        return Powered(number, at - first, exponent - first, self.absent)

    def whole(self) -> Whole | None:
        ends = ends_of(self.type) if self.exponent is None else None
        return None if ends is None else Whole(*ends, self.type)

    def problems(self) -> Iterator[tuple[str, str]]:
        place = parse_place(self.address)
        is_bit = place.table in BIT_TABLES
        yield from self._exponent_problems(place)
        if is_bit and self.type != "bool":
            yield "type", f'must be "bool": {place} is a single bit'
        if not is_bit and self.type == "bool":
            yield (
                "type",
                f'"bool" is for coils and discrete inputs; {place} has 16 bits: use "uint16" with bits',
            )
        if place.address + words_of(self.type) - 1 > LAST_ADDRESS:
            words = words_of(self.type)
            yield "address", f"{self.type} takes {words} registers and runs over the last one, {LAST_ADDRESS}"
        if self.write is not None and place.table not in WRITABLE_TABLES:
            yield "write", f"{place} cannot be written; Modbus writes only holding registers and coils"
        if self.bits is not None and self.exponent is not None:
            yield "bits", "has no effect on a number with an exponent"
        elif self.bits is not None and (self.whole() is None or self.type.startswith("bcd")):
            yield "bits", f"must be left out: {self.type} is not a whole number"
        if (self.scale, self.offset) != (1, 0) and (is_bit or self.type.startswith("string")):
            yield "scale", f"scale and offset have no meaning for {self.type}"

    def _exponent_problems(self, place: Place) -> Iterator[tuple[str, str]]:
        if self.exponent is None:
            return
        table, address = parse_place(self.exponent)
        if table != place.table or table in BIT_TABLES:
            yield "exponent", f"must be a register of the same table as {place}"
        elif ends_of(self.type) is None:
            yield "exponent", f"has no effect on {self.type}: it is no whole number"
        elif place.address <= address < place.address + words_of(self.type):
            yield "exponent", "must be another register than the number"
        elif self.write is not None:
            yield "write", "has no effect on a value whose exponent stands in the device"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModbusDevice(DeviceSettings):
    """A device that speaks Modbus: over TCP, TLS or a serial line; alone or as one unit among others."""

    kind: Literal["modbus"] = setting("modbus", text="Modbus TCP, TLS, RTU, ASCII.")
    url: str = setting(
        text=f'Where it is. "tcp://host:{DEFAULT_PORT}" Modbus TCP; "tls://host:{SECURE_PORT}" the same in TLS; '
        '"rtu+tcp://host:port" serial frames through a device server; '
        '"serial:/dev/serial/by-id/...?baud=19200&parity=E" '
        "a serial line, with baud, parity (N, E, O), stop, bits and framing after the question mark. Devices with the "
        "same url share one connection and take turns.",
        check=_url,
        example='"tcp://10.0.0.5:502"',
    )
    framing: Literal["rtu", "ascii"] | None = setting(
        None, text="Frames on a serial line. Without it: what the url says, else rtu.", example='"ascii"'
    )
    unit: int = setting(
        1,
        text="Unit identifier; tells the devices behind one address apart. 0 on a serial line are all of them at once: "
        "its points can be written, nobody answers.",
        check=between(0, 255),
    )
    timeout: Duration = setting(
        1.0,
        text="How long one answer, or the connection, may take. On a serial line the time that the characters take "
        "is added, and after a time-out the line is left alone for as long again.",
        check=between(0.01, 60),
    )
    max_words: int = setting(
        120, text="Most registers in one request. The standard allows 125, some devices less.", check=between(1, 125)
    )
    gap: int = setting(
        8,
        text="Registers that nobody wants, read along to save a request. 0 reads only what points need.",
        check=between(0, 124),
    )
    turnaround: Duration = setting(
        0.1,
        text="How long a serial line is left alone after a write to unit 0, for all devices to take it in.",
        check=between(0, 10),
    )
    echo: bool = setting(
        False, text="The adapter of the serial line hears what it sends: each question comes back before its answer."
    )
    rs485: Rs485Table | None = setting(None, text="")
    tls: Tls | None = setting(None, text="")
    quirks: Quirks = setting(factory=Quirks, text="")
    point: tuple[ModbusPoint, ...] = setting(text="", check=not_empty)

    @property
    def endpoint(self) -> Endpoint:
        """``url`` and ``framing`` taken apart."""
        if self.framing == "ascii" and self.url.startswith("serial:") and "framing=" not in self.url:
            return parse_url(self.url + ("&" if "?" in self.url else "?") + "framing=ascii")
        return parse_url(self.url)

    @property
    def is_broadcast(self) -> bool:
        """Whether it is all units of a line at once."""
        return self.unit == 0 and self.endpoint.is_line

    def problems(self) -> Iterator[tuple[str, str]]:
        for point in self.point:
            if point.width > self.max_words:
                yield (
                    "max_words",
                    f"must be at least {point.width}, to read the {point.type} of {point.name} in one piece",
                )
        yield from self._line_problems()
        if self.tls is not None and self.endpoint.transport != "tls":
            yield "tls", "has no effect; use a url that begins with tls://"

    def _line_problems(self) -> Iterator[tuple[str, str]]:
        try:
            endpoint = self.endpoint
        except ValueError as error:
            yield "framing", f"does not fit the url, which {error}"
            return
        if self.framing is not None and self.framing != endpoint.framing:
            if endpoint.transport == "serial":
                yield "framing", f'must be "{endpoint.framing}", as in the url'
            else:
                yield "framing", "has no effect; it is for serial lines"
        if self.rs485 is not None and endpoint.transport != "serial":
            yield "rs485", 'has no effect; it is for a url that begins with "serial:"'
        if not endpoint.is_line:
            if self.echo:
                yield "echo", "has no effect; it is for serial lines"
            return
        if self.unit > _LAST_UNIT:
            yield "unit", f"must be between 0 and {_LAST_UNIT} on a serial line, not {self.unit}"
        if self.is_broadcast:
            for index, point in enumerate(self.point):
                if point.write is None or point.bits is not None:
                    yield (
                        f"point[{index}].write",
                        "is missing or has bits: unit 0 are all units of the line, which can only be written, whole",
                    )
