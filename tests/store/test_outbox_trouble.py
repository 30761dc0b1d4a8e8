"""The outbox when something does not fit, fails, changes or ends."""

from __future__ import annotations

import asyncio
import math
import random
from typing import Any

import pytest

from gateway.errors import Refused
from gateway.message import Message
from gateway.store.boots import begin_boot
from gateway.store.errors import StoreError
from gateway.store.intake import ANNOUNCE_ROWS
from gateway.store.outbox import Outbox
from gateway.store.rooms import even_rooms
from store.bench import Bench, acknowledge, message, messages, run, settle, store, take


def test_what_cannot_be_kept_is_refused_without_harm_to_others(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("cloud", max_bytes=1000) as (outbox, database):
            bad = [message(1, b"x" * 1000), Message("\ud800", b"x"), Message("t", source="client:\ud800")]
            errors = await store(outbox, bad[0], message(1, time=math.nan), bad[1], bad[2])
            assert sorted(getattr(error, "reason", 0) for error in errors) == [0, 0x90, 0x90, 0x97]
            assert outbox.deliver(bad[0], None)
            assert bench.metrics.drops == {"outbox_refused": 1}
            await settle(database)
            assert await outbox.tallies() == {"stored": 1, "dropped:outbox_refused": 1}

    run(body)


def test_a_failed_commit_answers_publishers_and_carries_the_books_over(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, database):
            reader = outbox.reader("cloud")
            await store(outbox, *messages(3))
            pages = await database.read(lambda connection: connection.execute("PRAGMA page_count").fetchone()[0])
            await database.read(lambda connection: connection.execute(f"PRAGMA max_page_count = {pages}").fetchall())
            outbox.book("produced", 5)
            reader.drop((await take(reader, 0, 1, 1))[0], "too_large")
            acknowledge(reader, 2)
            outbox.deliver(message(9), None)
            errors = await store(outbox, message(9, random.Random(1).randbytes(10_000)))
            assert isinstance(errors[0], Refused)
            assert errors[0].reason == 0x97
            assert bench.metrics.drops == {"too_large": 1, "outbox_failed": 1}
            await database.read(lambda connection: connection.execute("PRAGMA max_page_count = 100000").fetchall())
            assert await store(outbox, message(10)) == [None]
            assert await outbox.tallies() == {
                "stored": 4, "produced": 5, "dropped:too_large": 1, "dropped:outbox_failed": 1
            }  # fmt: skip
            assert bench.look("SELECT acked FROM outbox_cursor WHERE class = 0") == [(2,)]
            assert sorted(bench.look("SELECT reason, n FROM outbox_drop")) == [("outbox_failed", 1), ("too_large", 1)]
            assert [row.seq for row in await take(reader, 2, 10, 1000)] == [3, 6]

    run(body)


def test_one_turn_of_the_loop_is_one_commit(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, _database):
            seen: list[list[Any]] = []

            def done(error: BaseException | None) -> None:
                seen.append(bench.look("SELECT (SELECT n FROM tally), (SELECT sum(n) FROM outbox_segment)"))

            for n in range(3000):  # several times a full transaction
                outbox.book("produced")
                outbox.deliver(message(n), done if n % 1000 == 0 else None)
            assert await store(outbox, message(0)) == [None]
            assert seen == [[(3000, 3001)]] * 3

    run(body)


def test_a_waiter_that_fails_costs_the_others_nothing(bench: Bench) -> None:
    async def body() -> None:
        shown: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: shown.append(context["exception"]))
        async with bench.outbox("cloud") as (outbox, database):
            woken: list[int] = []
            outbox.reader("cloud").wake(lambda: woken.append(1))

            def bug(error: BaseException | None) -> None:
                raise ZeroDivisionError

            outbox.deliver(message(1), bug)
            assert await store(outbox, message(2)) == [None]
            assert woken == [1]
            await settle(database)
        assert [type(error) for error in shown] == [ZeroDivisionError]

    run(body)


def test_readers_are_woken_by_rows_and_by_nothing_else(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, database):
            woken: list[int] = []
            reader = outbox.reader("cloud")
            reader.wake(lambda: woken.append(0))
            reader.wake(lambda: woken.append(1))
            await store(outbox, message(1))
            assert woken == [1]
            acknowledge(reader, 1)
            await settle(database)
            assert woken == [1]

    run(body)


