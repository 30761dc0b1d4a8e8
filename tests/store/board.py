"""A board with its store and no battery: each start of the gateway on it at some time of the wall clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gateway.clock import FixedClock, iso_time
from gateway.config.time import Time
from gateway.message import Message
from gateway.metrics import Metrics
from gateway.outbound import Row
from gateway.store.boots import begin_boot
from gateway.store.db import Database
from gateway.store.outbox import Outbox
from gateway.store.rooms import even_rooms
from gateway.store.timekeeper import Timekeeper
from store.bench import settle, store, take, without_tail

NOON = 1_800_000_000.0
HOUR = 3600.0


class Board:
    """A board with its store: each ``start`` is one start of the gateway, at some time on the wall clock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.synchronised: bool | None = False
        self.machine = FixedClock(time=0.0, now=0.0)

    @asynccontextmanager
    async def start(self, time: float, synchronised: bool = False, **settings: Any) -> AsyncIterator[Board]:
        self.machine = FixedClock(time=time, now=1000.0)
        self.synchronised = synchronised
        self.keeper = Timekeeper(self.machine, Time(**settings), lambda: self.synchronised)
        self.database = Database(self.path)
        await self.database.open()
        self.outbox = Outbox(self.database, self.keeper.clock, ("cloud",), even_rooms(10**8, 1e9), Metrics())
        self.boots = await begin_boot(self.database, self.keeper.clock, await self.keeper.open(self.database))
        await self.outbox.load(self.boots)
        self.keeper.begin(self.boots, self.outbox)
        try:
            yield self
        finally:
            self.keeper.close()
            self.outbox.finish()
            await self.database.close()

    def go(self, seconds: float = 1.0, step: float = 0.0, synchronised: bool | None = None) -> None:
        """Let time pass; a step comes at its end, and is seen."""
        self.machine.advance(seconds)
        self.machine.step(step)
        self.synchronised = self.synchronised if synchronised is None else synchronised
        self.keeper.tick()

    async def sample(self, value: Any, **more: Any) -> None:
        """A reading of a device, kept when it returns."""
        await store(self.outbox, self.reading(value, **more))

    def reading(self, value: Any, **more: Any) -> Message:
        time = self.keeper.clock.time()
        point = {"v": value, "q": "good", "t": iso_time(time)}
        return Message("plant/t", qos=1, time=time, source="device:meter", value=point, **more)

    async def rows(self) -> list[Row]:
        """All of them, as an uplink would send them now, in their order."""
        await settle(self.database)
        without_tail(self.outbox)
        found = await take(self.outbox.reader("cloud"), 0, 10_000, 10**8)
        return [self.keeper.date(row) for row in found]
