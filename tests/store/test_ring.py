"""Acknowledged rows stay while there is room, can be found again as they were, and go first, uncounted."""

from __future__ import annotations

import math
import random
import sqlite3
from contextlib import closing
from typing import Any

from gateway.message import USER_PROPERTY, Message
from gateway.outbound import Found, Row, Wanted
from gateway.store.archive import PAGE_SEGMENTS, UplinkArchive
from gateway.store.boots import begin_boot
from gateway.store.db import Database
from gateway.store.outbox import Outbox
from gateway.store.rooms import even_rooms
from store.bench import Bench, acknowledge, message, run, settle, store, take, without_tail
from store.test_accounts import accounts, limit_pages, settle_anyway, to

ALL = Wanted(None, 0, 1 << 55, -math.inf, math.inf)


class Ringed:
    """An outbox with a ring."""

    def __init__(self, bench: Bench, *names: str, ring: int = 100_000, elides: bool = True, **more: Any) -> None:
        self.bench = bench
        self.database = Database(bench.path, on_error=bench.lost.append)
        rooms = even_rooms(more.pop("max_bytes", 10_000_000), more.pop("max_age", 1e9), **more)
        self.outbox = Outbox(
            self.database, bench.clock, names, rooms, bench.metrics, ring_bytes=ring, elides=elides
        )  # fmt: skip

    async def __aenter__(self) -> Ringed:
        await self.database.open()
        await self.outbox.load(await begin_boot(self.database, self.bench.clock))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.outbox.finish()
        await self.database.close()

    async def arrive(self, count: int, size: int = 100, name: str = "cloud") -> None:
        """So many rows are stored, and then delivered."""
        reader = self.outbox.reader(name)
        for _ in range(count):
            await store(self.outbox, message(1, random.randbytes(size)))
            rows = await take(reader, reader.cursor, 10, 10**6)
            acknowledge(reader, rows[-1].seq)
        await settle(self.database)
        await settle(self.database)

    async def find(self, wanted: Wanted = ALL, name: str = "cloud") -> tuple[list[Row], list[int], list[int], int]:
        """Everything, and in how many looks."""
        archive = UplinkArchive(self.outbox, self.database, self.bench.clock, name)
        rows: list[Row] = []
        waiting: list[int] = []
        others: list[int] = []
        after: int | None = 0
        looks = 0
        while after is not None:
            found: Found = await archive.find(wanted, after)
            rows += found.rows
            waiting += found.waiting
            others += found.others
            after = found.after
            looks += 1
        return rows, waiting, others, looks


def test_acknowledged_rows_stay_within_their_bytes_and_the_oldest_go(bench: Bench) -> None:
    async def body() -> None:
        async with Ringed(bench, "cloud", ring=50_000) as one:
            await one.arrive(20)
            assert len(bench.numbers()) == 20
            assert one.outbox.in_ring(0) == 20
            status = one.outbox.status()
            assert (status["depth"], status["bytes"]) == (0, 0)
            await one.arrive(60)
            left = bench.numbers()
            assert left == list(range(left[0], 81))
            (size,) = bench.look("SELECT sum(size) FROM outbox_segment")[0]
            assert 40_000 < size <= 50_000 + 50_000 // 16
            assert accounts(bench)["cloud"].waiting == 0
            assert bench.metrics.drops == {}

    run(body)


def test_the_ring_is_found_again_after_a_restart_and_a_failed_commit(bench: Bench) -> None:
    async def first() -> None:
        async with Ringed(bench, "cloud") as one:
            await one.arrive(10)

    async def second() -> None:
        async with Ringed(bench, "cloud") as one:
            await one.arrive(1)
            assert one.outbox.in_ring(0) == 11
            await limit_pages(one.database, 1)
            one.outbox.deliver(message(1, random.randbytes(50_000)), None)
            await settle_anyway(one.database)
            await limit_pages(one.database, 1_000_000)
            await one.arrive(1)
            assert one.outbox.in_ring(0) == 12

    run(first)
    run(second)


def test_without_a_ring_nothing_stays(bench: Bench) -> None:
    async def body() -> None:
        async with Ringed(bench, "cloud", ring=0) as one:
            await one.arrive(10)
            assert bench.numbers() == []

    run(body)


def test_when_room_is_needed_the_ring_goes_before_anything_is_thinned(bench: Bench) -> None:
    async def body() -> None:
        async with Ringed(bench, "cloud", ring=10_000_000, max_bytes=60_000, thins=True) as one:
            without_tail(one.outbox)
            await one.arrive(40)
            before = len(bench.numbers())
            waiting = 0
            while len([seq for seq in bench.numbers() if seq <= 40]) > 10:
                for _ in range(5):
                    one.outbox.deliver(message(1, b"1.5", time=1e9 + waiting), None)
                    await settle(one.database)
                    waiting += 1
            assert before == 40
            found = accounts(bench)["cloud"]
            assert (found.thinned, found.dropped, found.waiting) == (0, 0, waiting)

    run(body)