def test_uplinks_come_and_go_with_the_settings(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("old", "stays") as (outbox, database):
            await store(outbox, *messages(10))
            old, stays = outbox.reader("old"), outbox.reader("stays")
            acknowledge(old, 4)
            acknowledge(stays, 8)
            old.drop((await take(old, 4, 1, 1))[0], "expired")
            await outbox.change(["stays", "new"], {"new": "old"})
            assert outbox.reader("stays") is stays
            assert outbox.reader("new").cursor == 4  # where the slowest was: a new name loses nothing
            with pytest.raises(KeyError):
                outbox.reader("old")
            assert bench.look("SELECT uplink, acked FROM outbox_cursor WHERE class = 0 ORDER BY uplink") == [
                ("new", 4),
                ("stays", 8),
            ]
            assert bench.look("SELECT * FROM outbox_drop") == []
            acknowledge(old, 6)  # late, harmless
            await outbox.change(["stays"])
            await settle(database)
            acknowledge(stays, 9)
            await settle(database)
            assert bench.numbers() == list(range(1, 11))  # the last of a segment holds it
            acknowledge(stays, 10)
            await settle(database)
            assert bench.numbers() == []
            assert list(outbox.status()["uplinks"]) == ["stays"]

    run(body)


def test_rows_stay_while_no_uplink_is_configured(bench: Bench) -> None:
    async def first() -> None:
        async with bench.outbox("cloud") as (outbox, _database):
            await store(outbox, *messages(10))
            acknowledge(outbox.reader("cloud"), 3)

    async def without() -> None:
        async with bench.outbox() as (outbox, database):
            assert not outbox.deliver(message(1), None)
            outbox.book("produced")
            await settle(database)
            assert outbox.status() == {"depth": 0, "bytes": 0, "oldest_age": None, "uplinks": {}}

    async def again() -> None:
        async with bench.outbox("cloud") as (outbox, _database):
            reader = outbox.reader("cloud")
            assert (await take(reader, reader.cursor, 1, 1000))[0].seq == 4

    for body in (first, without, again):
        run(body)


def test_status_says_what_waits(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, database):
            assert outbox.status()["depth"] == 0
            await store(outbox, message(1))
            bench.clock.advance(10)
            await store(outbox, message(2))
            reader = outbox.reader("cloud")
            assert outbox.status()["oldest_age"] == 10
            acknowledge(reader, 1)
            await settle(database)
            bench.clock.advance(5)
            assert outbox.status() == {
                "depth": 1,
                "bytes": bench.look("SELECT sum(size) FROM outbox_segment")[0][0],
                "oldest_age": 5,
                "uplinks": {"cloud": {"cursor": 1, "depth": 1, "drops": {}}},
            }
            acknowledge(reader, 2)
            assert outbox.status()["oldest_age"] is None

    run(body)


def test_after_the_database_has_closed_publishers_are_refused(bench: Bench) -> None:
    async def body() -> None:
        answers: list[Any] = []
        async with bench.outbox("cloud") as (outbox, _database):
            await store(outbox, message(1))
            reader = outbox.reader("cloud")
        assert outbox.deliver(message(2), answers.append)
        assert isinstance(answers[0], StoreError)
        assert outbox.deliver(message(3), None)
        assert bench.metrics.drops == {"outbox_refused": 1}
        acknowledge(reader, 1)

    run(body)


def test_a_store_that_is_behind_refuses(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.store.db.MAX_ITEMS", 5)

    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, database):
            errors = await store(outbox, *messages(3 * ANNOUNCE_ROWS))
            refused = [type(error) for error in errors].index(type(None))
            assert refused == ANNOUNCE_ROWS  # one announcement beyond the bound at most
            assert [type(error) for error in errors[:refused]] == [Refused] * refused
            await settle(database)
            assert await outbox.tallies() == {"stored": 3 * ANNOUNCE_ROWS - refused}

    run(body)


def test_a_bound_that_shrank_is_reached_in_steps(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.store.making_room.DROP_SEGMENTS", 10)

    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, database):
            for n in range(30):
                await store(outbox, message(n))
            outbox.bound(even_rooms(10_000_000, 1e9, max_rows=5))
            depths = []
            for n in range(4):
                await store(outbox, message(n))
                depths.append(len(bench.numbers()))
            assert depths[:2] == [21, 12], "ten segments at a time"
            assert depths[-1] == 5
            await settle(database)
            assert await outbox.tallies() == {"stored": 34, "dropped:outbox_full": 29}

    run(body)


def test_a_long_backlog_that_was_acknowledged_leaves_in_steps(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.store.ring.STEP", 10)

    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, database):
            for n in range(25):
                await store(outbox, message(n))
            acknowledge(outbox.reader("cloud"), 25)
            left = []
            for _ in range(4):
                await settle(database)
                left.append(len(bench.numbers()))
            assert left == [15, 5, 0, 0]

    run(body)


def test_numbers_of_starts_are_in_the_rows(bench: Bench) -> None:
    async def body() -> None:
        async with bench.database() as database:
            for _ in range(3):
                boots = await begin_boot(database, bench.clock)
            outbox = Outbox(database, bench.clock, ["cloud"], even_rooms(10_000, 1e9), bench.metrics)
            await outbox.load(boots)
            await store(outbox, message(1))
            assert (await take(outbox.reader("cloud"), 0, 1, 1))[0].message_id == "3:1"

    run(body)
