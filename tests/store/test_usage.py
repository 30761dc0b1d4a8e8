"""Bytes of the uplinks on a real database."""

from __future__ import annotations

from gateway.store.usage import UsageStore, Used
from store.bench import Bench, run


def used(begin: float, count: int, uplink: str = "cloud") -> Used:
    return Used(uplink, "month", begin, count, begin + 5, 1)


def test_what_was_kept_is_there_after_a_restart(bench: Bench) -> None:
    async def body() -> None:
        async with bench.database() as database:
            store = UsageStore(database)
            store.keep(used(1e9, 10))
            store.keep(used(1e9, 20))
            store.keep(used(1e9, 5, "far"))
            await database.commit(lambda connection: None, size=0, within=0)
        async with bench.database() as database:
            assert sorted(await UsageStore(database).load()) == [used(1e9, 20), used(1e9, 5, "far")]

    run(body)


def test_only_the_newest_periods_stay(bench: Bench) -> None:
    async def body() -> None:
        async with bench.database() as database:
            store = UsageStore(database)
            for begin in (0.0, 1e9, 2e9, 3e9, 4e9):
                store.keep(used(begin, 10))
                await database.commit(lambda connection: None, size=0, within=0)
            assert [one.begin for one in sorted(await store.load())] == [2e9, 3e9, 4e9]

    run(body)


def test_a_closed_database_keeps_nothing_and_says_nothing(bench: Bench) -> None:
    async def body() -> None:
        async with bench.database() as database:
            store = UsageStore(database)
            await database.close()
            store.keep(used(1e9, 10))
        async with bench.database() as database:
            assert await UsageStore(database).load() == []

    run(body)
