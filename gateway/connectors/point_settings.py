"""The declared settings that every kind of device and point has. No device is asked here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from gateway.config.declare import Duration, between, setting, topic_level, topic_name
from gateway.connectors.deadband import parse_deadband
from gateway.connectors.shape import Shape, Whole, parse_bits, parse_names
from gateway.connectors.write_rules import WriteLimits as WriteLimits

_COMMAND_LEVELS: Final = ("set", "arm")

DAY: Final = 86_400.0


def _point_name(value: str) -> str | None:
    if value in _COMMAND_LEVELS:
        return f'must not be "{value}": commands arrive at <point>/{value}'
    return topic_level(value)


def _not_zero(value: float) -> str | None:
    return None if value else "must not be 0; every value would be the offset"


def _positive(value: float) -> str | None:
    return None if value > 0 else "must be greater than 0"


def _ends(value: Sequence[float]) -> str | None:
    if len(value) == 2 and value[0] < value[1]:
        return None
    return "must be the least and the greatest value, as in [-40, 125]"


def parsed_by(parse: Callable[[Any], object]) -> Callable[[Any], str | None]:
    """A check from a parser that raises ValueError with what the value must be."""

    def check(value: Any) -> str | None:
        try:
            parse(value)
        except ValueError as error:
            return str(error)
        return None

    return check


@dataclass(frozen=True, slots=True, kw_only=True)
class PointSettings:
    """One value of a device."""

    name: str = setting(
        text="Name of the point; the last level of its topic.", check=_point_name, example='"temperature"'
    )
    unit: str | None = setting(None, text="Unit of the scaled value, published with it.", example='"Cel"')
    poll: Duration | None = setting(
        None,
        text="How often this point is read. Without it: the poll of the device.",
        check=between(0.01, DAY),
        example='"1m"',
    )
    scale: float = setting(1.0, text="The value is what the device says, times scale, plus offset.", check=_not_zero)
    offset: float = setting(0.0, text="Added after scale.")
    bits: int | str | None = setting(
        None,
        text='The value is one bit of the number that the device holds, true or false, or several: "8..11" is the '
        "number in bits 8 to 11, counted from 0, the lowest.",
        check=parsed_by(parse_bits),
        example='"8..11"',
    )
    values: dict[str, str] | None = setting(
        None,
        text="Names of numbers: the value is the name, for reading and writing. A number that has none is published "
        "as it is, with the quality uncertain.",
        check=parsed_by(parse_names),
        example='{ 0 = "off", 1 = "run" }',
    )
    counter: int | None = setting(
        None,
        text="The device counts up and starts again at 0 at this number: 65536 for a counter of 16 bits, 4294967296 "
        "for one of 32, 1000000 for six wheels. The value is the total that goes on over it, and over a reset of the "
        "device. It starts with what the device says, also after a restart of the gateway.",
        check=between(2, 2.0**63),
        example="65536",
    )
    absent: tuple[float, ...] = setting(
        (),
        text="Numbers by which the device says that it has no value, before bits, names and scale: [65535], [-32768]. "
        "The point is bad then.",
        example="[65535]",
    )
    range: tuple[float, ...] | None = setting(
        None,
        text="Least and greatest value that can be true, in the point's unit. One outside is bad and not published as "
        "a value.",
        check=_ends,
        example="[-40, 125]",
    )
    rate: float | None = setting(
        None,
        text="Greatest change in a second, in the point's unit. A value that has moved faster than that since the last "
        "one that had not is uncertain.",
        check=_positive,
        example="5",
    )
    flat_for: Duration | None = setting(
        None,
        text="A number that stays exactly the same for this long is uncertain: the sensor may be frozen.",
        check=between(0.1, 365 * DAY),
        example='"1h"',
    )
    deadband: float | str | None = setting(
        None,
        text="Publish only a value that differs from the last published one by at least this much, in the point's "
        'unit, or in percent of the last published value ("2%"); 0 publishes every change. Without it every reading '
        "is published. The first value, a change of quality and a change to 0 or false are always published.",
        check=parsed_by(parse_deadband),
        example="0.2",
    )
    min_interval: Duration = setting(
        0.0,
        text="Publish at most once in this time; the newest value is published when it is over. The first value, "
        "a change of quality and a change to 0 or false do not wait.",
        check=between(0, DAY),
        example='"5s"',
    )
    max_interval: Duration | None = setting(
        None,
        text="Publish at least once in this time, also a value that has not moved.",
        check=between(0.1, DAY),
        example='"10m"',
    )
    write: WriteLimits | None = setting(None, text="", example="{ min = 0, max = 90 }")

    def whole(self) -> Whole | None:
        """The whole numbers that the device's type can hold; None when it holds something else. For kinds to say."""
        return None

    def shape(self) -> Shape:
        """Both directions between what the device holds and the value."""
        return Shape(
            self.scale,
            self.offset,
            None if self.bits is None else parse_bits(self.bits),
            None if self.values is None else parse_names(self.values),
            self.whole(),
        )

    def problems(self) -> Iterator[tuple[str, str]]:
        """What does not fit together. A kind's own ``problems`` are asked beside these."""
        is_scaled = (self.scale, self.offset) != (1, 0)
        is_switch = self.bits is not None and parse_bits(self.bits).is_single
        if self.values is not None or is_switch:
            what = "a value that is a name" if self.values is not None else "a single bit"
            for key, is_set in (
                ("scale", is_scaled),
                ("range", self.range is not None),
                ("rate", self.rate is not None),
                ("flat_for", self.flat_for is not None),
            ):
                if is_set:
                    yield key, f"has no effect on {what}"
        if self.counter is not None and (self.bits is not None or self.values is not None):
            yield "counter", "has no effect on a value that is a name or some bits"
        if self.counter is not None and self.write is not None:
            yield "write", "has no effect on a total: it cannot be written"
        if self.max_interval is not None and self.max_interval < self.min_interval:
            yield "max_interval", f"must be at least min_interval, which is {self.min_interval:g} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSettings:
    """What every kind of device has."""

    profile: str | None = setting(
        None,
        text="File with what devices of this make have in common: kind, points, types, units, limits. The name of one "
        'that comes with the gateway ("energy-meter"), or a file of your own ("my.toml"), relative to this file. Keys '
        "that stand here replace those of the profile, and points with the name of one of its points replace the keys "
        "that they have.",
        example='"energy-meter"',
    )
    only: tuple[str, ...] = setting(
        (),
        text="Points of the profile that this device has, by name or by pattern. Without it: all of them.",
        example='["voltage_*"]',
    )
    without: tuple[str, ...] = setting(
        (),
        text="Points of the profile that this device does not have, by name or by pattern.",
        example='["current_*"]',
    )
    poll: Duration = setting(1.0, text="How often the device is read.", check=between(0.01, DAY))
    phase: Duration | None = setting(
        None,
        text="Where in its period the device is read, counted from a moment that is the same for all devices. Without "
        "it: a place that its name gives, so that devices with one period do not all ask at once.",
        check=between(0, DAY),
        example='"250ms"',
    )
    topic: str | None = setting(
        None,
        text="Points publish to <topic>/<point> and are written at <topic>/<point>/set. Without it: the device's name.",
        check=topic_name,
        example='"plant/boiler"',
    )
    stale_after: int = setting(
        3, text="A value is stale once this many polls in a row have brought no new one.", check=between(1, 1000)
    )
    format: Literal["json", "value"] = setting(
        "json",
        text='json publishes {"v": 71.3, "q": "good", "t": "...", "u": "Cel"}; value publishes 71.3 alone, and '
        "nothing while the quality is not good.",
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """What does not fit together. A kind's own ``problems`` are asked beside these."""
        for key in ("only", "without"):
            if getattr(self, key) and self.profile is None:
                yield key, "has no effect without a profile"
        points: Sequence[PointSettings] = getattr(self, "point", ())
        seen: dict[str, int] = {}
        for index, point in enumerate(points):
            if point.name in seen:
                yield f"point[{index}].name", f'"{point.name}" is the name of point[{seen[point.name]}] too'
            seen.setdefault(point.name, index)
        for index, point in enumerate(points):
            for interlock in point.write.interlocks() if point.write is not None else ():
                if not interlock.device and interlock.point not in seen:
                    yield f"point[{index}].write.when", f'"{interlock.point}" is no point of this device'

    def interlocks(self) -> Iterator[tuple[str, str, str]]:
        """(key below the device, device, point) of the points of other devices that writes depend on."""
        points: Sequence[PointSettings] = getattr(self, "point", ())
        for index, point in enumerate(points):
            for interlock in point.write.interlocks() if point.write is not None else ():
                if interlock.device:
                    yield f"point[{index}].write.when", interlock.device, interlock.point
