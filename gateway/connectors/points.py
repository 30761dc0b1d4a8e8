"""One live point: its settings, its shape, what is known of it. What every kind of device shares.

``took`` is the whole way of a reading::

    raw -> absent? -> bits -> counter -> names or scale -> plausible? -> Sample with a quality

and ``to_device`` the way back. All of it is pure: no device is asked and nothing is published here. The settings
are declared in ``point_settings.py``; which samples are published is the port's affair (``deadband.py``).
"""

from __future__ import annotations

from typing import Any, Final

from gateway.connectors.base import Quality, Sample
from gateway.connectors.counter import Counter
from gateway.connectors.deadband import is_number
from gateway.connectors.known import LastKnown as LastKnown
from gateway.connectors.plausible import FINE, Bounds, Plausible
from gateway.connectors.point_settings import DeviceSettings as DeviceSettings
from gateway.connectors.point_settings import PointSettings as PointSettings
from gateway.connectors.point_settings import WriteLimits as WriteLimits
from gateway.connectors.shape import Part
from gateway.errors import Rejected
from gateway.message import Value

LONGEST_RAW: Final = 64
"""Bytes of a bad answer that are kept for the trace."""


class Point:
    """One point of one device. ``time`` is the wall clock, ``now`` the monotonic one.

    name  its name
    poll  seconds between two readings
    """

    __slots__ = ("name", "poll", "settings", "_counter", "_known", "_plausible", "_shape", "_worst")

    def __init__(self, settings: PointSettings, device: DeviceSettings) -> None:
        self.name = settings.name
        self.settings = settings
        self.poll: float = settings.poll or device.poll
        self._known = LastKnown(settings.name, self.poll, device.stale_after)
        self._shape = settings.shape()
        self._counter: Counter | None = None
        if settings.counter is not None:
            rate = None if settings.rate is None else settings.rate / abs(settings.scale)
            self._counter = Counter(settings.counter, rate)
        bounds = None if settings.range is None else Bounds(*settings.range)
        self._plausible = Plausible(bounds, settings.rate, settings.flat_for)
        self._worst: tuple[str, str] | None = None

    @property
    def quality(self) -> Quality | None:
        """Quality of the last sample; None before the first."""
        return self._known.quality

    @property
    def is_part(self) -> bool:
        """Whether the point is some bits of a number: it is written with ``part_to_device``."""
        return self._shape.bits is not None

    def took(self, raw: Value, time: float, now: float, quality: Quality = Quality.GOOD, reason: str = "") -> Sample:
        """A reading: what the device holds, before bits, names and scale.

        ``quality``, with its ``reason``, is what the device says of it; the sample's is not better. A value that
        the device calls bad or stale does not become one.
        """
        if quality in (Quality.BAD, Quality.STALE):
            return self._bad(reason or f"the device says that it is {quality}", time)
        if self.settings.absent and is_number(raw) and raw in self.settings.absent:
            return self._bad(f"the device says {raw}: it has no value", time)
        try:
            part = self._shape.part(raw)
            told = FINE
            if self._counter is not None and is_number(part):
                part, told = self._counter.total(part, now)
            value = self._shape.value(part)
        except ValueError as error:
            return self._bad(str(error), time)
        judged = self._plausible.judge(value, now)
        if judged[0] is Quality.BAD:
            return self._bad(judged[1], time, str(raw)[:LONGEST_RAW])
        if quality is Quality.GOOD:
            if told is not FINE:
                quality, reason = told
            elif judged is not FINE:
                quality, reason = judged
            elif self._shape.names is not None and not isinstance(value, str):
                quality, reason = Quality.UNCERTAIN, "a number without a name"
            else:
                reason = ""
        return self._known.good(value, time, now, quality, reason)

    def bad(self, reason: str, time: float, raw: bytes = b"") -> Sample | None:
        """The device has answered that it has no such value, or with ``raw`` bytes that mean nothing.

        None when that was said already.
        """
        return self._trouble(reason, time, bytes(raw[:LONGEST_RAW]).hex(" "))

    def missed(self, reason: str, time: float, now: float) -> Sample | None:
        """A poll brought no answer. The last value is stale after ``stale_after`` of them, a point that never had
        one is bad. None before that, and when it was said already."""
        return self._known.missed(reason, time, now)

    def to_device(self, value: Value) -> Value:
        """What to write into the device, so that the point has ``value``. Raises Rejected."""
        self._check_writable()
        if self._shape.bits is not None:
            raise Rejected(f'"{self.name}" is a part of a number, and this device can only write whole ones')
        return self._shape.raw(value)

    def part_to_device(self, value: Value) -> Part:
        """The same for a point that is some bits: what to put where. Only for kinds that can write a part of a number
        in one step (Modbus: function 22). Reading it, changing it and writing it back would undo what others have
        written in between. Raises Rejected."""
        self._check_writable()
        return self._shape.placed(self._shape.raw(value))

    def _check_writable(self) -> None:
        if self._counter is not None:
            raise Rejected(f'"{self.name}" is a total and cannot be written')

    def _trouble(self, reason: str, time: float, raw: str) -> Sample | None:
        if raw:
            self._worst = (reason, raw)
        return self._known.bad(reason, time, raw)

    def _bad(self, reason: str, time: float, raw: str = "") -> Sample:
        return self._trouble(reason, time, raw) or Sample(self.name, None, Quality.BAD, time, reason, raw)

    def status(self) -> dict[str, Any]:
        """Quality and reason now; of the last bad answer the reason and what it said (``Sample.raw``)."""
        known = self._known
        status: dict[str, Any] = {"quality": None if known.quality is None else str(known.quality)}
        if known.reason:
            status["reason"] = known.reason
        if self._worst is not None:
            status["bad"] = {"reason": self._worst[0], "raw": self._worst[1]}
        return status
