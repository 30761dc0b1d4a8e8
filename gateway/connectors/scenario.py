"""What simulated devices do over time: values that move, and faults by a script. Pure.

A script is a TOML file of steps::

    [[step]]
    at = "10s"
    device = "boiler"
    fault = "mute"
    lasts = "5s"

    [[step]]
    at = "20s"
    device = "boiler"
    point = "temperature"
    value = 71.3
    to = 95
    over = "1m"

Without a step of its own a point that nobody may write swings slowly within its limits, so that a try-out shows life;
one that may be written keeps what was written.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple
from zlib import crc32

from gateway.config.declare import Duration, between, not_empty, setting
from gateway.message import Value

SWING: Final = (20.0, 5.0)
"""Middle and reach of a point whose settings give no limits, in its unit."""

PERIODS: Final = (30.0, 90.0)
"""Seconds of the fastest and the slowest swing; each point has its own."""

_LONGEST: Final = 366 * 86_400.0


class Put(NamedTuple):
    """A point has a value from now on."""

    device: str
    point: str
    value: Value


class Fail(NamedTuple):
    """A device has a fault from now on; ``none`` ends it."""

    device: str
    kind: str
    amount: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that happens: a value or a fault."""

    at: Duration = setting(
        text="When, after the start or the last repeat.", check=between(0, _LONGEST), example='"10s"'
    )
    device: str = setting(text="Name of the device in the settings.", check=not_empty)
    point: str | None = setting(None, text="Name of the point that gets the value.")
    value: bool | float | str | None = setting(None, text="The value, in the point's unit.")
    to: float | None = setting(None, text="Go on to this value in a straight line.")
    over: Duration = setting(10.0, text="How long the way to it takes.", check=between(0.1, _LONGEST))
    fault: Literal["none", "mute", "late", "garbage", "exception", "reboot"] | None = setting(
        None, text="What is wrong with the device from now on; none ends it."
    )
    amount: float = setting(0.0, text="Seconds for late and reboot; the code for exception.", check=between(0, 86_400))
    lasts: Duration | None = setting(None, text="The fault ends by itself after this.", check=between(0.1, _LONGEST))

    def problems(self) -> Iterator[tuple[str, str]]:
        if (self.fault is None) == (self.point is None):
            yield "", "must have either a fault or a point with a value"
        elif self.point is not None and self.value is None:
            yield "value", "is missing: what shall the point hold?"
        if self.to is not None and (isinstance(self.value, bool | str) or self.point is None):
            yield "to", "needs a point with a number as value to start from"
        if self.lasts is not None and self.fault is None:
            yield "lasts", "is for faults; a value stays until the next step"


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A file of steps."""

    repeat: Duration | None = setting(
        None, text="Begin again after this. Without it the last step stays.", check=between(0.1, _LONGEST)
    )
    step: tuple[Step, ...] = setting(text="", check=not_empty)

    def problems(self) -> Iterator[tuple[str, str]]:
        for index, step in enumerate(self.step):
            if self.repeat is not None and step.at + (step.lasts or 0) >= self.repeat:
                key = "at" if step.lasts is None else "lasts"
                yield f"step[{index}].{key}", f"must end before the repeat, after {self.repeat:g} s"


def unknown(script: Script, devices: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a script names that the settings do not have: pairs of (key, text)."""
    found = []
    for index, step in enumerate(script.step):
        device = devices.get(step.device)
        if device is None:
            known = ", ".join(devices) or "none"
            found.append((f"step[{index}].device", f'no device is called "{step.device}"; there are: {known}'))
        elif step.point is not None and all(point.name != step.point for point in device.point):
            known = ", ".join(point.name for point in device.point)
            found.append((f"step[{index}].point", f'{step.device} has no point "{step.point}"; it has: {known}'))
    return found


class _Ramp(NamedTuple):
    begin: float
    first: float
    last: float
    over: float

    def value(self, at: float) -> float:
        part = min(1.0, max(0.0, (at - self.begin) / self.over))
        return self.first + (self.last - self.first) * part

    def is_over(self, at: float) -> bool:
        return at >= self.begin + self.over


class Scenario:
    """Turns the time into what happens. ``devices``: the settings of all devices by name."""

    def __init__(self, devices: Mapping[str, Any], script: Script | None = None) -> None:
        self._events = sorted(_events(script), key=lambda event: event[0]) if script else []
        self._repeat = script.repeat if script else None
        driven = {(step.device, step.point) for step in script.step} if script else set()
        self._swings = [
            (name, point.name, _swing(name, point))
            for name, device in devices.items()
            for point in device.point
            if (name, point.name) not in driven and point.write is None
        ]
        self._ramps: dict[tuple[str, str], _Ramp] = {}
        self._next = 0
        self._round = 0

    def still(self, device: str, point: str) -> None:
        """The point holds no number that could swing: leave it alone."""
        self._swings = [swing for swing in self._swings if swing[:2] != (device, point)]

    def until(self, at: float) -> list[Put | Fail]:
        """All that happens up to ``at`` seconds after the start; values as they stand then."""
        done: list[Put | Fail] = []
        while (event := self._due(at)) is not None:
            when, what = event
            if isinstance(what, Fail):
                done.append(what)
                continue
            self._ramps.pop((what.device, what.point or ""), None)
            assert what.point is not None
            if what.to is not None and isinstance(what.value, int | float):
                self._ramps[what.device, what.point] = _Ramp(when, what.value, what.to, what.over)
            done.append(Put(what.device, what.point, what.value))
        for (device, point), ramp in list(self._ramps.items()):
            done.append(Put(device, point, ramp.value(at)))
            if ramp.is_over(at):
                del self._ramps[device, point]
        done += [Put(device, point, swing(at)) for device, point, swing in self._swings]
        return done

    def _due(self, at: float) -> tuple[float, Step | Fail] | None:
        if self._next >= len(self._events) and self._repeat is not None:
            self._next, self._round = 0, self._round + 1
        if self._next >= len(self._events):
            return None
        when, what = self._events[self._next]
        when += self._round * (self._repeat or 0.0)
        if when > at:
            return None
        self._next += 1
        return when, what


def _events(script: Script) -> Iterator[tuple[float, Step | Fail]]:
    for step in script.step:
        if step.fault is None:
            yield step.at, step
        else:
            yield step.at, Fail(step.device, step.fault, step.amount)
            if step.lasts is not None:
                yield step.at + step.lasts, Fail(step.device, "none", 0.0)


class _swing:
    """A slow wave within the limits that the settings give, at a pace of the point's own."""

    __slots__ = ("_middle", "_reach", "_period")

    def __init__(self, device: str, point: Any) -> None:
        limits = getattr(point, "range", None)
        low, high = (getattr(limits, "min", None), getattr(limits, "max", None)) if limits is not None else (None, None)
        middle, reach = SWING
        if low is not None and high is not None:
            # Within the inner half: what is tried out is a healthy plant.
            middle, reach = (low + high) / 2, (high - low) / 4
        elif low is not None:
            middle, reach = low + max(abs(low) * 0.5, 2 * reach), max(abs(low) * 0.1, reach)
        elif high is not None:
            middle, reach = high - max(abs(high) * 0.5, 2 * reach), max(abs(high) * 0.1, reach)
        self._middle, self._reach = middle, reach
        place = crc32(f"{device}/{point.name}".encode()) / 2**32
        self._period = PERIODS[0] + place * (PERIODS[1] - PERIODS[0])

    def __call__(self, at: float) -> float:
        return self._middle + self._reach * math.sin(2 * math.pi * at / self._period)
