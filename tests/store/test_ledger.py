"""Every command once, also over a stop; and the numbers of the starts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.clock import FixedClock
from gateway.errors import Refused
from gateway.store.boots import EARLIEST, Boots, begin_boot
from gateway.store.ledger import Ledger
from store.bench import Bench, run


def test_a_command_is_new_once_and_answered_with_its_outcome_after(bench: Bench) -> None:
    async def body() -> None:
        async with bench.database() as database:
            ledger = Ledger(database, bench.clock)
            assert await ledger.begin("boiler", "7", "setpoint") is None
            assert bench.look("SELECT id, status FROM command") == [("7", "open")]
            assert await ledger.begin("boiler", "7", "x") == {"status": "open"}
            assert await ledger.begin("pump", "7", "speed") is None
            await ledger.finish("boiler", "7", "done", {"value": 70.5})
            await ledger.finish("boiler", "7", "failed", {"reason": "too late"})
            await ledger.finish("boiler", "8", "done", {"value": 1})
            assert await ledger.begin("boiler", "7", "setpoint") == {"status": "done", "value": 70.5}
            assert bench.look("SELECT device, id FROM command") == [("boiler", "7"), ("pump", "7")]

    run(body)


def test_two_at_the_same_moment_are_one_command(bench: Bench) -> None:
    async def body() -> None:
        async with bench.database() as database:
            ledger = Ledger(database, bench.clock)
            entries = await asyncio.gather(*(ledger.begin("d", "1", "p") for _ in range(5)))
            assert [entry is None for entry in entries] == [True, False, False, False, False]

    run(body)


def test_a_stop_before_the_answer_leaves_it_open(bench: Bench) -> None:
    async def first() -> None:
        async with bench.database() as database:
            ledger = Ledger(database, bench.clock)
            for id in ("1", "2", "3"):
                await ledger.begin("d", id, "p")
            await ledger.begin("other", "4", "p")
            await ledger.finish("d", "2", "done", {"value": 5})

    async def second() -> None:
        async with bench.database() as database:
            ledger = Ledger(database, bench.clock)
            assert await ledger.open_entries("d") == [("1", "p"), ("3", "p")]
            await ledger.finish("d", "1", "failed", {"reason": "unknown"})
            assert await ledger.open_entries("d") == [("3", "p")]

    run(first)
    run(second)


def test_bounded_by_count_and_by_age_but_not_by_a_clock_that_was_not_set(bench: Bench) -> None:
    async def body() -> None:
        async with bench.database() as database:
            unset = Ledger(database, FixedClock(time=1000.0))
            await unset.begin("d", "unset", "p")
            await unset.finish("d", "unset", "done", {"value": 1})
            ledger = Ledger(database, bench.clock, max_entries=5, max_age=100)
            await ledger.begin("d", "open", "p")
            await ledger.begin("d", "old", "p")
            await ledger.finish("d", "old", "done", {"value": 1})
            bench.clock.advance(101)
            await ledger.begin("d", "new", "p")
            assert ids(bench) == ["unset", "open", "new"]
            for i in range(4):
                await ledger.begin("d", f"{i}", "p")
            assert ids(bench) == ["new", "0", "1", "2", "3"]

    run(body)


def ids(bench: Bench) -> list[Any]:
    return [id for (id,) in bench.look("SELECT id FROM command ORDER BY n")]


def test_starts_are_numbered_and_bounded(bench: Bench) -> None:
    async def body() -> None:
        async with bench.database() as database:
            for expected in (1, 2, 3):
                assert (await begin_boot(database, bench.clock)).number == expected
            await database.commit(lambda c: c.execute("INSERT INTO boot (id, started) VALUES (5000, 0)").rowcount)
            assert (await begin_boot(database, bench.clock)).number == 5001
            assert bench.look("SELECT id FROM boot ORDER BY id") == [(5000,), (5001,)]

    run(body)


def test_ages_come_from_the_clock_that_does_not_step_or_from_a_wall_clock_that_was_set() -> None:
    clock = FixedClock(time=EARLIEST + 10_000, now=50.0)
    boots = Boots(clock, 4, clock.now(), {1: EARLIEST, 2: 77.0, 3: EARLIEST + 9_000, 4: EARLIEST + 10_000})
    clock.advance(100)
    assert boots.age(4, 30) == 70
    clock.step(1e8)
    assert boots.age(4, 30) == 70
    clock.step(-1e8)
    assert boots.age(1, 50) == 10_050
    assert boots.age(2, 50) == 1_100  # as old as the next start that had the time
    assert boots.age(3, 50) == 1_050
    clock.step(-1e9)
    assert boots.age(1, 50) is None
    assert boots.age(4, 30) == 70


def test_the_journal_says_when_what_by_whom_and_what_became_of_it(bench: Bench) -> None:
    async def body() -> None:
        async with bench.database() as database:
            ledger = Ledger(database, bench.clock)
            began = bench.clock.time()
            await ledger.begin("boiler", "1", "setpoint", 70.5, "client:hmi")
            await ledger.finish("boiler", "1", "done", {"value": 70.5})
            bench.clock.advance(5)
            await ledger.begin("pump", "2", "run", False, "uplink:cloud")
            await ledger.finish("pump", "2", "rejected", {"reason": "interlock: door is open"})
            await ledger.begin("boiler", "3", "setpoint", 0, "rule:night")
            newest, second, oldest = await ledger.journal(None, 10)
            assert newest == {
                "time": began + 5, "device": "boiler", "point": "setpoint", "id": "3", "by": "rule:night",
                "asked": 0, "status": "open",
            }  # fmt: skip
            assert second["reason"] == "interlock: door is open" and second["asked"] is False
            assert (oldest["time"], oldest["value"]) == (began, 70.5)
            assert [entry["id"] for entry in await ledger.journal("boiler", 10)] == ["3", "1"]
            assert [entry["id"] for entry in await ledger.journal(None, 1)] == ["3"]

    run(body)


def test_what_the_journal_keeps_of_one_command_is_bounded(bench: Bench) -> None:
    async def body() -> None:
        async with bench.database() as database:
            ledger = Ledger(database, bench.clock)
            await ledger.begin("d", "1", "p", "x" * 100_000, "c" * 60_000)
            (entry,) = await ledger.journal(None, 10)
            assert len(entry["asked"]) <= 1024 and entry["asked"].endswith("xxx...")
            assert len(entry["by"]) == 256

    run(body)


@pytest.mark.parametrize("limit", [0, -1, 10_001, "5", None])
def test_the_control_socket_takes_no_other_limits(bench: Bench, limit: object) -> None:
    async def body() -> None:
        async with bench.database() as database:
            ledger = Ledger(database, bench.clock)
            with pytest.raises(Refused, match="limit must be between 1 and 10000"):
                await ledger.commands()["journal"]({"limit": limit})
            assert await ledger.commands()["journal"]({"limit": 5}) == []

    run(body)
