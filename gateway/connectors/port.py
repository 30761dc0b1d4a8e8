"""The port through which a device sees the gateway: samples in, messages out.

Thins with the point's deadband, writes value, quality, source time and unit into one message, publishes it on
``<topic>/<point>``. Knows no protocol and keeps no task.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar, cast

from gateway.broker.port import Publisher
from gateway.clock import Clock, iso_time
from gateway.connectors.base import Quality, Sample
from gateway.connectors.deadband import Reporter, parse_deadband
from gateway.connectors.point_settings import DeviceSettings, PointSettings
from gateway.message import Message

T = TypeVar("T")

Book = Callable[[str, int], None]
"""Counts: ``book("produced", 5)``. What was produced was either published or thinned."""


AWAY: Final = "the device is away"

MOST_TROUBLES: Final = 20
"""Points that status names: a device that is away has all of its points there."""


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

    ``last`` holds the last sample of each point, published or not; ``keys`` what the device shares.
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
        self._patience = {point.name: (settings.stale_after - 0.5) * (point.poll or settings.poll) for point in points}
        self.last: dict[str, Sample] = {}
        self.keys: set[str] = set()
        self._before: dict[str, Sample] = {}  # what was known when this life began
        self._away_since: float | None = None
        self._bad: dict[str, Sample] = {}
        self.on_bad: list[Callable[[Sample], None]] = []
        self._stamp = (0.0, "")

    @property
    def name(self) -> str:
        return self._name

    @property
    def clock(self) -> Clock:
        return self._clock

    def share(self, key: str, make: Callable[[], T]) -> T:
        self.keys.add(key)
        if key not in self._shared:
            self._shared[key] = make()
        return cast(T, self._shared[key])

    async def life(self, run: Callable[[Callable[[], None]], Awaitable[None]], up: Callable[[], None]) -> None:
        """One life of the device. Between two of them its values grow old here: the next attempt may be a minute away,
        and nobody else would say so."""

        def told() -> None:
            self._away_since = None
            self._before = dict(self.last)
            up()

        try:
            await run(told)
        finally:
            if self._away_since is None:
                self._away_since = self._clock.now()

    def known(self, point: str) -> Sample | None:
        """The last sample of a point as far as it can be relied on now: stale when the device is away, or has said
        nothing of the point since it came back."""
        sample = self.last.get(point)
        if sample is None or (self._away_since is None and sample is not self._before.get(point)):
            return sample
        return self._stale(sample)

    def outlet(self, point: str) -> _Outlet:
        """Where a point publishes; for who looks at what is published and what is not. Raises KeyError."""
        return self._outlets[point]

    def trouble(self, point: str) -> Sample | None:
        """The last bad answer for a point, however long ago."""
        return self._bad.get(point)

    def emit(self, samples: Sequence[Sample]) -> None:
        thinned = 0
        now = self._clock.now()
        for sample in samples:
            outlet = self._outlets[sample.point]
            self.last[sample.point] = sample
            if sample.quality is Quality.BAD:
                self._bad[sample.point] = sample
                for tell in self.on_bad:
                    tell(sample)
            if not outlet.reporter.report(sample, now) or not self._publish(outlet, sample):
                thinned += 1
        if samples:
            self._book("produced", len(samples))
        if thinned:
            self._book("thinned", thinned)

    def kept(self) -> list[Sample]:
        """The last bad sample of each point whose raw bytes are known, for the trace."""
        return [sample for sample in self._bad.values() if sample.raw]

    def status(self) -> dict[str, Any]:
        """How many points there are of each quality, and what is wrong with those that are not good: why, since when,
        and what the last bad answer was. At most MOST_TROUBLES of them."""
        counts = Counter(str(sample.quality) for sample in self.last.values())
        counts["unknown"] = len(self._outlets) - len(self.last)
        status: dict[str, Any] = {name: count for name, count in counts.items() if count}
        wrong = [sample for sample in self.last.values() if sample.quality is not Quality.GOOD]
        if wrong:
            status["troubles"] = {sample.point: self._trouble(sample) for sample in wrong[:MOST_TROUBLES]}
        return status

    def _trouble(self, sample: Sample) -> dict[str, Any]:
        told: dict[str, Any] = {"quality": str(sample.quality), "why": sample.reason, "time": sample.time}
        bad = self._bad.get(sample.point)
        return {**told, "raw": bad.raw} if bad is not None and bad.raw else told

    def tick(self) -> None:
        """Publish what ``min_interval`` has held back until now, and repeat what ``max_interval`` wants repeated; for
        points that nothing has come from since. To be called about once a second."""
        now = self._clock.now()
        if self._away_since is not None:
            self._grow_old(now - self._away_since)
        for outlet in self._timed:
            sample = outlet.reporter.on_timer(now)
            if sample is not None:
                # A repeated one was produced once more; a held one was counted as thinned when it came.
                self._book("produced", 1)
                if not self._publish(outlet, sample):
                    self._book("thinned", 1)

    def _grow_old(self, away: float) -> None:
        old = [
            self._stale(sample)
            for name, sample in self.last.items()
            if sample.quality in (Quality.GOOD, Quality.UNCERTAIN) and away >= self._patience[name]
        ]
        if old:
            self.emit(old)

    @staticmethod
    def _stale(sample: Sample) -> Sample:
        if sample.quality in (Quality.BAD, Quality.STALE):
            return sample
        return Sample(sample.point, sample.value, Quality.STALE, sample.time, AWAY)

    def _publish(self, outlet: _Outlet, sample: Sample) -> bool:
        if self._is_bare and sample.quality is not Quality.GOOD:
            return False
        self._publisher.publish(self._made(outlet, sample))
        return True

    def message(self, sample: Sample) -> Message:
        """The message that publishes a sample. Raises KeyError for a point that is not of this device."""
        return self._made(self._outlets[sample.point], sample)

    def _made(self, outlet: _Outlet, sample: Sample) -> Message:
        value = sample.value if self._is_bare else self._described(sample, outlet.unit)
        return Message(outlet.topic, qos=1, time=sample.time, source=self._source, value=value)

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
