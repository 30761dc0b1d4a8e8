"""A batch and the store: one transaction, and no refusal in the middle."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.broker.broker import Broker
from gateway.errors import Refused
from gateway.message import Message
from gateway.store import db
from gateway.store.db import ITEM_BYTES, Database
from store.bench import Bench, run, settle


def test_a_batch_is_one_transaction(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, database):
            broker = Broker(bench.metrics)
            broker.gate = database
            broker.subscribe("#", outbox)
            answers: list[Any] = []
            before = database.counts.commits
            broker.publish_batch([Message("t", b"%d" % n, n % 2) for n in range(5)], answers.append)
            assert answers == []
            await settle(database)
            assert answers == [None]
            assert database.counts.commits == before + 1
            assert [row.payload for row in bench.rows()] == [b"%d" % n for n in range(5)]

    run(body)


def test_what_one_keeper_can_never_store_stops_all(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("cloud", max_bytes=1000) as (outbox, database):
            broker = Broker(bench.metrics)
            broker.gate = database
            broker.subscribe("#", outbox)
            answers: list[Any] = []
            broker.publish_batch([Message("a", b"x", 1), Message("b", b"x" * 1000, 1)], answers.append)
            assert [error.reason for error in answers] == [0x97]
            await settle(database)
            assert bench.look("SELECT coalesce(sum(n), 0) FROM outbox_segment") == [(0,)]

    run(body)


def fill(database: Database, leave: int) -> None:
    """Let so much wait for the disk that only ``leave`` items more are taken."""
    for _ in range(db.MAX_ITEMS - leave - sum(database.backlog[:1])):
        database.write(lambda connection: None, within=60.0)


def test_a_store_that_is_behind_refuses_the_whole_batch_or_takes_it(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, database):
            broker = Broker(bench.metrics)
            broker.gate = database
            broker.subscribe("#", outbox)
            answers: list[Any] = []
            fill(database, leave=2)
            broker.publish_batch([Message("t", b"%d" % n, 1) for n in range(40)], answers.append)
            assert answers == []
            broker.publish_batch([Message("t", b"late", 1)] * 2, answers.append)
            assert [error.reason for error in answers] == [0x97]
            with pytest.raises(Refused):
                database.write(lambda connection: None, size=ITEM_BYTES)
            await settle(database)
            await settle(database)
            assert answers[1:] == [None]
            assert bench.look("SELECT coalesce(sum(n), 0) FROM outbox_segment") == [(40,)]

    run(body)
