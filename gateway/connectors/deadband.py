"""Which samples of a point are worth publishing: deadband, shortest and longest interval. Pure.

Always published: the first value, a change of quality or of its reason, a change to 0 or false. Of the rest, not
more than one in ``min_interval``, at least one in ``max_interval``, and in between what has moved by the deadband
since the last one that was published. What ``min_interval`` holds back is not lost: the newest of it is published
when the interval ends, by the next reading or by ``on_timer``.

``now`` is monotonic seconds.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from gateway.connectors.base import Quality, Sample
from gateway.message import Value

_JITTER: Final = 0.05
"""Seconds, and part of an interval, by which a poll may be early: ten polls of a second are ten seconds, also when
the last one comes a millisecond too soon."""


class Deadband(NamedTuple):
    """The least difference that counts: in the point's unit, or as a part of the last published value."""

    amount: float
    is_relative: bool = False

    def __str__(self) -> str:
        return f"{self.amount * 100:g}%" if self.is_relative else f"{self.amount:g}"

    def is_left(self, value: float, last: float) -> bool:
        """Whether ``value`` is at least this far away from ``last``."""
        least = self.amount * abs(last) if self.is_relative else self.amount
        # 71.5 - 71.3 is a little less than 0.2 in binary: a step of exactly the deadband must count.
        distance = abs(value - last)
        return distance >= least or math.isclose(distance, least, rel_tol=1e-9)


def parse_deadband(given: float | str) -> Deadband:
    """``0.2`` or ``"2%"``. Raises ValueError with what it must be."""
    if isinstance(given, str):
        number, percent, rest = given.partition("%")
        try:
            part = float(number) / 100
        except ValueError:
            part = -1.0
        if percent and not rest and 0 <= part <= 1:
            return Deadband(part, True)
    elif given >= 0:
        return Deadband(given)
    raise ValueError('must be a number of at least 0 in the unit of the point, or a percentage such as "2%"')


class Verdict(NamedTuple):
    """Whether a sample is published, and why, in a few words."""

    is_published: bool
    reason: str


class Reporter:
    """Decides for one point which samples are published.

    deadband      None: every reading is news
    min_interval  seconds; 0: none
    max_interval  seconds; None: no bound
    """

    __slots__ = ("_at", "_deadband", "_held", "_last", "_longest", "_shortest")

    def __init__(
        self, deadband: Deadband | None = None, min_interval: float = 0.0, max_interval: float | None = None
    ) -> None:
        self._deadband = deadband
        self._shortest = min_interval
        self._longest = max_interval
        self._last: Sample | None = None  # the last one that was published
        self._held: Sample | None = None  # news that min_interval holds back
        self._at = 0.0

    def report(self, sample: Sample, now: float) -> bool:
        """Whether to publish ``sample``; if so, it is what the next ones are compared with."""
        last = self._last
        if (
            last is None
            or sample.quality is not last.quality
            or sample.reason != last.reason
            or _is_zero(sample.value) > _is_zero(last.value)
            or (self._longest is not None and _is_over(now - self._at, self._longest))
        ):
            return self._published(sample, now)
        self._held = None
        if not self._is_news(sample, last):
            return False
        if not _is_over(now - self._at, self._shortest):
            self._held = sample
            return False
        return self._published(sample, now)

    def verdict(self, sample: Sample, now: float) -> Verdict:
        """What ``report`` would say of this sample now, and why. Changes nothing."""
        last = self._last
        if last is None:
            return Verdict(True, "it is the first value")
        if sample.quality is not last.quality or sample.reason != last.reason:
            return Verdict(
                True,
                f"the quality was {last.quality}"
                if sample.quality is not last.quality
                else f"the reason of the quality was {last.reason or 'none'}",
            )
        if _is_zero(sample.value) > _is_zero(last.value):
            return Verdict(True, "it has become 0 or false")
        if self._longest is not None and _is_over(now - self._at, self._longest):
            return Verdict(True, f"max_interval = {self._longest:g} s is over")
        if not self._is_news(sample, last):
            return Verdict(False, self._no_news(sample, last))
        if not _is_over(now - self._at, self._shortest):
            left = self._at + self._shortest - now
            return Verdict(False, f"held back by min_interval = {self._shortest:g} s for {left:.1f} s more")
        if self._deadband is None:
            return Verdict(True, "there is no deadband: every reading is published")
        return Verdict(True, f"it has left the deadband of {self._deadband} around {last.value!r}")

    def standing(self, sample: Sample, now: float) -> Verdict:
        """Of the sample that came last: whether it was published, and where it was not, why. Of one that was published
        nothing more is known."""
        if sample is self._last:
            return Verdict(True, f"published {max(0.0, now - self._at):.1f} s ago")
        if sample is self._held:
            left = max(0.0, self._at + self._shortest - now)
            return Verdict(False, f"held back by min_interval = {self._shortest:g} s for {left:.1f} s more")
        return Verdict(False, self._no_news(sample, self._last) if self._last is not None else "nothing was published")

    @property
    def published(self) -> Sample | None:
        """What was published last."""
        return self._last

    def _no_news(self, sample: Sample, last: Sample) -> str:
        if sample.quality in (Quality.BAD, Quality.STALE):
            return f"it is {sample.quality} for the same reason as before, which was published"
        return f"it has not left the deadband of {self._deadband or Deadband(0.0)} around {last.value!r}"

    def next_timer(self) -> float | None:
        """When ``on_timer`` has something to publish if no sample comes before; None: never."""
        if self._held is not None:
            return self._at + self._shortest
        return self._at + self._longest if self._longest is not None and self._last is not None else None

    def on_timer(self, now: float) -> Sample | None:
        """What to publish now: what was held back, or the last one once more after ``max_interval``."""
        due = self.next_timer()
        if due is None or now < due:
            return None
        sample = self._held or self._last
        assert sample is not None
        self._published(sample, now)
        return sample

    def _published(self, sample: Sample, now: float) -> bool:
        self._last = sample
        self._held = None
        self._at = now
        return True

    def _is_news(self, sample: Sample, last: Sample) -> bool:
        if sample.quality in (Quality.BAD, Quality.STALE):
            return False  # no new value, and the same trouble
        if self._deadband is None:
            return True
        if sample.value == last.value and type(sample.value) is type(last.value):
            return False
        if not is_number(sample.value) or not is_number(last.value):
            return True
        return self._deadband.is_left(sample.value, last.value)


def is_number(value: Value) -> bool:
    """A number, and neither true nor false."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_zero(value: Value) -> bool:
    return isinstance(value, int | float) and value == 0


def _is_over(elapsed: float, interval: float) -> bool:
    return elapsed >= interval - min(_JITTER, _JITTER * interval)
