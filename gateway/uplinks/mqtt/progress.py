"""Tells the outbox how far the runs of rows are: once for all that is said in one pass of the loop, and of a backlog
once in a while. What is live may not be on the disk yet, and its publisher waits; a backlog is and nobody does."""

from __future__ import annotations

import asyncio
from typing import Final

from gateway.outbound import LAST
from gateway.uplinks.base import OutboxReader
from gateway.uplinks.mqtt.window import Run

PATIENCE: Final = 0.05
"""Seconds between two words on a backlog. After kill -9 what was answered in them is sent again."""


class Progress:
    """For one uplink; see the module's docstring."""

    __slots__ = ("_is_soon", "_reader", "_runs", "_timer")

    def __init__(self, reader: OutboxReader) -> None:
        self._reader = reader
        self._runs: set[Run] = set()
        self._timer: asyncio.Handle | None = None
        self._is_soon = False

    def moved(self, run: Run) -> None:
        """The cursor of a run has moved."""
        self._runs.add(run)
        is_live = run.upto == LAST or run.cursor >= run.upto
        if self._timer is None or (is_live and not self._is_soon):
            if self._timer is not None:
                self._timer.cancel()
            loop = asyncio.get_running_loop()
            self._timer = loop.call_soon(self.flush) if is_live else loop.call_later(PATIENCE, self.flush)
            self._is_soon = is_live

    def flush(self) -> None:
        """Tell it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._is_soon = False
        runs, self._runs = self._runs, set()
        for run in runs:
            self._reader.acknowledge(run.room, run.after, run.cursor)
