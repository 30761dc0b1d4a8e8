"""What is known of one point, and the sample that says so. Pure.

A reading always makes a sample. Trouble makes one only when the quality or its reason changes, so a dead device
costs a few messages and not one each poll.
"""

from __future__ import annotations

from gateway.connectors.base import Quality, Sample
from gateway.message import Value


class LastKnown:
    """What is known of one point. ``time`` is the wall clock, ``now`` the monotonic one.

    patience  seconds without a reading after which the last one is stale
    """

    __slots__ = ("name", "quality", "reason", "_patience", "_since", "_time", "_value")

    def __init__(self, name: str, poll: float, stale_after: int) -> None:
        self.name = name
        self.quality: Quality | None = None
        self.reason = ""
        # Half a poll less: the poll that makes it stale is not always exactly on its tick.
        self._patience = (stale_after - 0.5) * poll
        self._since: float | None = None
        self._time = 0.0
        self._value: Value = None

    def good(self, value: Value, time: float, now: float, quality: Quality = Quality.GOOD, reason: str = "") -> Sample:
        """The device has answered with a value; ``quality`` is good or uncertain."""
        self.quality = quality
        self.reason = reason
        self._since = now
        self._time = time
        self._value = value
        return Sample(self.name, value, quality, time, reason)

    def bad(self, reason: str, time: float, raw: str = "") -> Sample | None:
        """The device has answered that it has no such value, or with one that means nothing (``Sample.raw``)."""
        if self.quality is Quality.BAD and self.reason == reason:
            return None
        self.quality = Quality.BAD
        self.reason = reason
        return Sample(self.name, None, Quality.BAD, time, reason, raw)

    def missed(self, reason: str, time: float, now: float) -> Sample | None:
        """No answer. The last value stays valid for a while, then is stale; it keeps the time of its reading.

        A point that never had a value is bad instead, after the same while.
        """
        if self._since is None:
            self._since = now
        if self.quality in (Quality.BAD, Quality.STALE) or now - self._since < self._patience:
            return None
        if self.quality is None:
            return self.bad(reason, time)
        self.quality = Quality.STALE
        self.reason = reason
        return Sample(self.name, self._value, Quality.STALE, self._time, reason)
