"""The registers of the Modbus server: what stands in them, and which command a write is. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from gateway.connectors.modbus.codec import Codec, make_codec
from gateway.connectors.modbus.server_config import ServedPoint
from gateway.connectors.modbus.serving import FAILURE, ILLEGAL_ADDRESS, ILLEGAL_VALUE, Illegal
from gateway.connectors.shape import Shape
from gateway.errors import Rejected
from gateway.message import Value

Command = Callable[[str, Value], None]
"""Takes the topic of a point and the value that a client wants it to have. Raises Illegal."""

_GOOD: frozenset[str] = frozenset(("good", "uncertain"))


class Shown:
    """One point, its last value as registers."""

    __slots__ = ("address", "point", "table", "width", "_codec", "_fill", "_shape", "_since", "_words")

    def __init__(self, point: ServedPoint) -> None:
        self.point = point
        self.table, self.address = point.place
        self.width = point.width
        self._codec: Codec = make_codec(point.type, point.order)
        self._shape = Shape(point.scale, whole=point.whole())
        self._fill = None if point.fill is None else self._encoded(point.fill)
        self._words: list[int] | None = None
        self._since = 0.0

    def took(self, value: Value, now: float) -> None:
        """A message of the point: an object with ``v`` and ``q``, or the bare value. What the registers cannot hold
        is no value."""
        if isinstance(value, Mapping) and "v" in value:
            value = value["v"] if value.get("q", "good") in _GOOD else None
        self._words = None if value is None else self._encoded(value)
        self._since = now

    def words(self, oldest: float) -> Sequence[int]:
        """The registers, if the value is not from before ``oldest``. Raises Illegal: device failure."""
        words = self._words if self._since >= oldest else None
        if words is None:
            words = self._fill
        if words is None:
            raise Illegal(FAILURE)
        return words

    def value(self, words: Sequence[int]) -> Value:
        """What the registers that a client writes say. Raises Illegal."""
        try:
            return self._shape.value(self._codec.decode(words))
        except ValueError:
            raise Illegal(ILLEGAL_VALUE) from None

    def _encoded(self, value: Value) -> list[int] | None:
        if self.point.type == "bool" and isinstance(value, float):
            value = bool(value)
        try:
            if isinstance(value, float) and self.point.scale == 1 and self.point.whole() is not None:
                value = round(value)  # the nearest that the registers can show, as with any other scale
            return self._codec.encode(self._shape.raw(value))
        except (Rejected, ValueError, OverflowError):
            return None


class Registers:
    """All of them, as ``serving.Tables`` at the moment ``now``.

    max_age  seconds after which a value is none
    """

    def __init__(self, points: Sequence[ServedPoint], max_age: float | None, command: Command) -> None:
        self.now = 0.0
        self._max_age = max_age
        self._command = command
        self._at: dict[tuple[str, int], Shown] = {}
        self._by_topic: dict[str, list[Shown]] = {}
        for point in points:
            shown = Shown(point)
            self._by_topic.setdefault(point.topic, []).append(shown)
            self._at.update(((shown.table, shown.address + at), shown) for at in range(shown.width))

    @property
    def topics(self) -> Sequence[str]:
        """Where the points are published."""
        return tuple(self._by_topic)

    def took(self, topic: str, value: Value) -> None:
        """A message has come."""
        for shown in self._by_topic.get(topic, ()):
            shown.took(value, self.now)

    def read(self, table: str, address: int, count: int) -> Sequence[int]:
        oldest = float("-inf") if self._max_age is None else self.now - self._max_age
        found = []
        for at in range(address, address + count):
            shown = self._find(table, at)
            found.append(shown.words(oldest)[at - shown.address])
        return found

    def write(self, table: str, address: int, values: Sequence[int]) -> None:
        """Each point that is written must be written whole: half a number is another one. All or nothing."""
        commands: list[tuple[str, Value]] = []
        at, end = address, address + len(values)
        while at < end:
            shown = self._find(table, at)
            if not shown.point.write:
                raise Illegal(ILLEGAL_ADDRESS)
            if shown.address != at or at + shown.width > end:
                raise Illegal(ILLEGAL_VALUE)
            commands.append((shown.point.topic, shown.value(values[at - address : at - address + shown.width])))
            at += shown.width
        for topic, value in commands:
            self._command(topic, value)

    def _find(self, table: str, address: int) -> Shown:
        shown = self._at.get((table, address))
        if shown is None:
            raise Illegal(ILLEGAL_ADDRESS)
        return shown
