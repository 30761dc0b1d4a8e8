"""Other uplinks than before while the outbox runs: rows in memory and on the disk, accounts, faults of the disk."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any

import pytest

from gateway.store import handover
from gateway.store.accounts import account
from gateway.store.drops import load_drops
from gateway.store.handover import Handover
from gateway.store.outbox import Outbox
from gateway.store.recount import missing_rows
from gateway.store.uplink_rows import all_tallies
from store.bench import Bench, acknowledge, message, messages, run, settle, store, take


def missing(bench: Bench, outbox: Outbox) -> dict[str, int]:
    """What the accounts and the rows on the disk do not agree about."""
    positions = {name: outbox.reader(name).position for name in outbox.uplinks}  # type: ignore[attr-defined]
    with sqlite3.connect(bench.path) as connection:
        found = missing_rows(connection, positions)
    connection.close()
    return found


def waiting(bench: Bench, uplink: str) -> int:
    with sqlite3.connect(bench.path) as connection:
        found = account(uplink, all_tallies(connection), load_drops(connection)).waiting
    connection.close()
    return found


async def have(outbox: Outbox, uplink: str, upto: int) -> None:
    """The uplink reads what it has not got up to a row, and the cloud answers."""
    reader = outbox.reader(uplink)
    await reader.read(0, reader.cursor, upto, 1000, 1_000_000)
    acknowledge(reader, upto)


def test_rows_that_gather_at_the_switch_belong_to_the_new_name(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("near", "old") as (outbox, database):
            await store(outbox, *messages(3))
            await have(outbox, "old", 1)
            outbox.deliver(message(4), None)
            done = outbox.change(["near", "new"], {"new": "old"})
            outbox.deliver(message(5), None)
            await done
            await settle(database)
            rows = await take(outbox.reader("new"), 1, 10, 10_000)
            assert [row.seq for row in rows] == [2, 3, 4, 5]
            assert all("new" in row.uplinks for row in rows)
            assert missing(bench, outbox) == {"near": 0, "new": 0}
            assert waiting(bench, "new") == 4
            assert waiting(bench, "old") == 0
            # What only the near one has must not be taken for delivered.
            await have(outbox, "near", 5)
            await settle(database)
            assert bench.numbers()[-1] == 5
            await have(outbox, "new", 5)
            await settle(database)
            assert missing(bench, outbox) == {"near": 0, "new": 0}
        async with bench.outbox("near", "new") as (outbox, _):
            assert outbox.heirs["near"] == "near"
            assert missing(bench, outbox) == {"near": 0, "new": 0}

    run(body)


def test_a_chain_of_names_outlives_a_start_and_a_name_may_come_back(bench: Bench) -> None:
    async def first() -> None:
        async with bench.outbox("a", "near") as (outbox, database):
            await store(outbox, *messages(2))
            await outbox.change(["b", "near"], {"b": "a"})
            await store(outbox, *messages(2))
            await outbox.change(["c", "near"], {"c": "b"})
            await settle(database)
            assert dict(outbox.heirs) == {"a": "c", "b": "c", "c": "c", "near": "near"}

    async def second() -> None:
        async with bench.outbox("c", "near") as (outbox, database):
            assert dict(outbox.heirs) == {"a": "c", "b": "c", "c": "c", "near": "near"}
            assert [row.seq for row in await take(outbox.reader("c"), 0, 10, 10_000)] == [1, 2, 3, 4]
            await outbox.change(["near"])
            assert dict(outbox.heirs) == {"a": None, "b": None, "c": None, "near": "near"}
            await outbox.change(["near", "a"])
            assert outbox.heirs["a"] == "a"
            assert outbox.reader("a").cursor == 4, "from now on"
            assert missing(bench, outbox) == {"near": 0, "a": 0}
            await have(outbox, "near", 4)
            acknowledge(outbox.reader("a"), 4)
            await settle(database)
            await outbox.change(["near"])
            assert bench.look("SELECT uplink FROM outbox_heir") == [], "no row of theirs is left"

    run(first)
    run(second)


def test_a_name_that_comes_back_with_a_start_leaves_old_rows_to_who_had_it(bench: Bench) -> None:
    """The row that waited under the name ``a`` was the plant's; the new ``a`` is another cloud."""

    async def first() -> None:
        async with bench.outbox("a", "near") as (outbox, database):
            await store(outbox, *messages(3))
            await have(outbox, "a", 1)
            await outbox.change(["b", "near"], {"b": "a"})
            await store(outbox, *messages(2))
            await outbox.change(["c", "near"], {"c": "b"})
            await store(outbox, message(9))
            await settle(database)

    async def second() -> None:
        async with bench.outbox("c", "near", "a", "b") as (outbox, database):
            assert dict(outbox.heirs) == {name: name for name in ("c", "near", "a", "b")}
            for name in ("c", "near", "a", "b"):
                rows = await take(outbox.reader(name), 0, 10, 10_000)
                mine = [row.seq for row in rows if name in row.uplinks]
                assert mine == {"c": [1, 2, 3, 4, 5, 6], "near": [1, 2, 3, 4, 5, 6]}.get(name, [])
            assert missing(bench, outbox) == {"c": 0, "near": 0, "a": 0, "b": 0}
            await store(outbox, message(10))
            assert [row.seq for row in await take(outbox.reader("a"), 6, 10, 10_000)] == [7]
            assert bench.look("SELECT uplink FROM outbox_heir") == []

    run(first)
    run(second)


