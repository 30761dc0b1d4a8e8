"""Queues and streams: messages a second that are appended, claimed and settled; and with a transaction for each.

    PYTHONPATH=. python benchmarks/queues.py [--rows 20000] [--size 256] [--folder DIR]

Everything runs in one go on one disk, in this process and without sockets, so trust the ratios to the first line.
*Appended*: as many publishers as the store admits, each answered after its commit. *Claimed*: read from the disk, given
to a consumer that settles at once, and off the disk at the end. *At once*: both together. ``written`` is what the block
layer says of the whole disk.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from benchmarks.store import disk_bytes
from gateway.broker.broker import Broker
from gateway.broker.queue_desk import QueueDesk
from gateway.broker.queue_port import BUSY, SENT, Asked, Entry
from gateway.clock import Clock
from gateway.config.queue import DeadLetter, Queue, Queues, Stream
from gateway.message import Message
from gateway.metrics import Metrics
from gateway.store.boots import begin_boot
from gateway.store.db import MAX_ITEMS, Database
from gateway.store.queue_bounds import bounds_of
from gateway.store.queues import QueueStore

KEYS: Final = 50
PUBLISHERS: Final = MAX_ITEMS // 8


class World:
    """One queue and one stream on a database of their own."""

    def __init__(self, folder: Path, terms: Queue) -> None:
        clock = Clock()
        queues, streams = {"q": terms}, {"s": Stream()}
        self.database = Database(folder / "queues.db")
        self.broker = Broker(Metrics())
        self.store = QueueStore(self.database, clock)
        self.desk = QueueDesk(queues, streams, Queues(), clock, self.broker.metrics)
        self._bounds = bounds_of(queues, streams)
        self._clock = clock

    async def open(self) -> None:
        await self.database.open()
        boots = await begin_boot(self.database, self._clock)
        self.desk.open(self.store.shelf, await self.store.load(boots, self._bounds), self.broker)


class Worker:
    """Settles what it gets: in the next turn of the loop, as an answer over a socket would come."""

    owner = "bench"

    def __init__(self, world: World, place: str, name: str, rows: int, verb: str) -> None:
        self._left = rows
        self._verb = verb
        self._got: list[int] = []
        self._loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self._loop.create_future()
        self.group: Any = world.desk.join(place, name, "#", Asked("g"), self)

    def window(self) -> int:
        return 256

    def send(self, entry: Entry, deliveries: int) -> int:
        if len(self._got) >= self.window():
            return BUSY
        if not self._got:
            self._loop.call_soon(self._settle)
        self._got.append(entry.offset)
        return SENT

    def _settle(self) -> None:
        got, self._got = self._got, []
        for offset in got:
            self.group.settle(self._verb, offset, self.owner, "", None)
        self._left -= len(got)
        if self._left <= 0 and not self.done.done():
            self.done.set_result(None)
        self.group.pump()


async def append(world: World, address: str, rows: int, payload: bytes) -> None:
    """As many as are admitted are under way at once."""
    free = asyncio.Semaphore(PUBLISHERS)

    def done(error: BaseException | None) -> None:
        if error is not None:
            raise error
        free.release()

    for n in range(rows):
        await free.acquire()
        world.broker.publish(Message(f"{address}/{n % KEYS}", payload, 1), done)
    for _ in range(PUBLISHERS):
        await free.acquire()


async def one_by_one(world: World, address: str, rows: int, payload: bytes) -> None:
    """Each waits for the answer to the one before: a transaction for each message."""
    for n in range(rows):
        answer: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        world.broker.publish(Message(f"{address}/{n % KEYS}", payload, 1), answer.set_result)
        assert await answer is None


async def work_off(world: World, address: str, rows: int) -> None:
    """Everything that is there is handed out and settled, and that is committed."""
    place, _, name = address.partition("/")
    worker = Worker(world, place, name, rows, "ack")
    worker.group.pump()
    await worker.done
    await world.store.settle()


Body = Callable[[World], Awaitable[None]]


async def measured(label: str, terms: Queue, rows: int, before: Body, body: Body, folder: Path, base: float) -> float:
    """Run ``body`` after ``before`` on a fresh database and print its line; messages a second."""
    with tempfile.TemporaryDirectory(dir=folder) as own:
        world = World(Path(own), terms)
        await world.open()
        try:
            await before(world)
            cpu, disk = resource.getrusage(resource.RUSAGE_SELF), disk_bytes(folder)
            start = time.perf_counter()
            await body(world)
            seconds = time.perf_counter() - start
            spent, after = resource.getrusage(resource.RUSAGE_SELF), disk_bytes(folder)
        finally:
            await world.database.close()
    rate = rows / seconds
    used = (spent.ru_utime + spent.ru_stime - cpu.ru_utime - cpu.ru_stime) / rows * 1e6
    written = "-" if disk is None or after is None else f"{(after - disk) / rows:,.0f} B"
    ratio = f"{rate / base:5.1f}x" if base else "     -"
    print(f"{label:<46}{rate:>9,.0f}/s {ratio}{used:>8.0f} us CPU  written {written:>9} each", flush=True)
    return rate


async def main() -> None:
    """All lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--folder", type=Path, default=Path())
    args = parser.parse_args()
    rows, few, payload = args.rows, max(100, args.rows // 40), bytes(args.size)
    plain = Queue(max_depth=10**7, max_bytes=1 << 30, dead_letter=DeadLetter(enabled=False), max_pending=1000)
    ordered = Queue(max_depth=10**7, max_bytes=1 << 30, dead_letter=DeadLetter(enabled=False), ordered_by="topic")

    async def nothing(world: World) -> None:
        """No preparation."""

    async def fill_queue(world: World) -> None:
        await append(world, "$queue/q", rows, payload)

    async def fill_stream(world: World) -> None:
        await append(world, "$stream/s", rows, payload)

    async def at_once(world: World) -> None:
        await asyncio.gather(work_off(world, "$queue/q", rows), append(world, "$queue/q", rows, payload))

    async def slowly(world: World) -> None:
        await one_by_one(world, "$queue/q", few, payload)

    async def drain_queue(world: World) -> None:
        await work_off(world, "$queue/q", rows)

    async def drain_stream(world: World) -> None:
        await work_off(world, "$stream/s", rows)

    lines: list[tuple[str, Queue, int, Body, Body]] = [
        ("queue: one transaction for each message", plain, few, nothing, slowly),
        ("queue: appended", plain, rows, nothing, fill_queue),
        ("queue: claimed and settled", plain, rows, fill_queue, drain_queue),
        ("queue: claimed and settled, ordered by topic", ordered, rows, fill_queue, drain_queue),
        ("queue: both at once", plain, rows, nothing, at_once),
        ("stream: appended", plain, rows, nothing, fill_stream),
        ("stream: read and acknowledged", plain, rows, fill_stream, drain_stream),
    ]
    base = 0.0
    for label, terms, count, before, body in lines:
        rate = await measured(label, terms, count, before, body, args.folder, base)
        base = base or rate


if __name__ == "__main__":
    asyncio.run(main())
