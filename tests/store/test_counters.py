"""Counters that go on over restarts."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gateway.store.counters import Counters
from store.bench import Bench


def test_counters_go_on_over_restarts_and_begin_again_at_their_modulus(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "gateway.db")

    async def count(name: str, times: int) -> list[int]:
        async with bench.database() as database:
            counters = Counters(database)
            return [await counters.next(name, 4) for _ in range(times)]

    assert asyncio.run(count("a", 3)) == [0, 1, 2]
    assert asyncio.run(count("b", 1)) == [0]
    assert asyncio.run(count("a", 3)) == [3, 0, 1]
    assert bench.look("SELECT name, value FROM counter ORDER BY name") == [("a", 1), ("b", 0)]
