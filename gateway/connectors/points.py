"""What every kind of device shares about its points: the declared settings, what is known of each, what to report.

``PointSettings`` and ``DeviceSettings`` are the base of every kind's settings. ``LastKnown`` turns answers and
missed answers into samples with a quality. ``Reporter`` decides which samples are worth publishing.

All of it is pure: no device is asked and nothing is published here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from gateway.config.declare import Duration, between, setting, topic_level, topic_name
from gateway.connectors.base import Quality, Sample
from gateway.message import Value

_COMMAND_LEVEL: Final = "set"


def _point_name(value: str) -> str | None:
    if value == _COMMAND_LEVEL:
        return 'must not be "set": commands arrive at <point>/set'
    return topic_level(value)


def _not_zero(value: float) -> str | None:
    return None if value else "must not be 0; every value would be the offset"


def _not_negative(value: float) -> str | None:
    return None if value >= 0 else "must not be negative"


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteLimits:
    """Commands may write the point, within these limits. Without this table the point is read-only."""

    min: float | None = setting(None, text="Least value, in the point's unit. Without it: what its type can hold.")
    max: float | None = setting(None, text="Greatest value, in the point's unit. Without it: what its type can hold.")

    def problems(self) -> Iterator[tuple[str, str]]:
        if self.min is not None and self.max is not None and self.min > self.max:
            yield "max", f"must be at least min, which is {self.min:g}"

    def refusal(self, value: Value) -> str | None:
        """Say why ``value`` is outside the limits, or return None when it is inside."""
        if self.min is None and self.max is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"must be a number, not {value!r}"
        if self.min is not None and value < self.min:
            return f"must be at least {self.min:g}, not {value!r}"
        if self.max is not None and value > self.max:
            return f"must be at most {self.max:g}, not {value!r}"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class PointSettings:
    """One value of a device."""

    name: str = setting(
        text="Name of the point; the last level of its topic.", check=_point_name, example='"temperature"'
    )
    unit: str | None = setting(None, text="Unit of the scaled value, published with it.", example='"Cel"')
    scale: float = setting(1.0, text="The value is what the device says, times scale, plus offset.", check=_not_zero)
    offset: float = setting(0.0, text="Added after scale.")
    deadband: float | None = setting(
        None,
        text="Publish only a value that differs from the last published one by at least this much, in the point's "
        "unit; 0 publishes every change. Without it every reading is published. The first value, a change of "
        "quality and a change to 0 or false are always published.",
        check=_not_negative,
        example="0.2",
    )
    write: WriteLimits | None = setting(None, text="", example="{ min = 0, max = 90 }")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSettings:
    """What every kind of device has."""

    poll: Duration = setting(1.0, text="How often the device is read.", check=between(0.01, 86_400))
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


class LastKnown:
    """What is known of one point, and the sample that says so.

    A good reading always makes a sample. Trouble makes one only when the quality or its reason changes, so a dead
    device costs a few messages and not one each poll. ``time`` is the wall clock, ``now`` the monotonic one.

    patience  seconds without a good reading after which the last one is stale
    """

    __slots__ = ("name", "quality", "_patience", "_reason", "_since", "_time", "_value")

    def __init__(self, name: str, poll: float, stale_after: int) -> None:
        self.name = name
        self.quality: Quality | None = None
        # Half a poll less: the poll that makes it stale is not always exactly on its tick.
        self._patience = (stale_after - 0.5) * poll
        self._reason = ""
        self._since: float | None = None
        self._time = 0.0
        self._value: Value = None

    def good(self, value: Value, time: float, now: float) -> Sample:
        """The device has answered with a value."""
        self.quality = Quality.GOOD
        self._reason = ""
        self._since = now
        self._time = time
        self._value = value
        return Sample(self.name, value, Quality.GOOD, time)

    def bad(self, reason: str, time: float) -> Sample | None:
        """The device has answered that it has no such value, or with one that means nothing."""
        if self.quality is Quality.BAD and self._reason == reason:
            return None
        self.quality = Quality.BAD
        self._reason = reason
        return Sample(self.name, None, Quality.BAD, time, reason)

    def missed(self, reason: str, time: float, now: float) -> Sample | None:
        """No answer. The last good value stays valid for a while, then is stale; it keeps the time of its reading.

        A point that never had a value is bad instead, after the same while.
        """
        if self._since is None:
            self._since = now
        if self.quality in (Quality.BAD, Quality.STALE) or now - self._since < self._patience:
            return None
        if self.quality is None:
            return self.bad(reason, time)
        self.quality = Quality.STALE
        self._reason = reason
        return Sample(self.name, self._value, Quality.STALE, self._time, reason)


class Reporter:
    """Decides for one point which samples are published.

    deadband  see ``PointSettings.deadband``
    """

    __slots__ = ("_deadband", "_quality", "_reason", "_value")

    def __init__(self, deadband: float | None) -> None:
        self._deadband = deadband
        self._quality: Quality | None = None
        self._reason = ""
        self._value: Value = None

    def report(self, sample: Sample) -> bool:
        """Whether to publish ``sample``; if so, it is what the next ones are compared with."""
        is_news = (
            self._deadband is None
            or sample.quality is not self._quality
            or sample.reason != self._reason
            or self._moved(sample.value, self._deadband)
        )
        if is_news:
            self._quality = sample.quality
            self._reason = sample.reason
            self._value = sample.value
        return is_news

    def _moved(self, value: Value, deadband: float) -> bool:
        last = self._value
        if value == last and type(value) is type(last):
            return False
        if not _is_number(value) or not _is_number(last):
            return True
        # 71.5 - 71.3 is a little less than 0.2 in binary: a step of exactly the deadband must count.
        distance = abs(value - last)
        return value == 0 or distance >= deadband or math.isclose(distance, deadband, rel_tol=1e-9)


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
