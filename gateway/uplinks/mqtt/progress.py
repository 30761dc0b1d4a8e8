"""Tells the outbox how far the runs of rows are: once for all that is said in one pass of the loop."""

from __future__ import annotations

import asyncio

from gateway.uplinks.base import OutboxReader
from gateway.uplinks.mqtt.window import Run


class Progress:
    """For one uplink; see the module's docstring."""

    __slots__ = ("_reader", "_runs")

    def __init__(self, reader: OutboxReader) -> None:
        self._reader = reader
        self._runs: set[Run] = set()

    def moved(self, run: Run) -> None:
        """The cursor of a run has moved."""
        if not self._runs:
            asyncio.get_running_loop().call_soon(self.flush)
        self._runs.add(run)

    def flush(self) -> None:
        """Tell it."""
        runs, self._runs = self._runs, set()
        for run in runs:
            self._reader.acknowledge(run.room, run.after, run.cursor)
