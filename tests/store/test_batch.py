"""One owner's changes of one transaction: together, once, and taken back while they gather."""

from __future__ import annotations

import sqlite3
from typing import Any

from gateway.store.batch import Batch
from gateway.store.db import Database
from store.bench import Bench, run, settle


def owner(database: Database, log: list[Any]) -> Batch[list[int], int]:
    def apply(connection: sqlite3.Connection, changes: list[int]) -> int:
        log.append(("applied", list(changes)))
        return sum(changes)

    return Batch(database, list, apply, lambda changes, result, error: log.append((changes, result, error)))


def test_what_joins_in_one_turn_is_one_work_and_one_answer(bench: Bench) -> None:
    async def body() -> None:
        async with bench.database() as database:
            log: list[Any] = []
            batch = owner(database, log)
            assert batch.gathering is None
            for n in (1, 2, 3):
                batch.join().append(n)
            await settle(database)
            assert log == [("applied", [1, 2, 3]), ([1, 2, 3], 6, None)]
            assert batch.gathering is None
            batch.join().append(4)
            await settle(database)
            assert log[2:] == [("applied", [4]), ([4], 4, None)]

    run(body)


def test_what_is_taken_out_before_the_commit_is_not_written(bench: Bench) -> None:
    async def body() -> None:
        async with bench.database() as database:
            log: list[Any] = []
            batch = owner(database, log)
            batch.join(within=60).append(1)
            changes = batch.gathering
            assert changes is not None
            changes.remove(1)
            batch.join().append(2)
            await settle(database)
            assert log[0] == ("applied", [2])

    run(body)
