"""Times of day by the wall clock, which may be set while one waits for them. Pure.

Each time of each day fires at most once: a clock that is set forward over several fires once, one that is set back by
less than a day does not fire again what has fired. One that is set back further was wrong before, and the schedule
begins anew.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from gateway.rules.trigger import At

DAY: Final = 86_400.0

_FAR: Final = 9
"""Days to look ahead: a week, and one at each end for time zones."""


def next_after(at: At, time: float) -> float:
    """The first time of the schedule after ``time``, both in seconds since 1970."""
    zone = at.place
    here = datetime.fromtimestamp(time, zone)
    midnight = datetime(here.year, here.month, here.day) - timedelta(days=1)
    for day in range(_FAR + 1):
        date = midnight + timedelta(days=day)
        if date.weekday() not in at.weekdays:
            continue
        # The wall clock of that day: in the night of a change of time an hour comes twice, and counts once.
        moments = [(date + timedelta(seconds=seconds)).replace(tzinfo=zone).timestamp() for seconds in at.seconds]
        later = [moment for moment in moments if moment > time]
        if later:
            return min(later)
    raise AssertionError("every week has each of its days")


class Schedule:
    """One schedule. ``last``: when it fired last, wall clock; None for never. Kept over a restart by its owner."""

    __slots__ = ("last", "_at", "_next", "_seen")

    def __init__(self, at: At, last: float | None = None) -> None:
        self.last = last
        self._at = at
        self._next: float | None = None
        self._seen = 0.0

    @property
    def next(self) -> float | None:
        """When it fires next, by the wall clock; None before the first ``tick``."""
        return self._next

    def tick(self, time: float) -> bool:
        """Whether it fires now. Asked at least once a second, and only while the wall clock can be believed."""
        if self._next is None or time < self._seen - DAY:
            is_known = self.last is not None and time >= self.last - DAY
            after = max(time, self.last) if is_known and self.last is not None else time
            self._next = next_after(self._at, after)
            if not is_known:
                self.last = None
            self._seen = time
            return False
        self._seen = max(self._seen, time)
        if time < self._next:
            return False
        self.last = time
        self._next = next_after(self._at, time)
        return True
