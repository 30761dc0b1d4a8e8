"""A disk that fails to read: whoever waits gets his messages when it reads again."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from broker.queue_bench import Taker
from gateway.broker.queue_port import Entry
from gateway.config.queue import Stream
from gateway.store.asking import FIRST_WAIT, LONGEST_WAIT
from gateway.store.queue_table import QueueTable
from store.bench import Bench, run
from store.queue_bench import QueueWorld, queue_world


class FailingTable(QueueTable):
    """Fails to read so many times."""

    failures = 0

    def _maybe(self) -> None:
        if self.failures:
            self.failures -= 1
            raise sqlite3.OperationalError("disk I/O error")

    def read(self, *arguments: Any, **more: Any) -> list[Entry]:
        self._maybe()
        return super().read(*arguments, **more)

    def fetch(self, *arguments: Any, **more: Any) -> list[Entry]:
        self._maybe()
        return super().fetch(*arguments, **more)

    def find(self, *arguments: Any, **more: Any) -> int:
        self._maybe()
        return super().find(*arguments, **more)


class Later:
    """Timers that wait for the test."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self._calls: list[Callable[[], None]] = []

    def __call__(self, seconds: float, call: Callable[[], None]) -> None:
        self.waits.append(seconds)
        self._calls.append(call)

    def fire(self) -> None:
        calls, self._calls = self._calls, []
        for call in calls:
            call()


def failing(world: QueueWorld, failures: int) -> Later:
    table = FailingTable(world.store.table.boots, world.store.clock)
    table.bounds = world.store.table.bounds
    table.failures = failures
    world.store.table = table
    later = world.store.later = Later()
    return later


def test_a_read_that_failed_is_tried_again_ever_later(bench: Bench) -> None:
    async def body() -> None:
        async with queue_world(bench) as world:
            await world.put()
        async with queue_world(bench) as world:
            later = failing(world, 8)
            taker = Taker()
            world.join(taker)
            for _ in range(8):
                await world.rest()
                assert taker.got == []
                later.fire()
            await world.rest()
            assert taker.take() == [1]
            assert later.waits == [min(FIRST_WAIT * 2**n, LONGEST_WAIT) for n in range(8)]
            assert bench.lost == []

    run(body)


def test_what_is_delivered_again_is_read_again_too(bench: Bench) -> None:
    async def body() -> None:
        async with queue_world(bench) as world:
            taker = Taker(room=1)
            group = world.join(taker)
            await world.put()
            await world.rest()
            later = failing(world, 2)
            group.settle("nack", 1, taker.owner, "", None)
            bench.clock.advance(10)
            world.desk.tick()
            for _ in range(2):
                await world.rest()
                assert taker.got == [(1, 1)]
                later.fire()
            await world.rest()
            assert taker.got == [(1, 1), (1, 2)]

    run(body)


def test_a_stream_that_is_put_to_a_time_gets_there(bench: Bench) -> None:
    async def body() -> None:
        async with queue_world(bench, {}, {"s": Stream()}) as world:
            for time in (10.0, 20.0):
                await world.put("$stream/s/t", time=time)
            later = failing(world, 1)
            taker = Taker()
            world.join(taker, "$stream", "s", start="time=15")
            await world.rest()
            assert taker.got == []
            later.fire()
            await world.rest()
            assert taker.take() == [2]

    run(body)


def test_a_seek_overtakes_a_read_that_is_still_tried(bench: Bench) -> None:
    async def body() -> None:
        async with queue_world(bench) as world:
            for _ in range(3):
                await world.put()
        async with queue_world(bench) as world:
            later = failing(world, 1)
            taker = Taker()
            group = world.join(taker)
            await world.rest()
            group.seek(2)
            await world.rest()
            assert taker.take() == [3]
            later.fire()
            await world.rest()
            assert taker.take() == []

    run(body)
