"""What the store's tests share: a database opened for the length of a test body."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from gateway.clock import FixedClock
from gateway.message import Message
from gateway.metrics import Metrics
from gateway.outbound import LAST, TELEMETRY, OutboxReader, Row
from gateway.store.boots import begin_boot
from gateway.store.db import Database
from gateway.store.outbox import Outbox
from gateway.store.promptness import PATIENCE
from gateway.store.rooms import even_rooms
from gateway.store.segment import unpack
from gateway.store.tail import Tail


class Bench:
    """A database file and what is built on it; the clock stands still until told to move."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = FixedClock()
        self.clock.step(100_000_000)  # past boots.EARLIEST
        self.metrics = Metrics()
        self.lost: list[BaseException] = []

    @asynccontextmanager
    async def database(self) -> AsyncIterator[Database]:
        database = Database(self.path, on_error=self.lost.append)
        await database.open()
        try:
            yield database
        finally:
            await database.close()

    @asynccontextmanager
    async def outbox(
        self, *uplinks: str, max_bytes: int = 10_000_000, max_age: float = 1e9, **more: Any
    ) -> AsyncIterator[tuple[Outbox, Database]]:
        """The outbox with the same bounds for each class; ``more`` as in ``Room``."""
        async with self.database() as database:
            rooms = even_rooms(max_bytes, max_age, **more)
            outbox = Outbox(database, self.clock, uplinks, rooms, self.metrics)
            await outbox.load(await begin_boot(database, self.clock))
            yield outbox, database
            outbox.finish()

    def look(self, query: str) -> list[Any]:
        """What a second connection, which sees only what is committed, finds."""
        other = sqlite3.connect(self.path)
        try:
            return other.execute(query).fetchall()
        finally:
            other.close()

    def rows(self) -> list[Row]:
        """Every row on the disk, in order."""
        with closing(sqlite3.connect(self.path)) as other:
            return rows_in(other)

    def numbers(self) -> list[int]:
        """The numbers of these."""
        return [row.seq for row in self.rows()]


def rows_in(connection: sqlite3.Connection) -> list[Row]:
    """Every row of the outbox, in order."""
    found = connection.execute("SELECT first, boot, data FROM outbox_segment").fetchall()
    return sorted(row for first, boot, data in found for row in unpack(first, data).rows(boot, 0))


def run(body: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a test's body on a loop of its own; nothing here takes long."""
    asyncio.run(asyncio.wait_for(body(), 30))


async def store(outbox: Outbox, *messages: Message) -> list[BaseException | None]:
    """Deliver and wait until all are answered."""
    loop = asyncio.get_running_loop()
    answers: list[BaseException | None] = []
    full: asyncio.Future[None] = loop.create_future()

    def done(error: BaseException | None) -> None:
        answers.append(error)
        if len(answers) == len(messages):
            full.set_result(None)

    for message in messages:
        assert outbox.deliver(message, done)
    clock = outbox._clock
    if outbox._promptness.is_prompt and isinstance(clock, FixedClock):
        clock.advance(PATIENCE)  # nobody gets them to the cloud meanwhile
    await full
    return answers


async def settle(database: Database) -> None:
    """Commit and answer whatever is queued, without waiting for its time."""
    await database.commit(lambda connection: None, size=0, within=0)


async def take(reader: OutboxReader, after: int, limit: int, max_bytes: int, room: int = TELEMETRY) -> list[Row]:
    """Rows of a class behind a number."""
    return (await reader.read(room, after, LAST, limit, max_bytes)).rows


def acknowledge(reader: OutboxReader, upto: int, room: int = TELEMETRY) -> None:
    """Everything of a class up to a number has arrived."""
    reader.acknowledge(room, 0, upto)


def message(n: int, payload: bytes = b"", source: str = "client:a", **more: Any) -> Message:
    return Message("t", payload or b"%d" % n, qos=1, source=source, **more)


def messages(count: int, **more: Any) -> list[Message]:
    return [message(n, **more) for n in range(count)]


def without_tail(outbox: Outbox) -> None:
    outbox.reading.tail = Tail(0)
