"""Reads the next batch of a run while the last one is packed and sent: the thread of the database works beside us."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from gateway.outbound import Batch
from gateway.uplinks.base import OutboxReader
from gateway.uplinks.mqtt.window import Run


class _Pending(NamedTuple):
    """A read under way. ``after``: the row it begins behind; ``mark``: see ``ReadAhead.begin``."""

    after: int
    mark: int
    batch: asyncio.Task[Batch]


class ReadAhead:
    """Of one uplink; at most one batch of each run."""

    __slots__ = ("_pending", "_reader")

    def __init__(self, reader: OutboxReader) -> None:
        self._reader = reader
        self._pending: dict[Run, _Pending] = {}

    def begin(self, run: Run, rows: int, size: int, mark: int) -> None:
        """Read what is behind ``run.read_to``. ``mark``: comes back with it, to tell what was not there yet."""
        read = self._reader.read(run.room, run.read_to, run.upto, rows, size)
        self._pending[run] = _Pending(run.read_to, mark, asyncio.ensure_future(read))

    async def take(self, run: Run, rows: int, size: int, mark: int) -> tuple[Batch, int]:
        """The next batch of a run, and the mark of the moment its reading began. Raises what ``read`` raises."""
        pending = self._pending.pop(run, None)
        if pending is None:
            return await self._reader.read(run.room, run.read_to, run.upto, rows, size), mark
        assert pending.after == run.read_to, "a run is read in order"
        try:
            return await pending.batch, pending.mark
        finally:
            pending.batch.cancel()

    async def end(self) -> None:
        """The connection is over: what was read for it goes; nothing is left running."""
        tasks = [pending.batch for pending in self._pending.values()]
        self._pending.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
