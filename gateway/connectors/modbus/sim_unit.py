"""One simulated unit: four tables, and what is wrong with it.

It is no example of a good device: it does not check who writes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.connectors.modbus.serving import ILLEGAL_ADDRESS, Illegal, serve

Content = int | Callable[[float], int]
"""What stands in a register (0 to 65535) or bit (0, 1): a number, or a function of the wall clock."""


@dataclass(frozen=True, slots=True)
class Question:
    """One request as it arrived."""

    unit: int
    function: int
    address: int
    count: int


class Unit:
    """One device. A register is where it stands in a table; an address that is not there does not exist (exception 2).

    coil, discrete, holding, input  its tables
    is_mute    answers nothing
    delay      seconds before each answer
    busy_until when, by the loop's clock, it has given the answers that it owes
    exception  answers everything with this code
    garbage    answers everything with these bytes
    frozen     addresses of holding registers that take a write and keep their value
    unknown    function codes that it does not know (exception 1)
    """

    def __init__(self) -> None:
        self.coil: dict[int, Content] = {}
        self.discrete: dict[int, Content] = {}
        self.holding: dict[int, Content] = {}
        self.input: dict[int, Content] = {}
        self.is_mute = False
        self.delay = 0.0
        self.busy_until = 0.0
        self.exception: int | None = None
        self.garbage: bytes | None = None
        self.frozen: set[int] = set()
        self.unknown: set[int] = set()

    def answer(self, pdu: bytes, time: float) -> bytes:
        """The answer to one request, both from the function code on."""
        if self.exception is not None:
            return bytes((pdu[0] | 0x80, self.exception))
        if pdu[0] in self.unknown:
            return bytes((pdu[0] | 0x80, 1))
        return serve(pdu, _Now(self, time))

    def table(self, name: str) -> dict[int, Content]:
        """The table of this name."""
        table: dict[int, Content] = getattr(self, name)
        return table

    def settle(self) -> None:
        """Nothing is wrong any more."""
        self.is_mute, self.delay, self.exception, self.garbage = False, 0.0, None, None


class _Now:
    """A unit's tables at a moment."""

    __slots__ = ("_time", "_unit")

    def __init__(self, unit: Unit, time: float) -> None:
        self._unit = unit
        self._time = time

    def read(self, table: str, address: int, count: int) -> Sequence[int]:
        contents = self._unit.table(table)
        try:
            found = [contents[at] for at in range(address, address + count)]
        except KeyError:
            raise Illegal(ILLEGAL_ADDRESS) from None
        return [content(self._time) if callable(content) else content for content in found]

    def write(self, table: str, address: int, values: Sequence[int]) -> None:
        contents = self._unit.table(table)
        places = range(address, address + len(values))
        if any(at not in contents for at in places):
            raise Illegal(ILLEGAL_ADDRESS)
        frozen = self._unit.frozen if table == "holding" else ()
        contents.update((at, value) for at, value in zip(places, values, strict=True) if at not in frozen)
