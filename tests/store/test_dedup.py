"""Ids in a real database: with their message or not at all, over restarts, and gone when they are too old."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from gateway.broker.broker import Broker
from gateway.message import Message
from gateway.mqtt.dedup import Dedup, KnownId
from gateway.store.boots import begin_boot
from gateway.store.db import Database
from gateway.store.dedup import load_dedup
from gateway.store.outbox import Outbox
from gateway.store.rooms import even_rooms
from store.bench import Bench, run, settle

BOTH = "SELECT (SELECT coalesce(sum(n), 0) FROM outbox_segment), (SELECT count(*) FROM dedup)"


class Running:
    """One start: a broker, an outbox that keeps everything, and the ids."""

    def __init__(self, bench: Bench, database: Database, broker: Broker, dedup: Dedup) -> None:
        self.database = database
        self.dedup = dedup
        self._bench = bench
        self._broker = broker

    def publish(self, id: str, payload: bytes = b"x") -> list[Any]:
        answers: list[Any] = []
        route = partial(self._broker.publish, Message("t", payload, 1))
        self.dedup.publish("c", id, self._bench.clock.now(), route, answers.append)
        return answers


@asynccontextmanager
async def running(bench: Bench, max_bytes: int = 1 << 20) -> AsyncIterator[Running]:
    async with bench.database() as database:
        boots = await begin_boot(database, bench.clock)
        outbox = Outbox(database, bench.clock, ["cloud"], even_rooms(max_bytes, 1e9), bench.metrics)
        await outbox.load(boots)
        broker = Broker(bench.metrics)
        broker.subscribe("#", outbox)
        shelf, stored = await load_dedup(database, boots, bench.clock)
        known = [KnownId(one.number, one.client, one.id, one.since) for one in stored]
        yield Running(bench, database, broker, Dedup(shelf, bench.metrics, 100.0, 10, 100, known))


def test_an_id_and_its_message_are_one_transaction(bench: Bench) -> None:
    async def body() -> None:
        async with running(bench) as one:
            before = one.database.counts.commits
            answers = one.publish("a")
            repeats = one.publish("a")
            assert (answers, repeats) == ([], [])
            await settle(one.database)
            assert (answers, repeats) == ([None], [None])
            assert one.database.counts.commits == before + 1
            assert bench.look(BOTH) == [(1, 1)]

    run(body)


def test_a_repeat_after_a_restart_is_not_stored_again(bench: Bench) -> None:
    async def body() -> None:
        async with running(bench) as one:
            one.publish("a")
        bench.clock.advance(99)
        async with running(bench) as one:
            assert one.publish("a") == [None]
            one.publish("b")
            await settle(one.database)
            assert bench.look(BOTH) == [(2, 2)]
        bench.clock.advance(1)
        async with running(bench) as one:
            assert one.publish("a") == []
            await settle(one.database)
            assert bench.look(BOTH) == [(3, 2)]
            assert bench.look("SELECT id FROM dedup ORDER BY number") == [("b",), ("a",)]

    run(body)


def test_an_id_is_remembered_while_the_time_is_not_known(bench: Bench) -> None:
    async def body() -> None:
        async with running(bench) as one:
            one.publish("a")
        bench.clock.step(-bench.clock.time())
        bench.clock.advance(1000)
        async with running(bench) as one:
            assert one.publish("a") == [None]
            bench.clock.advance(100)
            assert one.publish("a") == []

    run(body)


def test_a_message_that_is_refused_leaves_no_id_on_disk(bench: Bench) -> None:
    async def body() -> None:
        async with running(bench, max_bytes=500) as one:
            (error,) = one.publish("a", b"x" * 1000)
            assert error.reason == 0x97
            await settle(one.database)
            assert bench.look(BOTH) == [(0, 0)]
            assert one.publish("a") == []
            await settle(one.database)
            assert bench.look(BOTH) == [(1, 1)]

    run(body)


def test_when_the_transaction_fails_the_repeat_is_stored_in_the_next(bench: Bench) -> None:
    async def body() -> None:
        async with running(bench) as one:
            first = one.publish("a", b"1")
            second = one.publish("a", b"2")

            def spoil(connection: sqlite3.Connection) -> None:
                error = sqlite3.OperationalError("database or disk is full")
                error.sqlite_errorcode = sqlite3.SQLITE_FULL
                raise error

            one.database.write(spoil, within=0)
            with pytest.raises(sqlite3.OperationalError):
                await settle(one.database)
            assert (len(first), second) == (1, [])
            await settle(one.database)
            assert first[0] is not None
            assert second == [None]
            assert bench.look(BOTH) == [(1, 1)]
            assert [row.payload for row in bench.rows()] == [b"2"]

    run(body)
