"""Settings of the Modbus server: which points it shows in which registers, and to whom."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from gateway.config.address import Address, address, parse_address
from gateway.config.declare import Duration, between, not_empty, setting, topic_name
from gateway.config.listener import LOOPBACK, Tls, networks
from gateway.connectors.modbus.codec import Order, ends_of, words_of
from gateway.connectors.modbus.config import (
    BIT_TABLES,
    LAST_ADDRESS,
    WRITABLE_TABLES,
    Place,
    is_place,
    is_type,
    parse_place,
)
from gateway.connectors.modbus.endpoint import Endpoint, parse_url
from gateway.connectors.shape import Whole


def _bind(value: str) -> str | None:
    if value.startswith("serial:"):
        try:
            parse_url(value)
        except ValueError as error:
            return str(error)
        return None
    problem = address(value)
    if problem is None and parse_address(value).path:
        return 'must be an address and a port, such as "127.0.0.1:502", or a line, "serial:/dev/..."'
    return problem


def _not_zero(value: float) -> str | None:
    return None if value else "must not be 0"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedPoint:
    """One point that is shown."""

    topic: str = setting(
        text="Where the point is published. Writes go to <topic>/set.", check=topic_name, example='"plant/boiler/power"'
    )
    address: str | int = setting(
        text="Table and protocol address, counted from 0, as for devices.", check=is_place, example='"holding:100"'
    )
    type: str = setting(
        "float32",
        text="What the registers hold: int16, uint16, int32, uint32, int64, uint64, float32, float64, bcd16, bcd32, "
        "string:<bytes>; bool for a coil or discrete input.",
        check=is_type,
    )
    order: Order = setting("ABCD", text="Order of the bytes, as for devices: ABCD, CDAB, BADC, DCBA.")
    scale: float = setting(
        1.0, text="The registers hold the value divided by scale: 0.1 shows 71.3 as 713.", check=_not_zero
    )
    write: bool = setting(
        False,
        text="Whether clients may write it. The point's own limits decide what becomes of it; whether it was done is "
        "told at <topic>/set/result and not to the client, who reads the new value once the device has it.",
    )
    fill: float | None = setting(
        None,
        text="What is read while there is no good value. Without it: exception 4, which a client cannot take for a "
        "value. In the unit of the point.",
        example="-1",
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
        """The whole numbers that the registers can hold; None when they hold something else."""
        ends = ends_of(self.type)
        return None if ends is None else Whole(*ends, self.type)

    def problems(self) -> Iterator[tuple[str, str]]:
        place, is_bit = self.place, self.place.table in BIT_TABLES
        if is_bit != (self.type == "bool"):
            yield "type", f'must be "bool" for {place}' if is_bit else f"must not be bool: {place} is a register"
        if place.address + self.width - 1 > LAST_ADDRESS:
            yield "address", f"{self.type} takes {self.width} registers and runs over the last one, {LAST_ADDRESS}"
        if self.write and place.table not in WRITABLE_TABLES:
            yield "write", f"{place} cannot be written; Modbus writes only holding registers and coils"
        if self.scale != 1 and (is_bit or self.type.startswith("string")):
            yield "scale", f"has no meaning for {self.type}"
        if self.fill is not None and self.type.startswith("string"):
            yield "fill", "has no meaning for text"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModbusListener:
    """A Modbus server, on TCP or a serial line, that shows the last values of points and takes writes to them."""

    kind: Literal["modbus"] = setting("modbus", text="Modbus TCP, RTU, ASCII.")
    bind: str = setting(
        text="Address and port to listen on; 502 is the one that IANA registered. 0.0.0.0 is every IPv4 address. Or a "
        'serial line, as in the url of a device: "serial:/dev/serial/by-id/...?baud=19200&parity=E".',
        check=_bind,
        example='"127.0.0.1:502"',
    )
    unit: int = setting(
        1,
        text="Unit identifier that it answers to. On TCP 0 and 255, which mean the server itself, are answered too; on "
        "a line a write to 0 is taken and not answered.",
        check=between(1, 247),
    )
    clients: tuple[str, ...] = setting(
        LOOPBACK,
        text="Addresses and networks of clients; others are refused. Modbus knows no users: whoever is let in reads "
        "everything and writes what may be written.",
        check=networks,
        example='["10.0.0.0/24"]',
    )
    max_connections: int = setting(
        32, text="Connections at once. One more ends the one that has been idle longest.", check=between(1, 1000)
    )
    max_age: Duration | None = setting(
        None,
        text="A value that is older is none. Without it a value is good until the device says otherwise.",
        check=between(0.1, 86_400),
        example='"1m"',
    )
    register: tuple[ServedPoint, ...] = setting(text="", check=not_empty)

    @property
    def address(self) -> Address:
        """``bind`` taken apart; of a line its device file, which nobody else may have either."""
        line = self.line
        return parse_address(self.bind) if line is None else Address("", 0, line.path)

    @property
    def line(self) -> Endpoint | None:
        """The serial line, if it is one."""
        return parse_url(self.bind) if self.bind.startswith("serial:") else None

    @property
    def tls(self) -> Tls | None:
        """It has none."""
        return None

    @property
    def is_datagram(self) -> bool:
        """Whether it is on UDP, whose ports are others than those of TCP."""
        return False

    @property
    def is_local(self) -> bool:
        """Nobody logs in here: no password crosses the network."""
        return True

    def problems(self) -> Iterator[tuple[str, str]]:
        if self.line is not None and self.clients != LOOPBACK:
            yield "clients", "has no effect on a serial line"
        taken: dict[tuple[str, int], int] = {}
        for index, point in enumerate(self.register):
            for at in range(point.width):
                place = (point.place.table, point.place.address + at)
                if place in taken:
                    yield (
                        f"register[{index}].address",
                        f"{place[0]}:{place[1]} is taken by register[{taken[place]}] already",
                    )
                    break
                taken[place] = index
