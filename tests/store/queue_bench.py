"""Queues on a real database: opened, crashed (a copy of what is on the disk goes on) and opened again."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from broker.queue_bench import Taker
from gateway.broker.broker import Broker
from gateway.broker.queue import Queue
from gateway.broker.queue_desk import QueueDesk
from gateway.broker.queue_port import Asked
from gateway.broker.stream import Stream
from gateway.config.queue import Queue as QueueTerms
from gateway.config.queue import Queues
from gateway.config.queue import Stream as StreamTerms
from gateway.message import Message
from gateway.store.boots import begin_boot
from gateway.store.db import Database
from gateway.store.queue_bounds import bounds_of
from gateway.store.queues import QueueStore
from store.bench import Bench, settle


class QueueWorld:
    """A broker, its queues and their database."""

    def __init__(
        self,
        bench: Bench,
        queues: Mapping[str, QueueTerms],
        streams: Mapping[str, StreamTerms],
        terms: Queues | None = None,
    ) -> None:
        self.bench = bench
        self._terms = queues, streams
        self.database = Database(bench.path, on_error=bench.lost.append)
        self.broker = Broker(bench.metrics)
        self.store = QueueStore(self.database, bench.clock)
        self.desk = QueueDesk(queues, streams, terms or Queues(), bench.clock, bench.metrics)

    async def open(self) -> None:
        await self.database.open()
        boots = await begin_boot(self.database, self.bench.clock)
        self.loaded = await self.store.load(boots, bounds_of(*self._terms))
        self.desk.open(self.store.shelf, self.loaded, self.broker)

    def queue(self, name: str = "q") -> Queue:
        part = self.desk.parts[f"$queue/{name}"]
        assert isinstance(part, Queue)
        return part

    def dead(self, name: str = "q") -> Queue:
        part = self.desk.parts[f"$dlq/{name}"]
        assert isinstance(part, Queue)
        return part

    def stream(self, name: str = "s") -> Stream:
        part = self.desk.parts[f"$stream/{name}"]
        assert isinstance(part, Stream)
        return part

    def join(self, taker: Taker, place: str = "$queue", name: str = "q", group: str = "g", start: str = "") -> Any:
        joined = self.desk.join(place, name, "#", Asked(group, False, start), taker)
        joined.pump()
        return joined

    async def put(self, topic: str = "$queue/q/t", payload: bytes = b"x", **more: Any) -> BaseException | None:
        """Publish, and wait for the answer."""
        answer: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        self.broker.publish(Message(topic, payload, 1, **more), answer.set_result)
        return await answer

    async def rest(self) -> None:
        """Until everything that was decided is on the disk, and everything that was read has come."""
        while True:
            with suppress(sqlite3.OperationalError):  # the disk may be full
                await settle(self.database)
            await asyncio.sleep(0)
            if not self.database.busy and not self.database.backlog.items:
                return

    async def fill_disk(self) -> None:
        """No page more."""
        await self.database.read(lambda connection: connection.execute("PRAGMA max_page_count = 1").fetchall())

    async def empty_disk(self) -> None:
        """Room again."""
        await self.database.read(lambda connection: connection.execute("PRAGMA max_page_count = 1000000").fetchall())

    def check_books(self) -> None:
        """The counts on the disk and in memory are what is there. After ``rest``."""
        for address, part in self.desk.parts.items():
            number = self.loaded[address].number
            low, high = number << 40, (number + 1) << 40
            there = self.bench.look(
                f"SELECT count(*), coalesce(sum(size), 0) FROM queue_log WHERE id > {low} AND id < {high}"
            )
            counted = self.bench.look(f"SELECT depth, bytes FROM queue WHERE id = {number}")
            assert there == counted == [(part.depth, part.bytes)], address


@asynccontextmanager
async def queue_world(
    bench: Bench,
    queues: Mapping[str, QueueTerms] | None = None,
    streams: Mapping[str, StreamTerms] | None = None,
    terms: Queues | None = None,
) -> AsyncIterator[QueueWorld]:
    world = QueueWorld(bench, queues if queues is not None else {"q": QueueTerms()}, streams or {}, terms)
    await world.open()
    try:
        yield world
    finally:
        world.desk.close()
        await world.database.close()


def crash(bench: Bench) -> Bench:
    """What kill -9 leaves: a copy of the files as they are; the clock goes on."""
    copy = Bench(bench.path.with_name(bench.path.stem + "x.db"))
    for suffix in ("", "-wal"):
        source = Path(f"{bench.path}{suffix}")
        if source.exists():
            shutil.copy(source, f"{copy.path}{suffix}")
    copy.clock = bench.clock
    copy.metrics = bench.metrics
    return copy


async def put(world: QueueWorld, count: int, topic: str = "$queue/q/t") -> None:
    """Publish so many messages; all are kept."""
    for n in range(count):
        assert await world.put(topic, b"%d" % n) is None


async def bury(world: QueueWorld, count: int) -> None:
    """Publish so many messages and reject them."""
    taker = Taker("rejects")
    group = world.join(taker)
    await put(world, count)
    await world.rest()
    for offset in taker.take():
        group.settle("reject", offset, taker.owner, "broken", None)
    group.leave(taker)
    await world.rest()