def test_a_stop_while_rows_get_their_new_name_loses_none(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "STEP", 1)

    async def first() -> None:
        async with bench.outbox("a") as (outbox, database):
            for n in range(4):
                await store(outbox, message(n))
            await outbox.change(["b"], {"b": "a"})
            await settle(database)

    async def stopped() -> None:
        async with bench.database() as database:
            begun = Handover(["b", "a"])
            for _ in range(2):
                assert await database.commit(begun.step, size=0, within=0)

    async def second() -> None:
        async with bench.outbox("b", "a") as (outbox, _):
            rows = await take(outbox.reader("b"), 0, 10, 10_000)
            assert [(row.seq, row.payload, row.uplinks) for row in rows] == [
                (n, b"%d" % (n - 1), ("b",)) for n in before
            ]
            assert missing(bench, outbox) == {"a": 0, "b": 0}

    run(first)
    before = bench.numbers()
    assert len(before) == 4
    with sqlite3.connect(bench.path) as connection:
        ((damaged,),) = connection.execute("SELECT max(id) FROM outbox_segment").fetchall()
        connection.execute("UPDATE outbox_segment SET data = x'02ff' WHERE id = ?", (damaged,))
    connection.close()
    before = before[:-1]
    run(stopped)
    run(second)


def test_others_get_nothing_of_one_that_is_removed(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("near", "gone") as (outbox, database):
            await store(outbox, *(message(n, source="uplink:near") for n in range(5)))
            await store(outbox, message(6))
            await outbox.change(["near"])
            assert waiting(bench, "near") == 1
            await settle(database)
            rows = await take(outbox.reader("near"), 0, 10, 10_000)
            acknowledge(outbox.reader("near"), rows[-1].seq)
            await settle(database)
            assert missing(bench, outbox) == {"near": 0}
            assert waiting(bench, "near") == 0
            assert bench.metrics.drops == {"uplink_removed": 6}
            assert (await outbox.tallies())["dropped:uplink_removed"] == 6

    run(body)


def test_a_disk_that_takes_nothing_has_the_switch_with_its_next_transaction(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("near", "old") as (outbox, database):
            await store(outbox, *messages(3))
            answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

            def fail(connection: sqlite3.Connection) -> None:
                raise sqlite3.OperationalError("disk I/O error")

            apply = outbox._table.apply
            outbox._table.apply = lambda connection, changes: fail(connection)  # type: ignore[method-assign,return-value,assignment]
            outbox.deliver(message(4), answer.set_result)
            done = outbox.change(["near", "new"], {"new": "old"})
            assert await answer is not None
            assert not done.done()
            outbox._table.apply = apply  # type: ignore[method-assign]
            await done
            await store(outbox, message(5))
            assert list(outbox.uplinks) == ["near", "new"]
            assert missing(bench, outbox) == {"near": 0, "new": 0}
            assert waiting(bench, "new") == 4
            assert {name for (name,) in bench.look("SELECT DISTINCT uplink FROM outbox_cursor")} == {"near", "new"}

    run(body)


def test_what_an_uplink_will_never_get_goes_with_its_name(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("old") as (outbox, database):
            await store(outbox, *messages(3))
            (row,) = await take(outbox.reader("old"), 0, 1, 10_000)
            outbox.reader("old").drop(row, "expired")
            acknowledge(outbox.reader("old"), 1)
            await settle(database)
            await outbox.change(["new"], {"new": "old"})
            assert outbox.status()["uplinks"]["new"]["drops"]["expired"]["n"] == 1
            assert bench.look("SELECT uplink, reason, n FROM outbox_drop") == [("new", "expired", 1)]
            assert waiting(bench, "new") == 2

    run(body)
