"""Reads the next batch of a run while the last one is packed and sent: the thread of the database works beside us."""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

from gateway.outbound import Batch
from gateway.uplinks.base import OutboxReader
from gateway.uplinks.mqtt.window import Run


class Limits(NamedTuple):
    """Of one batch from the outbox: what waits in memory in front of the window, of a lane and a class."""

    rows: int
    size: int


FEW: Final = Limits(512, 256 * 1024)

MANY: Final = Limits(2000, 512 * 1024)
"""Of a backlog, and where rows share parcels."""


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

    def begin(self, run: Run, limits: Limits, mark: int) -> None:
        """Read what is behind ``run.read_to``. ``mark``: comes back with it, to tell what was not there yet."""
        read = self._reader.read(run.room, run.read_to, run.upto, *limits)
        self._pending[run] = _Pending(run.read_to, mark, asyncio.ensure_future(read))

    async def take(self, run: Run, limits: Limits, mark: int) -> tuple[Batch, int]:
        """The next batch of a run, and the mark of the moment its reading began. Raises what ``read`` raises."""
        pending = self._pending.pop(run, None)
        if pending is None:
            return await self._reader.read(run.room, run.read_to, run.upto, *limits), mark
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
