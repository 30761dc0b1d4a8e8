"""``Thrift`` at work on the telemetry of one uplink: what waits in front of the window is skipped, held or let go."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from gateway.clock import Clock
from gateway.outbound import TELEMETRY, Row
from gateway.uplinks.base import OutboxReader
from gateway.uplinks.mqtt.lanes import Lane
from gateway.uplinks.mqtt.window import Run
from gateway.uplinks.thrift import AHEAD_ROWS, WAIT_FACTORS, Thrift

THINNED: Final = "budget_thinned"
"""The reason under which rows are counted that a later one of their topic and minute stands for."""


class Saver:
    """See the module's docstring.

    is_up  whether a row goes up at all
    """

    def __init__(self, reader: OutboxReader, clock: Clock, is_up: Callable[[Row], bool]) -> None:
        self._reader = reader
        self._clock = clock
        self._is_up = is_up
        self._thrift = Thrift()

    def press(self, level: int) -> None:
        """Save so hard, see ``uplinks.budget``."""
        self._thrift.level = level
        self._thrift.forget()

    def begin(self) -> None:
        """A connection begins: rows are read anew."""
        self._thrift.forget()

    def holds(self, room: int) -> bool:
        """Whether rows of a class may be held back."""
        return room == TELEMETRY and self._thrift.level > 0

    def took(self, room: int, rows: Sequence[Row]) -> None:
        """Rows of a class were read."""
        if room == TELEMETRY and self._thrift.thins:
            for row in rows:
                if self._is_up(row):
                    self._thrift.note(row)

    def rest(self, queue: deque[Row], now: float, skip: Callable[[int], None], bursts: bool = True) -> float:
        """Skip what is not needed at the head of a queue of telemetry; seconds until the next row may go, 0 when it may
        or there is none."""
        time = self._clock.time()
        while queue:
            row = queue[0]
            rest = self._thrift.wait(row, time, now, bursts)
            if rest is not None:
                if not rest:
                    self._thrift.gone(row)
                return rest
            queue.popleft()
            self._reader.drop(row, THINNED)
            skip(row.seq)
        return 0.0

    def wait_factor(self, room: int) -> float:
        """How many times as long a batch of a class may wait for more rows."""
        return WAIT_FACTORS[self._thrift.level] if room == TELEMETRY else 1

    def reads_ahead(self, room: int, queue: deque[Row]) -> bool:
        """Whether more of a class should be read although some waits: only what was read can stand for another."""
        return room == TELEMETRY and self._thrift.thins and len(queue) < AHEAD_ROWS

    def ahead(self, lane: Lane) -> Run | None:
        """What there is to read of telemetry behind what waits."""
        run = lane.runs[TELEMETRY][0]
        return run if run.read_to < run.upto and self._reader.has(TELEMETRY, run.read_to) else None
