"""24 hours of an uplink in virtual time: the real runner and the real outbox, cut, kept waiting and drained.

Memory is looked at after every hour, when everything has arrived: what grows from hour to hour would be there then.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from e2e.rig.memory import memory_folder
from gateway.clock import FixedClock
from gateway.message import Message
from gateway.metrics import Metrics
from gateway.mqtt.packets import ConnAck
from gateway.mqtt.reasons import SERVER_UNAVAILABLE
from gateway.store.db import Database
from gateway.store.outbox import Outbox
from gateway.supervise import Supervised
from store.bench import Bench as StoreBench
from store.bench import settle
from uplinks.bench import Bench, Cloud, until

pytestmark = pytest.mark.slow

HOURS = 24
WARM = 3
"""Hours after which everything has been done once: caches are full, buffers as large as they get."""

ROWS_A_MINUTE = 10
ROOM = 200_000
"""Bytes of the outbox: an eighth of it is memory, which is less than comes while the cloud is away."""

CUT_EVERY = 7
AWAY_AT, AWAY_FOR = 20, 25
"""Minutes: in each hour the cloud is away once, long enough that rows leave memory and come back from the disk."""

MOST_GROWTH = 64 * 1024
"""Bytes that an hour may differ from another: how full a few caches are at that moment."""


class VirtualSleep:
    """``asyncio.sleep`` on a clock that is moved by hand."""

    def __init__(self, clock: FixedClock) -> None:
        self._clock = clock
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    async def __call__(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._clock.now() + seconds, future))
        await future

    def wake(self) -> None:
        """Those whose time has come."""
        now = self._clock.now()
        for due, future in self._sleepers:
            if due <= now and not future.done():
                future.set_result(None)
        self._sleepers = [(due, future) for due, future in self._sleepers if due > now]


class Day:
    """Everything that takes part."""

    def __init__(self, clock: FixedClock, outbox: Outbox, database: Database, cloud: Cloud) -> None:
        self.clock = clock
        self.outbox = outbox
        self.database = database
        self.cloud = cloud
        self.stored = 0
        self.answered = 0
        reader: Any = outbox.reader("cloud")
        self.bench = Bench(cloud.port, reader=reader, clock=clock)
        self.sleep = VirtualSleep(clock)
        self.supervised = Supervised(
            "uplink",
            "cloud",
            self.bench.uplink.run,
            random=lambda: 0.5,
            metrics=Metrics(),
            now=clock.now,
            sleep=self.sleep,
        )

    async def minute(self, number: int) -> None:
        """What one minute brings."""
        if number % 60 == AWAY_AT:
            self.cloud.connack = ConnAck(False, SERVER_UNAVAILABLE)
            self.cloud.cut()
        elif number % 60 == AWAY_AT + AWAY_FOR:
            self.cloud.connack = ConnAck(False, 0)
        elif number % CUT_EVERY == 0:
            self.cloud.cut()
        for second in range(ROWS_A_MINUTE):
            payload = b'{"v":%d.%02d,"q":"good"}' % (number, second)
            message = Message(f"plant/p{second % 10}", payload, 1, time=self.clock.time(), source="device:plc")
            assert self.outbox.deliver(message, self._answer)
            self.stored += 1
        self.clock.advance(60)
        await settle(self.database)
        self.sleep.wake()
        if self.cloud.connack == ConnAck(False, 0) and number % 60 != AWAY_AT + AWAY_FOR:
            await self.drained()
        self.cloud.packets.clear()
        self.cloud.raw.clear()

    async def drained(self) -> None:
        """Everything has arrived and is answered for."""
        await until(self._is_drained)
        await settle(self.database)

    def _is_drained(self) -> bool:
        # Time goes on: an uplink that has just lost its connection waits a moment before the next.
        self.clock.advance(0.1)
        self.sleep.wake()
        return self.outbox.status()["depth"] == 0 and self.answered == self.stored

    def _answer(self, error: BaseException | None) -> None:
        assert error is None
        self.answered += 1


async def hours(day: Day) -> list[int]:
    """Bytes that are held after each hour."""
    held = []
    for hour in range(HOURS):
        for minute in range(60):
            await day.minute(60 * hour + minute)
        await day.drained()
        gc.collect()
        held.append(tracemalloc.get_traced_memory()[0])
    return held


def test_a_day_of_cuts_and_drains_costs_no_memory() -> None:
    async def body(store: StoreBench) -> list[int]:
        async with store.outbox("cloud", max_bytes=ROOM) as (outbox, database), Cloud() as cloud:
            day = Day(store.clock, outbox, database, cloud)
            task = asyncio.create_task(day.supervised.supervise())
            try:
                return await hours(day)
            finally:
                task.cancel()
                await asyncio.wait({task})

    logging.disable(logging.CRITICAL)  # pytest keeps every record
    tracemalloc.start()
    try:
        with memory_folder() as folder:
            held = asyncio.run(body(StoreBench(Path(folder) / "gateway.db")))
    finally:
        tracemalloc.stop()
        logging.disable(logging.NOTSET)
    warm = held[WARM:]
    assert max(warm) - min(warm) < MOST_GROWTH, held
