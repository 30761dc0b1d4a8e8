"""Settings of a Modbus device, and where each of its points is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple
from urllib.parse import urlsplit

from gateway.config.declare import Duration, between, not_empty, setting
from gateway.connectors.modbus.codec import Order, words_of
from gateway.connectors.points import DeviceSettings, PointSettings
from gateway.connectors.shape import Whole

DEFAULT_PORT: Final = 502
"""The port that IANA registered for Modbus TCP."""

LAST_ADDRESS: Final = 65_535

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


class Endpoint(NamedTuple):
    """Host, without brackets, and port of a Modbus TCP server."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_url(text: str) -> Endpoint:
    """The endpoint behind ``tcp://host:port``. Raises ValueError with what it must be."""
    problem = ValueError(f'must be like "tcp://10.0.0.5:502"; without a port it is {DEFAULT_PORT}')
    try:
        url = urlsplit(text)
        port = DEFAULT_PORT if url.port is None else url.port
    except ValueError:
        raise problem from None
    if url.scheme != "tcp" or not url.hostname or port == 0 or url.path.strip("/") or url.query or url.username:
        raise problem
    return Endpoint(url.hostname, port)


def _place(value: str | int) -> str | None:
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


def _type(value: str) -> str | None:
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
        check=_place,
        example='"holding:100"',
    )
    type: str = setting(
        "uint16",
        text="What the registers hold: int16, uint16, int32, uint32, int64, uint64, float32, float64, string:<bytes>; "
        "bool for a coil or discrete input.",
        check=_type,
    )
    order: Order = setting(
        "ABCD",
        text="Order in which the bytes arrive, for reading and writing. ABCD: highest first, as the standard says; "
        "CDAB: words swapped; BADC: bytes swapped within words; DCBA: lowest first. Longer types go on likewise.",
    )

    @property
    def place(self) -> Place:
        """``address`` taken apart."""
        return parse_place(self.address)

    @property
    def width(self) -> int:
        """Registers, or bits, that the value takes."""
        return words_of(self.type)

    def whole(self) -> Whole | None:
        if self.type[-1].isdigit() and self.type.lstrip("u").startswith("int"):
            steps = 1 << (self.width * 16)
            low = 0 if self.type[0] == "u" else -steps // 2
            return Whole(low, low + steps - 1, self.type)
        return None

    def problems(self) -> Iterator[tuple[str, str]]:
        place, is_bit = self.place, self.place.table in BIT_TABLES
        if is_bit and self.type != "bool":
            yield "type", f'must be "bool": {place} is a single bit'
        if not is_bit and self.type == "bool":
            yield "type", f'"bool" is for coils and discrete inputs; {place} is a register of 16 bits: use "uint16"'
        if place.address + self.width - 1 > LAST_ADDRESS:
            yield "address", f"{self.type} takes {self.width} registers and runs over the last one, {LAST_ADDRESS}"
        if self.write is not None and place.table not in WRITABLE_TABLES:
            yield "write", f"{place} cannot be written; Modbus writes only holding registers and coils"
        if self.bits is not None and self.whole() is None:
            yield "bits", f"must be left out: {self.type} is not a whole number"
        if (self.scale, self.offset) != (1, 0) and (is_bit or self.type.startswith("string")):
            yield "scale", f"scale and offset have no meaning for {self.type}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModbusDevice(DeviceSettings):
    """A device that speaks Modbus TCP, alone or as one unit behind a gateway."""

    kind: Literal["modbus"] = setting("modbus", text="Modbus TCP.")
    url: str = setting(
        text=f"Address of the device or of the gateway before it. Port {DEFAULT_PORT} unless given. Devices with the "
        "same url share one connection and take turns.",
        check=_url,
        example='"tcp://10.0.0.5:502"',
    )
    unit: int = setting(1, text="Unit identifier; tells the devices behind one address apart.", check=between(0, 255))
    timeout: Duration = setting(1.0, text="How long one answer, or the connection, may take.", check=between(0.01, 60))
    max_words: int = setting(
        120, text="Most registers in one request. The standard allows 125, some devices less.", check=between(1, 125)
    )
    gap: int = setting(
        8,
        text="Registers that nobody wants, read along to save a request. 0 reads only what points need.",
        check=between(0, 124),
    )
    point: tuple[ModbusPoint, ...] = setting(text="", check=not_empty)

    @property
    def endpoint(self) -> Endpoint:
        """``url`` taken apart."""
        return parse_url(self.url)

    def problems(self) -> Iterator[tuple[str, str]]:
        for point in self.point:
            if point.width > self.max_words:
                yield (
                    "max_words",
                    f"must be at least {point.width}, to read the {point.type} of {point.name} in one piece",
                )
