"""The floor of free space: appends stop above the end of the disk, deletes and reads go on, and it recovers."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.errors import Refused
from gateway.store.boots import begin_boot
from gateway.store.db import Database
from gateway.store.floor import HOLD, LEAST, MIB, MOST, RESERVE, Floor, Space
from gateway.store.outbox import Outbox
from gateway.store.rooms import even_rooms
from gateway.store.written import Written
from store.bench import Bench, acknowledge, message, messages, run, settle, store, take

FLOOR = 8 * MIB


class Disk:
    """A file system whose free space a test sets."""

    def __init__(self, free: int = 100 * MIB, total: int = 1000 * MIB) -> None:
        self.free = free
        self.total = total

    def measure(self, folder: Path) -> Space:
        return Space(self.free, self.total)


@asynccontextmanager
async def outbox_on(bench: Bench, disk: Disk) -> AsyncIterator[tuple[Outbox, Database]]:
    database = Database(bench.path, on_error=bench.lost.append, floor=Floor(bench.path, FLOOR, disk.measure))
    await database.open()
    try:
        outbox = Outbox(database, bench.clock, ["cloud"], even_rooms(10_000_000, 1e9), bench.metrics)
        await outbox.load(await begin_boot(database, bench.clock))
        yield outbox, database
    finally:
        await database.close()


async def look(database: Database) -> None:
    database.look_after()
    await settle(database)


def test_below_the_floor_nothing_is_stored_and_everything_else_goes_on(bench: Bench) -> None:
    disk = Disk()

    async def body() -> None:
        async with outbox_on(bench, disk) as (outbox, database):
            assert await store(outbox, *messages(300)) == [None] * 300
            disk.free = FLOOR - 4096  # pages that are free inside the database count as room
            await look(database)
            (error,) = await store(outbox, message(1))
            assert isinstance(error, Refused)
            assert error.reason == 0x97
            alarm = database.health.alarms()["disk"]
            assert alarm is not None
            assert "the disk is full (8.0 MiB free, floor 8.0 MiB)" in alarm
            assert database.status()["disk"]["low"] is True
            reader = outbox.reader("cloud")
            assert len(await take(reader, 0, 500, 1 << 20)) == 300
            acknowledge(reader, 300)
            await settle(database)
            await settle(database)
            assert bench.rows() == []
            await look(database)
            disk.free = FLOOR + FLOOR // 4 - 1 - database.health.floor.inside
            await look(database)
            assert (await store(outbox, message(1)))[0] is not None  # not with every byte that comes back
            disk.free = 2 * FLOOR
            await look(database)
            assert await store(outbox, message(1)) == [None]
            assert database.health.alarms()["disk"] is None

    run(body)


def test_rows_that_left_the_database_make_room_in_it(bench: Bench) -> None:
    disk = Disk()

    async def body() -> None:
        async with outbox_on(bench, disk) as (outbox, database):
            await store(outbox, *messages(3000, payload=b"x" * 2000))
            disk.free = FLOOR - MIB
            await look(database)
            assert database.health.floor.low
            acknowledge(outbox.reader("cloud"), 3000)
            await settle(database)
            await settle(database)
            await look(database)
            assert database.health.floor.inside > 3 * MIB
            assert not database.health.floor.low
            assert await store(outbox, message(1)) == [None]

    run(body)


def test_the_reserve_is_given_up_when_the_disk_is_full_and_made_again(bench: Bench) -> None:
    disk = Disk()
    reserve = bench.path.with_name("gateway.reserve")

    async def body() -> None:
        async with outbox_on(bench, disk) as (_outbox, database):
            assert reserve.stat().st_size == RESERVE
            assert reserve.stat().st_blocks * 512 >= RESERVE
            disk.free = FLOOR - 1
            await look(database)
            assert reserve.exists()  # others may still need what is left
            disk.free = RESERVE // 4 - 1
            await look(database)
            assert not reserve.exists()
            disk.free = FLOOR + FLOOR // 2
            await look(database)
            assert not reserve.exists()
            disk.free = FLOOR + 2 * RESERVE
            await look(database)
            assert reserve.exists()

    run(body)


@pytest.mark.parametrize(
    ("total", "floor"),
    [(20 * MIB, LEAST), (256 * MIB, 256 * MIB // 50), (32_000 * MIB, MOST), (2048 * MIB, 2048 * MIB // 50)],
)
def test_without_a_setting_the_floor_follows_the_size_of_the_disk(tmp_path: Path, total: int, floor: int) -> None:
    found = Floor(tmp_path / "gateway.db", None, Disk(total, total).measure)
    with sqlite3.connect(":memory:") as connection:
        found.look(connection, 0.0)
    connection.close()
    assert found.bytes == floor


def test_a_disk_that_was_full_in_fact_is_tried_again_after_a_while(tmp_path: Path) -> None:
    floor = Floor(tmp_path / "gateway.db", FLOOR, Disk().measure)
    with sqlite3.connect(":memory:") as connection:
        floor.look(connection, 100.0)
        floor.failed(sqlite3.OperationalError("database or disk is full"), True, 100.0)
        for now, low in ((100.0, True), (100.0 + HOLD - 0.1, True), (100.0 + HOLD, False)):
            floor.look(connection, now)
            assert floor.low is low
        assert floor.alarm() == "the store cannot write: database or disk is full; look at the card"
        floor.committed(connection, 0, 100.0 + HOLD)
        assert floor.alarm() is None
    connection.close()


@pytest.mark.parametrize("setting", [0, FLOOR])
def test_trouble_is_told_of_for_a_while_although_the_next_transaction_is_written(tmp_path: Path, setting: int) -> None:
    floor = Floor(tmp_path / "gateway.db", setting, Disk().measure)
    with sqlite3.connect(":memory:") as connection:
        floor.failed(sqlite3.OperationalError("disk I/O error"), False, 100.0)
        floor.look(connection, 200.0)
        assert floor.trouble == "disk I/O error"  # nothing was written since
        floor.failed(sqlite3.OperationalError("disk I/O error"), False, 200.0)
        floor.committed(connection, 0, 201.0)
        for now, trouble in ((200.0 + HOLD - 0.1, "disk I/O error"), (200.0 + HOLD, None)):
            floor.look(connection, now)
            assert floor.trouble == trouble
    connection.close()


def test_nought_does_not_look_at_the_disk(tmp_path: Path) -> None:
    floor = Floor(tmp_path / "gateway.db", 0, Disk(free=0).measure)
    with sqlite3.connect(":memory:") as connection:
        floor.look(connection, 0.0)
        floor.failed(sqlite3.OperationalError("full"), True, 0.0)
    connection.close()
    assert not floor.low
    assert list(tmp_path.iterdir()) == []


def test_bytes_written_are_those_that_the_kernel_counts(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, database):
            before = database.status()["written"]
            if before is None:
                pytest.skip("this kernel does not count the bytes of a thread (/proc/thread-self/io)")
            await store(outbox, *messages(100, payload=b"x" * 5000))
            await look(database)
            after = database.status()["written"]
            # A page of 1024 bytes and its header for each KiB of payload, and little more.
            assert 500_000 < after["log"] - before["log"] < 800_000
            assert after["checkpoints"] == before["checkpoints"]
            await database.read(database.checkpoints.checkpoint)
            await look(database)
            moved = database.status()["written"]
            assert moved["moves"] == 1
            assert 500_000 < moved["checkpoints"] < 800_000
            assert moved["log"] - after["log"] < 2000
            assert moved["total"] == moved["log"] + moved["opening"] + moved["checkpoints"]

    run(body)


def test_a_kernel_without_counts_gives_none(tmp_path: Path) -> None:
    written = Written(tmp_path / "io")
    written.begin()
    written.opened()
    assert written.look() == 0
    assert written.status() is None


def test_the_look_never_queues_up(bench: Bench) -> None:
    async def body() -> None:
        async with outbox_on(bench, Disk()) as (_outbox, database):
            for _ in range(5):
                database.look_after()
            assert database.busy
            await settle(database)
            progress = database.progress
            await asyncio.sleep(0)
            assert database.progress == progress

    run(body)


def test_what_is_queued_counts_before_it_is_written(bench: Bench) -> None:
    disk = Disk(free=FLOOR + 2 * MIB)

    async def body() -> None:
        async with outbox_on(bench, disk) as (outbox, database):
            errors = await store(outbox, *messages(60, payload=b"x" * (64 << 10)))
            assert 16 < errors.count(None) < 32  # 2 MiB are left, and no look came in between
            assert {str(error) for error in errors if error} == {"the disk is full: nothing more is stored"}
            assert database.health.alarms()["disk"] is not None
            await look(database)
            assert bench.path.stat().st_size > MIB  # the log was emptied while there was room

    run(body)


def test_what_the_log_will_add_to_the_file_is_taken_off(bench: Bench) -> None:
    disk = Disk()

    async def body() -> None:
        async with outbox_on(bench, disk) as (outbox, database):
            before = database.health.floor.left
            await store(outbox, *messages(20, payload=b"x" * (64 << 10)))
            await look(database)
            assert bench.path.stat().st_size < MIB  # all of it is in the log
            left, size = database.health.floor.left, bench.path.stat().st_size
            assert before - left == pytest.approx(20 * (65 << 10), rel=0.05)
            await database.read(database.checkpoints.checkpoint)
            disk.free -= bench.path.stat().st_size - size
            await look(database)
            assert database.health.floor.left == left  # the same before and after it has moved

    run(body)


def test_the_disk_is_measured_again_when_much_was_written(bench: Bench) -> None:
    disk = Disk()

    async def body() -> None:
        async with outbox_on(bench, disk) as (outbox, database):
            disk.free = 0
            for _ in range(3):
                await store(outbox, *messages(6, payload=b"x" * (64 << 10)))
            assert database.health.floor.low

    run(body)
