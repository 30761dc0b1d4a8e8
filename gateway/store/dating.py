"""When stored rows really were: their time put right as far as is known by now, and a word on what it is worth.

A row holds the wall clock of its moment. With the epoch it belongs to (``epochs.py``) that is a moment of the monotonic
clock of its start, and with the offset of an epoch of the same start in which the clock was synchronised it is the
right time. Where a start never was synchronised its rows keep their order, and lie before the next start.

The expiry of a row goes the same way: it holds on the monotonic clock within a start and by ``Boots`` over starts, and
is told as a moment of the wall clock as it is now.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from gateway.clock import EARLIEST, Clock, iso_time
from gateway.clock_watch import GRAIN, ClockState
from gateway.outbound import CORRECTED, ESTIMATED, Row, make_row
from gateway.store.boots import Boots
from gateway.store.epochs import KEEP, Epoch, History

_SLACK: Final = 1.0
"""Seconds by which a message may be older than the epoch in which it was stored."""

_FOREVER: Final = float("inf")


class _Right(NamedTuple):
    """Rows of a start with numbers from ``first`` to before ``end`` whose times are as they should be: of those that
    do not expire, and that came at ``since`` or later."""

    boot: int
    first: float
    end: float
    since: float


_NONE: Final = _Right(0, _FOREVER, 0.0, 0.0)


class Dating:
    """Dates rows of this start and of those in ``history``. Used on the loop."""

    __slots__ = (
        "_bases", "_boots", "_clock", "_ends", "_epochs", "_is_right", "_newest_from", "_newest_since", "_right",
    )  # fmt: skip

    def __init__(self, boots: Boots, clock: Clock, history: History) -> None:
        self._boots = boots
        self._clock = clock
        self._epochs: Mapping[int, list[Epoch]] = {**history.epochs, boots.number: []}
        self._ends = history.ends
        self._bases: dict[int, float] = {}  # of starts that were never synchronised
        # Where the epoch that lasts began; what was stored in it needs no second look.
        self._newest_from: float = _FOREVER
        self._newest_since = 0.0
        self._is_right = False
        self._right = _NONE  # where the last one was that needed no change: nearly always the next one is there too

    @property
    def epochs(self) -> list[Epoch]:
        """Those of this start, in order."""
        return self._epochs[self._boots.number]

    def begin(self, epoch: Epoch) -> None:
        """The clock of this start is another from here on."""
        self.epochs.append(epoch)
        del self.epochs[:-KEEP]
        self._bases.clear()
        self._right = _NONE
        self._newest_from, self._newest_since = epoch.seq, epoch.base + epoch.up
        self._is_right = epoch.state is ClockState.SYNCHRONISED

    def __call__(self, row: Row) -> Row:
        """The row with its ``time`` as far as is known, ``clock`` saying what it is worth, its expiry on the wall clock
        as it is now, and the time in the payload of a device's point the same as its own."""
        if row.boot == self._boots.number and row.seq >= self._newest_from and row.time >= self._newest_since:
            return row if self._is_right else make_row((*row[:10], ESTIMATED, row.uplinks))
        if row.expires is None and self._is_of(self._right, row):
            return row
        found = self._place(row)
        if found is None:
            return row
        epoch, end = found
        up = row.time - epoch.base
        is_ours = -_SLACK <= up <= end + _SLACK
        expires = row.expires
        if expires is not None:
            since = up if is_ours else epoch.up
            expires = self._expires(row.boot, since, expires - epoch.base - since)
        if not is_ours:
            # What is far from the epoch has another source than our clock, and keeps what it says.
            return row._replace(expires=expires)
        time, clock = self._date(epoch, up)
        if clock == CORRECTED and abs(time - row.time) < GRAIN:
            time, clock = row.time, ""
        payload = row.payload if time == row.time else _with_time(row, time)
        return make_row((*row[:3], payload, *row[4:7], time, expires, row.source, clock, row.uplinks))

    def all(self, rows: list[Row]) -> list[Row]:
        """Rows in the order of their numbers, each dated; the same list when nothing is to be changed."""
        if not rows:
            return rows
        if not self._is_of(self._right, rows[0]):
            self._right = self._right_stretch(rows[0])
        boot, _, end, since = self._right
        # Numbers grow from one start to the next, so that the first and the last speak for those between.
        if self._is_of(self._right, rows[0]) and rows[-1].boot == boot and rows[-1].seq < end:
            unsure = [row for row in rows if row.time < since or row.expires is not None]
            if not unsure:
                return rows
        return [self(row) for row in rows]

    def _is_of(self, right: _Right, row: Row) -> bool:
        return row.boot == right.boot and right.first <= row.seq < right.end and row.time >= right.since

    def _right_stretch(self, row: Row) -> _Right:
        """The stretch of right times that a row is in; none when it is in no such one."""
        known = self._epochs.get(row.boot, ())
        if not known:
            return _Right(row.boot, 0.0, _FOREVER, -_FOREVER)  # nothing will ever be known of its clock
        for index in range(len(known) - 1, -1, -1):
            epoch = known[index]
            if epoch.seq <= row.seq:
                if epoch.state is not ClockState.SYNCHRONISED:
                    return _NONE
                end = known[index + 1].seq if index + 1 < len(known) else _FOREVER
                # What says less may have been made before the clock moved, and is looked at alone.
                return _Right(row.boot, epoch.seq, end, epoch.base + epoch.up - GRAIN if index else -_FOREVER)
        return _NONE

    def _place(self, row: Row) -> tuple[Epoch, float] | None:
        """The epoch of a row, and the seconds from the start to its end; None where nothing is known of its clock."""
        known = self._epochs.get(row.boot, ())
        for index in range(len(known) - 1, -1, -1):
            epoch = known[index]
            if epoch.seq > row.seq:
                continue
            if row.time - epoch.base < epoch.up - GRAIN and index:
                # Made just before the clock moved, and stored just after.
                before = known[index - 1]
                if before.up - GRAIN <= row.time - before.base <= epoch.up + GRAIN:
                    return before, epoch.up
            return epoch, known[index + 1].up if index + 1 < len(known) else _FOREVER
        return None

    def _date(self, epoch: Epoch, up: float) -> tuple[float, str]:
        if epoch.state is ClockState.SYNCHRONISED:
            return epoch.base + up, ""
        known = [one for one in self._epochs[epoch.boot] if one.state is ClockState.SYNCHRONISED]
        if known:
            right = next((one for one in known if one.up >= epoch.up), known[-1])
            return right.base + up, CORRECTED
        return self._estimate(epoch, up), ESTIMATED

    def _estimate(self, epoch: Epoch, up: float) -> float:
        """A start that was never synchronised: what its clock said when it was set, but before the next start."""
        own = epoch.base
        if epoch.state is ClockState.UNSET:
            later = (one for one in self._epochs[epoch.boot] if one.up >= epoch.up)
            own = next((one.base for one in later if one.state is ClockState.ESTIMATED), own)
        if epoch.boot == self._boots.number:
            return own + up
        base = self._bases.get(epoch.boot)
        if base is None:
            base = self._bases[epoch.boot] = self._latest_base(epoch.boot)
        if base == _FOREVER:
            return own + up
        return (min(own, base) if own >= EARLIEST else base) + up

    def _latest_base(self, boot: int) -> float:
        following = self._boots.next_known(boot)
        synchronised = [one for one in self.epochs if one.state is ClockState.SYNCHRONISED]
        if following is None or (synchronised and boot + 1 == self._boots.number):
            following = next((one.base for one in synchronised or self.epochs[-1:] if one.base >= EARLIEST), None)
        return _FOREVER if following is None else following - self._ends.get(boot, 0.0)

    def _expires(self, boot: int, up: float, life: float) -> float | None:
        """The end of a row that had ``life`` seconds left ``up`` seconds after a start, on the wall clock as it is now;
        None when no clock can tell how much is left."""
        now, time = self._clock.now(), self._clock.time()
        since = self._boots.since(boot, up, now, time)
        return None if since is None else time + (since + life - now)


def _with_time(row: Row, time: float) -> bytes:
    """The payload of a point with its time put right; any other as it is. Nothing else in it is touched."""
    if not row.source.startswith("device:"):
        return row.payload
    return row.payload.replace(_field(row.time), _field(time), 1)


def _field(time: float) -> bytes:
    return b'"t":"%s"' % iso_time(time).encode()
