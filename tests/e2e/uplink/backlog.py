"""An outbox that is full of rows, as after a long outage, made through the store's own code while nothing runs."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateway.clock import Clock
from gateway.message import Message
from gateway.metrics import Metrics
from gateway.store.boots import begin_boot
from gateway.store.db import Database
from gateway.store.outbox import Outbox
from gateway.store.rooms import even_rooms
from gateway.store.routes import Route

TOPICS: Final = 100
ROOM: Final = 1 << 34
PART: Final = 2000
"""Rows of one commit."""


def reading(number: int) -> tuple[str, bytes]:
    """Topic and payload of a reading: 100 points once a second, about 100 bytes of JSON."""
    second, point = divmod(number, TOPICS)
    value = 20 + point / 4 + 3 * math.sin(second / 97 + point)
    text = (
        b'{"v":%.2f,"q":"good","t":"2026-11-21T%02d:%02d:%02d.123Z","u":"Cel","d":"hall 2, line A, dryer %02d, inlet"}'
    )
    time = (second // 3600 % 24, second // 60 % 60, second % 60)
    return f"plant/line/{point}/temperature", text % (value, *time, point)


def readings(count: int) -> Iterator[tuple[str, bytes]]:
    """So many of them."""
    return map(reading, range(count))


def fill(state: Path, rows: int, hours: float, uplink: str = "cloud") -> None:
    """Put so many readings, of the last ``hours``, into the database of a state folder, for one uplink."""
    state.mkdir(parents=True, exist_ok=True)
    asyncio.run(_fill(state / "gateway.db", rows, hours, uplink))


async def _fill(path: Path, rows: int, hours: float, uplink: str) -> None:
    clock = Clock()
    database = Database(path)
    await database.open()
    outbox = Outbox(database, clock, [uplink], even_rooms(ROOM, 1e9), Metrics())
    await outbox.load(await begin_boot(database, clock))
    lanes = [outbox.merge([(Route(uplink, 0, 0),)], reading(number)[0]) for number in range(TOPICS)]
    begin, step = clock.time() - 3600 * hours, 3600 * hours / rows
    for number, (topic, payload) in enumerate(readings(rows)):
        message = Message(topic, payload, 1, time=begin + number * step, source="device:line")
        lanes[number % TOPICS].deliver(message, None)
        if number % PART == PART - 1:
            await database.commit(lambda connection: None, size=0, within=0)
    outbox.finish()
    await database.close()
