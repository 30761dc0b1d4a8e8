"""Stores messages without an end and prints the number of each when it is safe. Started by ``test_crash.py``.

Every message is booked as produced in the turn that stores it, and every tenth row is acknowledged, so that
cursors, range deletes and the books are under way too when the process dies.
"""

from __future__ import annotations

import asyncio
import os
import sys
from functools import partial
from pathlib import Path

from gateway.clock import Clock
from gateway.message import Message
from gateway.metrics import Metrics
from gateway.store.boots import begin_boot
from gateway.store.db import Database
from gateway.store.outbox import Outbox
from gateway.store.rooms import even_rooms


async def main(path: Path) -> None:
    database = Database(path, window=0.002)
    await database.open()
    clock = Clock()
    outbox = Outbox(database, clock, ["cloud"], even_rooms(1 << 30, 1e9), Metrics())
    await outbox.load(await begin_boot(database, clock))
    reader = outbox.reader("cloud")
    number = int(sys.argv[2])

    def done(n: int, error: BaseException | None) -> None:
        if error is None:
            os.write(1, b"%d\n" % n)

    while True:
        for _ in range(20):
            outbox.book("produced")
            outbox.deliver(Message("t", b"%d" % number + b"x" * (number % 900), qos=1), partial(done, number))
            number += 1
        rows = (await reader.read(0, reader.cursor, 1 << 56, 10, 10_000)).rows
        if rows:
            reader.acknowledge(0, 0, rows[0].seq)
        await asyncio.sleep(0.001)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
