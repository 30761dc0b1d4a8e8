"""The outbox: rows a second with group commit against one transaction for each row, and bytes written for each.

    python benchmarks/store.py [--rows 20000] [--size 256] [--folder DIR]

Everything runs in one go on one disk, so trust the ratios. ``written`` is what the block layer says that the
whole disk wrote meanwhile (``/proc/diskstats``), divided by the payload bytes: run it on a quiet machine and on
the disk that you mean, or on a file system in a loop device, which nobody else writes to. The last two lines are
what a gateway sees: a steady rate, answered as it comes (their CPU is mostly the timer that makes the rate).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from gateway.clock import Clock
from gateway.message import Message
from gateway.metrics import Metrics
from gateway.store.boots import begin_boot
from gateway.store.db import MAX_ITEMS, Database
from gateway.store.outbox import Outbox
from gateway.store.rooms import even_rooms

Feed = Callable[[Outbox, int, int], Awaitable[None]]


async def crowd(outbox: Outbox, rows: int, size: int) -> None:
    """As many as fit are under way at once, as with many publishers."""
    free = asyncio.Semaphore(MAX_ITEMS // 8)
    payload = bytes(size)

    def done(error: BaseException | None) -> None:
        if error is not None:
            raise error
        free.release()

    for _ in range(rows):
        await free.acquire()
        outbox.deliver(Message("plant/boiler/temperature", payload, qos=1), done)
    for _ in range(MAX_ITEMS // 8):
        await free.acquire()


async def one_by_one(outbox: Outbox, rows: int, size: int) -> None:
    """Each waits for the answer to the one before: a transaction for each row."""
    payload = bytes(size)
    for _ in range(rows):
        answered: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        outbox.deliver(Message("plant/boiler/temperature", payload, qos=1), answered.set_result)
        assert await answered is None


def steady(rate: int) -> Feed:
    """``rate`` rows a second, whatever the answers do."""

    async def feed(outbox: Outbox, rows: int, size: int) -> None:
        payload = bytes(size)
        start = time.monotonic()
        for n in range(rows):
            outbox.deliver(Message("plant/boiler/temperature", payload, qos=1), lambda error: None)
            await asyncio.sleep(max(0.0, start + n / rate - time.monotonic()))

    return feed


def disk_bytes(folder: Path) -> int | None:
    """Bytes written to the block device under ``folder`` since boot; None when it has none of its own."""
    device = os.stat(folder).st_dev
    for line in Path("/proc/diskstats").read_text().splitlines():
        fields = line.split()
        if (int(fields[0]), int(fields[1])) == (os.major(device), os.minor(device)):
            return int(fields[9]) * 512
    return None


async def measure(folder: Path, name: str, feed: Feed, rows: int, size: int, window: float) -> float:
    """Run one shape in a file of its own, print its line, return rows a second."""
    database = Database(folder / f"{name.replace(' ', '-')}.db", window=window)
    await database.open()
    outbox = Outbox(database, Clock(), ["cloud"], even_rooms(1 << 30, 1e9), Metrics())
    await outbox.load(await begin_boot(database, Clock()))
    os.sync()
    before, commits, cpu = disk_bytes(folder), database.counts.commits, processor_seconds()
    start = time.perf_counter()
    await feed(outbox, rows, size)
    seconds = time.perf_counter() - start
    cpu, commits = processor_seconds() - cpu, database.counts.commits - commits
    os.sync()
    after = disk_bytes(folder)
    await database.close()
    written = "?" if before is None or after is None else f"{(after - before) / (rows * size):.2f}"
    print(
        f"{name:<28} {rows / seconds:>9.0f} rows/s {cpu / rows * 1e6:>7.1f} us CPU/row "
        f"{rows / commits:>8.1f} rows/commit   written {written:>6} x payload"
    )
    return rows / seconds


def processor_seconds() -> float:
    """User and system time of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the outbox.")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=256, help="payload bytes")
    parser.add_argument("--folder", default=None, help="where the databases are made (default: a temporary folder)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder, rows, size = Path(name), arguments.rows, arguments.size
        single = await measure(folder, "a transaction for each row", one_by_one, rows // 20, size, 0.0)
        group = await measure(folder, "group commit", crowd, rows, size, 0.02)
        await measure(folder, "500 a second, 20 ms window", steady(500), 2000, size, 0.02)
        await measure(folder, "500 a second, 200 ms window", steady(500), 2000, size, 0.2)
    print(f"group commit is {group / single:.1f} x one transaction for each row")


if __name__ == "__main__":
    asyncio.run(main())
