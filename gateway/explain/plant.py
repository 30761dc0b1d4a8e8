"""What the settings of devices say of topics and values, for whoever looks at rules. No device is asked.

Knows the points by their topics, and of each what its values are: numbers, names, true and false, or text.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import Any, Final, Literal, NamedTuple

from gateway.config.settings import Settings
from gateway.connectors.points import PointSettings
from gateway.connectors.shape import parse_bits, parse_names
from gateway.errors import Rejected
from gateway.message import Value
from gateway.rules.loops import TriggerIndex
from gateway.rules.program import Program
from gateway.topic import matches

Kind = Literal["number", "name", "switch", "text"]

NUMBERS: Final = ("int", "uint", "float", "real", "double", "bcd")
"""How the names of types begin that hold numbers, whatever the kind of device calls them."""

TEXTS: Final = ("string", "text")


class Values(NamedTuple):
    """What the values of a point are. ``names``: by their numbers, for a point whose values are names."""

    kind: Kind
    names: dict[int, str]
    where: str


class PlantPoint(NamedTuple):
    """One point of the plant."""

    device: str
    topic: str
    settings: Any

    @property
    def values(self) -> Values | None:
        """None where the settings do not say, as those of a kind from another package may."""
        if not isinstance(self.settings, PointSettings):
            return None
        kind, names = _kind_of(self.settings)
        return None if kind is None else Values(kind, names, f'point "{self.settings.name}" of {self.device}')

    def refusal(self, value: Value) -> str | None:
        """Why this value would never be written; None when it may be."""
        point = self.settings
        if not isinstance(point, PointSettings):
            return None
        if point.write is None:
            return "is read-only: it has no write = { ... }"
        refused = point.write.refusal(value)
        if refused is not None:
            return refused
        shape = point.shape()
        try:
            shape.raw(value)
        except Rejected as rejected:
            return str(rejected)
        return None


class Plant:
    """The devices of one settings file."""

    def __init__(self, settings: Settings) -> None:
        self.devices: dict[str, str] = {}
        self.points: dict[str, PlantPoint] = {}
        for name, device in settings.device.items():
            topic = device.topic or name
            self.devices[name] = topic
            for point in device.point:
                self.points[f"{topic}/{point.name}"] = PlantPoint(name, f"{topic}/{point.name}", point)

    def device_above(self, pattern: str) -> str | None:
        """The device below whose topic all of a filter lies; None when there is none."""
        levels = pattern.split("/")
        for name, topic in self.devices.items():
            above = topic.split("/")
            if len(levels) > len(above) and levels[: len(above)] == above:
                return name
        return None

    def at(self, pattern: str) -> list[PlantPoint]:
        """The points whose topics match a filter."""
        exact = self.points.get(pattern)
        if exact is not None:
            return [exact]
        if "+" not in pattern and "#" not in pattern:
            return []
        return [point for topic, point in self.points.items() if matches(pattern, topic)]

    def spoken(self) -> Iterator[str]:
        """Filters of everything that devices publish, and of the commands to them."""
        for topic in self.points:
            yield topic
            yield from (f"{topic}/set", f"{topic}/set/result", f"{topic}/arm", f"{topic}/arm/result")

    def near(self, device: str, pattern: str) -> str:
        """``; did you mean "temperature"?``, or the points that there are."""
        known = [point.settings.name for point in self.points.values() if point.device == device]
        wanted = pattern.removeprefix(self.devices[device] + "/")
        close = difflib.get_close_matches(wanted, known, 1)
        if close:
            return f'; did you mean "{close[0]}"?'
        return f"; its points are: {', '.join(known[:10]) or 'none'}{' ...' if len(known) > 10 else ''}"


class Filters:
    """Many filters, to be asked whether one overlaps some of them: a thousand of them in microseconds."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._index = TriggerIndex([Program("", tuple(dict.fromkeys(patterns)), (), None, ())])

    def overlap(self, pattern: str) -> bool:
        """Whether some topic matches this filter and one of these."""
        return next(iter(self._index.overlapping([pattern])), None) is not None


def _kind_of(point: PointSettings) -> tuple[Kind | None, dict[int, str]]:
    if point.values is not None:
        return "name", parse_names(point.values)
    if point.bits is not None and parse_bits(point.bits).is_single:
        return "switch", {}
    type_name: Any = getattr(point, "type", None)
    if isinstance(type_name, str):
        if type_name.lower().startswith(TEXTS):
            return "text", {}
        if type_name.lower() in ("bool", "boolean"):
            return "switch", {}
        if type_name.lower().startswith(NUMBERS):
            return "number", {}
    is_number = (
        point.whole() is not None
        or (point.scale, point.offset) != (1, 0)
        or any(given is not None for given in (point.counter, point.range, point.rate, point.bits))
    )
    return ("number" if is_number else None), {}
