"""The port through which a device sees the gateway: samples in, messages out.

Thins with the point's deadband, writes value, quality, source time and unit into one message, publishes it on
``<topic>/<point>``. Knows no protocol and keeps no task.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from gateway.broker.port import Publisher
from gateway.clock import Clock, iso_time
from gateway.connectors.base import Quality, Sample
from gateway.connectors.deadband import Reporter, parse_deadband
from gateway.connectors.point_settings import DeviceSettings, PointSettings
from gateway.message import Message

T = TypeVar("T")

Book = Callable[[str, int], None]
"""Counts: ``book("produced", 5)``. What was produced was either published or thinned."""


class _Outlet:
    """Where one point publishes."""

    __slots__ = ("topic", "unit", "reporter")

    def __init__(self, topic: str, point: PointSettings) -> None:
        self.topic = f"{topic}/{point.name}"
        self.unit = point.unit
        deadband = None if point.deadband is None else parse_deadband(point.deadband)
        self.reporter = Reporter(deadband, point.min_interval, point.max_interval)


class DevicePort:
    """One device's ``Port`` (see ``connectors.base``).

    name       name of the device
    settings   its settings, for topic and format
    points     its points; a sample of any other point is a bug and raises KeyError
    shared     what devices share, by key; the same dict for every device
    book       see ``Book``; the names are ``produced`` and ``thinned``

    ``last`` holds the last sample of each point, published or not.
    """

    def __init__(
        self,
        name: str,
        settings: DeviceSettings,
        points: Sequence[PointSettings],
        *,
        clock: Clock,
        publisher: Publisher,
        shared: dict[str, Any],
        book: Book,
    ) -> None:
        self._name = name
        self._clock = clock
        self._publisher = publisher
        self._shared = shared
        self._book = book
        self._source = f"device:{name}"
        self._is_bare = settings.format == "value"
        self._outlets = {point.name: _Outlet(settings.topic or name, point) for point in points}
        self._timed = [
            self._outlets[point.name] for point in points if point.min_interval or point.max_interval is not None
        ]
        self.last: dict[str, Sample] = {}
        self._stamp = (0.0, "")

    @property
    def name(self) -> str:
        return self._name

    @property
    def clock(self) -> Clock:
        return self._clock

    def share(self, key: str, make: Callable[[], T]) -> T:
        if key not in self._shared:
            self._shared[key] = make()
        return cast(T, self._shared[key])

    def emit(self, samples: Sequence[Sample]) -> None:
        thinned = 0
        now = self._clock.now()
        for sample in samples:
            outlet = self._outlets[sample.point]
            self.last[sample.point] = sample
            if not outlet.reporter.report(sample, now) or not self._publish(outlet, sample):
                thinned += 1
        if samples:
            self._book("produced", len(samples))
        if thinned:
            self._book("thinned", thinned)

    def tick(self) -> None:
        """Publish what ``min_interval`` has held back until now, and repeat what ``max_interval`` wants repeated; for
        points that nothing has come from since. To be called about once a second."""
        now = self._clock.now()
        for outlet in self._timed:
            sample = outlet.reporter.on_timer(now)
            if sample is not None:
                # A repeated one was produced once more; a held one was counted as thinned when it came.
                self._book("produced", 1)
                if not self._publish(outlet, sample):
                    self._book("thinned", 1)

    def _publish(self, outlet: _Outlet, sample: Sample) -> bool:
        if self._is_bare and sample.quality is not Quality.GOOD:
            return False
        value = sample.value if self._is_bare else self._described(sample, outlet.unit)
        self._publisher.publish(Message(outlet.topic, qos=1, time=sample.time, source=self._source, value=value))
        return True

    def _described(self, sample: Sample, unit: str | None) -> dict[str, Any]:
        value: dict[str, Any] = {"v": sample.value, "q": str(sample.quality), "t": self._time(sample.time)}
        if unit is not None:
            value["u"] = unit
        if sample.quality is not Quality.GOOD:
            value["why"] = sample.reason
        return value

    def _time(self, time: float) -> str:
        # All points of one answer have the same time; the text is made once.
        if self._stamp[0] != time or not self._stamp[1]:
            self._stamp = (time, iso_time(time))
        return self._stamp[1]