def test_rows_of_the_ring_that_are_too_old_go_uncounted(bench: Bench) -> None:
    async def body() -> None:
        async with Ringed(bench, "cloud", max_age=1000) as one:
            without_tail(one.outbox)
            await one.arrive(10)
            bench.clock.advance(2000)
            await one.arrive(1)
            await settle(one.database)
            assert bench.numbers() == [11]
            assert accounts(bench)["cloud"].dropped == 0
            assert one.outbox.in_ring(0) == 1

    run(body)


def test_a_row_comes_back_byte_for_byte(bench: Bench) -> None:
    async def body() -> None:
        async with Ringed(bench, "cloud") as one:
            props = ((0x03, "text/plain"), (0x09, b"\0\xff"), (USER_PROPERTY, ("a", "ä")), (USER_PROPERTY, ("a", "b")))
            stored = [
                Message("plant/ä", random.randbytes(n), n % 3, n % 2 == 0, 5.25 + n, 100.0, "device:x", props=props)
                for n in range(30)
            ]
            await store(one.outbox, *stored)
            reader = one.outbox.reader("cloud")
            sent = await take(reader, 0, 100, 10**6)
            acknowledge(reader, 20)
            rows, waiting, others, _ = await one.find()
            assert rows == sent[:20]
            assert (waiting, others) == (list(range(21, 31)), [])
            assert (await one.find(Wanted(1, 5, 8, -math.inf, math.inf)))[0] == sent[4:8]
            assert (await one.find(Wanted(2, 5, 8, -math.inf, math.inf)))[0] == []
            assert (await one.find(Wanted(None, 0, 1 << 55, 7.0, 9.5)))[0] == sent[2:5]

    run(body)


def test_what_was_never_written_is_not_there_unless_the_ring_is_complete(bench: Bench) -> None:
    async def body(elides: bool) -> None:
        async with Ringed(bench, "cloud", elides=elides) as one:
            reader = one.outbox.reader("cloud")
            answers: list[Any] = []
            for n in range(5):
                one.outbox.deliver(message(n), answers.append)
            rows = await take(reader, reader.cursor, 10, 1000)
            acknowledge(reader, rows[-1].seq)
            assert answers == ([None] * 5 if elides else [])
            await settle(one.database)
            assert answers == [None] * 5
            assert (await one.find())[0] == ([] if elides else rows)
        assert accounts(bench)["cloud"].waiting == 0

    run(lambda: body(True))
    run(lambda: body(False))


def test_rows_of_others_are_told_apart(bench: Bench) -> None:
    async def body() -> None:
        async with Ringed(bench, "a", "b") as one:
            for n in range(6):
                to(one.outbox, ("a", "b")[n % 2]).deliver(message(n), None)
            await settle(one.database)
            acknowledge(one.outbox.reader("a"), 6)
            rows, waiting, others, _ = await one.find(name="a")
            assert [row.seq for row in rows] == [1, 3, 5]
            assert (waiting, others) == ([], [2, 4, 6])
            assert (await one.find(name="b"))[:2] == ([], [2, 4, 6])

    run(body)


def test_a_look_is_bounded_and_what_is_damaged_is_gone(bench: Bench) -> None:
    async def fill() -> None:
        async with Ringed(bench, "cloud") as one:
            await one.arrive(3 * PAGE_SEGMENTS)

    async def look() -> None:
        async with Ringed(bench, "cloud") as one:
            rows, _, _, looks = await one.find()
            assert [row.seq for row in rows] == [1, *range(3, 3 * PAGE_SEGMENTS + 1)]
            assert looks >= 3

    run(fill)
    with closing(sqlite3.connect(bench.path)) as other:
        other.execute("UPDATE outbox_segment SET data = x'02ff' WHERE id = 2")
        other.commit()
    run(look)


def test_what_is_live_and_acknowledged_leaves_before_a_backlog_when_room_is_needed(bench: Bench) -> None:
    async def body() -> None:
        async with Ringed(bench, "cloud", ring=10_000_000, max_bytes=60_000) as one:
            without_tail(one.outbox)
            for n in range(20):
                one.outbox.deliver(message(n, random.randbytes(100)), None)
                await settle(one.database)
            reader = one.outbox.reader("cloud")
            for _ in range(80):
                await store(one.outbox, message(1, random.randbytes(300)))
                newest = reader.newest
                await reader.read(0, newest - 1, newest, 10, 10**6)
                reader.acknowledge(0, newest - 1, newest)
            await settle(one.database)
            await settle(one.database)
            assert bench.numbers()[:20] == list(range(1, 21))
            assert len(bench.numbers()) < 100
            assert accounts(bench)["cloud"].dropped == 0

    run(body)


def test_nothing_stays_while_the_disk_is_full(bench: Bench) -> None:
    """What has arrived must not keep publishers from being taken."""

    async def body() -> None:
        async with Ringed(bench, "cloud", elides=False) as ringed:
            await ringed.arrive(5)
            assert len(bench.numbers()) == 5
            reader = ringed.outbox.reader("cloud")
            assert ringed.outbox.deliver(message(6), None)
            await settle(ringed.database)
            ringed.database.health.floor.low = True
            rows = await take(reader, reader.cursor, 10, 10**6)
            acknowledge(reader, rows[-1].seq)
            await settle(ringed.database)
            await settle(ringed.database)
            assert bench.numbers() == []

    run(body)
