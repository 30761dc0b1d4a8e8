"""Delayed messages in a real database: restarts, kill -9 in the middle, disks that fail, commands."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest

from broker.delayed_bench import Watcher
from gateway.broker.broker import Broker
from gateway.broker.delayed import DelayedDesk
from gateway.errors import GatewayError, Refused
from gateway.message import CORRELATION_DATA, USER_PROPERTY, Message
from gateway.store.boots import EARLIEST, begin_boot
from gateway.store.db import Database
from gateway.store.delayed import DelayedStore, load_delayed
from gateway.store.delayed_commands import DelayedCommands
from gateway.store.outbox import Outbox
from gateway.store.rooms import even_rooms
from store.bench import Bench, run, settle

BOTH = "SELECT (SELECT coalesce(sum(n), 0) FROM outbox_segment), (SELECT count(*) FROM delayed)"


class Running(NamedTuple):
    broker: Broker
    desk: DelayedDesk
    database: Database
    watcher: Watcher
    commands: DelayedCommands
    store: DelayedStore

    def publish(self, topic: str, payload: bytes = b"x", qos: int = 1, **more: Any) -> list[BaseException | None]:
        answers: list[BaseException | None] = []
        self.broker.publish(Message(topic, payload, qos, **more), answers.append if qos else None)
        return answers


@asynccontextmanager
async def running(bench: Bench) -> AsyncIterator[Running]:
    """One start of a gateway that has nothing but a broker and delayed messages."""
    async with bench.database() as database:
        boots = await begin_boot(database, bench.clock)
        broker = Broker(bench.metrics)
        broker.gate = database
        watcher = Watcher()
        broker.subscribe("#", watcher)
        desk = DelayedDesk(broker, bench.clock, bench.metrics, True, 100, 1 << 20, 1e6, EARLIEST)
        store, entries, last = await load_delayed(database, boots)
        desk.open(store, entries, last)
        yield Running(broker, desk, database, watcher, DelayedCommands(desk, store, bench.clock), store)


def test_everything_of_a_message_survives_a_restart(bench: Bench) -> None:
    props = ((USER_PROPERTY, ("b", "1")), (CORRELATION_DATA, b"\x00\xff"), (USER_PROPERTY, ("b", "1")))

    async def body() -> None:
        async with running(bench) as one:
            now = bench.clock.now()
            answers = one.publish(
                "$delayed/100.5//a", b"\x00", 2, retain=True, time=7.5, expires=now + 9, source="client:c", hops=3,
                props=props,
            )  # fmt: skip
            assert answers == []
            await settle(one.database)
            assert answers == [None]
        bench.clock.advance(100.4)
        async with running(bench) as one:
            one.desk.tick()
            assert one.watcher.got == []
            bench.clock.advance(0.2)
            one.desk.tick()
            (message,) = one.watcher.got
            assert (message.topic, message.payload, message.qos, message.retain) == ("/a", b"\x00", 2, True)
            assert (message.time, message.source, message.hops, message.props) == (7.5, "client:c", 3, props)
            assert message.expires == pytest.approx(bench.clock.now() - 0.1 + 9, abs=1e-3)
            await settle(one.database)
            assert bench.look("SELECT * FROM delayed") == []
            one.publish("$delayed/5/a")
            await settle(one.database)
            assert bench.look("SELECT id FROM delayed") == [(2,)]

    run(body)


def test_late_ones_come_in_the_order_in_which_they_were_due(bench: Bench) -> None:
    async def body() -> None:
        async with running(bench) as one:
            moment = int(bench.clock.time()) + 20
            for topic in ("$delayed/30/third", "$delayed/10/first", f"$delayed/{moment}/second", "$delayed/30/fourth"):
                one.publish(topic)
        bench.clock.advance(3600)
        async with running(bench) as one:
            one.desk.tick()
            assert one.watcher.topics == ["first", "second", "third", "fourth"]

    run(body)


def test_a_start_in_1970_waits_for_the_time(bench: Bench) -> None:
    async def body() -> None:
        async with running(bench) as one:
            one.publish("$delayed/100/a")
            one.publish(f"$delayed/{int(bench.clock.time()) + 50}/b")
        wall = bench.clock.time()
        bench.clock.step(-wall)
        bench.clock.advance(60)
        async with running(bench) as one:
            one.desk.tick()
            assert one.watcher.got == []
            bench.clock.step(wall)
            one.desk.tick()
            assert one.watcher.topics == ["b"]
            bench.clock.advance(41)
            one.desk.tick()
            assert one.watcher.topics == ["b", "a"]

    run(body)


def test_delivered_and_not_yet_safe_comes_again_after_a_crash(bench: Bench) -> None:
    async def body() -> None:
        async with running(bench) as one:
            keeper = Watcher(keeps=True)
            one.broker.subscribe("a", keeper)
            one.publish("$delayed/1/a")
            await settle(one.database)
            bench.clock.advance(1)
            one.desk.tick()
            await settle(one.database)
            assert keeper.topics == ["a"]
            assert bench.look("SELECT count(*) FROM delayed") == [(1,)]
        async with running(bench) as one:
            one.desk.tick()
            assert one.watcher.topics == ["a"]
            await settle(one.database)
            assert bench.look("SELECT count(*) FROM delayed") == [(0,)]

    run(body)


def test_what_the_outbox_keeps_is_on_disk_before_it_is_deleted_here(bench: Bench) -> None:
    async def body() -> None:
        async with running(bench) as one:
            outbox = Outbox(one.database, bench.clock, ["cloud"], even_rooms(1 << 20, 1e9), bench.metrics)
            await outbox.load(await begin_boot(one.database, bench.clock))
            one.broker.subscribe("a", outbox)
            one.publish("$delayed/1/a")
            await settle(one.database)
            bench.clock.advance(1)
            one.desk.tick()
            seen = []
            for _ in range(3):
                await settle(one.database)
                seen.append(bench.look(BOTH)[0])
            assert (0, 0) not in seen
            assert seen[-1] == (1, 0)

    run(body)


def breaking(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """A switch that lets every transaction fail as on a full disk."""
    from gateway.store import db, transaction

    real = transaction.commit

    def switch(broken: bool) -> None:
        def fail(connection: sqlite3.Connection, works: Any) -> list[transaction.Outcome]:
            return [transaction.Outcome(None, sqlite3.OperationalError("database or disk is full"))] * len(works)

        monkeypatch.setattr(db, "commit", fail if broken else real)

    return switch


def test_a_full_disk_refuses_and_forgets(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    switch = breaking(monkeypatch)

    async def body() -> None:
        async with running(bench) as one:
            switch(True)
            answers = one.publish("$delayed/1/a")
            one.publish("$delayed/1/a", qos=0)
            with pytest.raises(sqlite3.OperationalError):
                await settle(one.database)
            (error,) = answers
            assert isinstance(error, Refused)
            assert error.reason == 0x97
            assert bench.metrics.drops == {"delayed_refused": 1}
            switch(False)
            assert one.publish("$delayed/1/b") == []
            await settle(one.database)
            bench.clock.advance(1)
            one.desk.tick()
            assert one.watcher.topics == ["b"]

    run(body)


def test_a_deletion_that_fails_goes_with_the_next_commit(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    switch = breaking(monkeypatch)

    async def body() -> None:
        async with running(bench) as one:
            one.publish("$delayed/1/a")
            await settle(one.database)
            bench.clock.advance(1)
            switch(True)
            one.desk.tick()
            with pytest.raises(sqlite3.OperationalError):
                await settle(one.database)
            assert one.desk.status()["count"] == 0
            switch(False)
            await settle(one.database)
            assert bench.look("SELECT count(*) FROM delayed") == [(0,)]
            one.desk.tick()
            assert one.watcher.topics == ["a"]

    run(body)


def test_a_batch_with_delayed_messages_is_one_transaction(bench: Bench) -> None:
    async def body() -> None:
        async with running(bench) as one:
            outbox = Outbox(one.database, bench.clock, ["cloud"], even_rooms(1 << 20, 1e9), bench.metrics)
            await outbox.load(await begin_boot(one.database, bench.clock))
            one.broker.subscribe("a", outbox)
            before = one.database.counts.commits
            answers: list[Any] = []
            one.broker.publish_batch([Message("a", b"x", 1), Message("$delayed/5/a", b"y", 1)], answers.append)
            await settle(one.database)
            assert answers == [None]
            assert one.database.counts.commits == before + 1
            assert bench.look(BOTH) == [(1, 1)]
            one.broker.publish_batch([Message("a", b"x", 1), Message("$delayed/x/a", b"y", 1)], answers.append)
            assert isinstance(answers[1], Refused)
            await settle(one.database)
            assert bench.look(BOTH) == [(1, 1)]

    run(body)


def test_commands_list_cancel_and_purge(bench: Bench) -> None:
    async def body() -> None:
        async with running(bench) as one:
            one.publish("$delayed/20/b/x", b"\xff", source="client:c")
            one.publish(f"$delayed/{int(bench.clock.time()) + 10}/a", b"text", 2, retain=True)
            one.publish("$delayed/30/b/y")
            await settle(one.database)
            first, second, _ = one.commands.list({})
            assert [first[key] for key in ("id", "topic", "seconds", "qos", "retain")] == [2, "a", 10, 2, True]
            assert (first["payload"], first["bytes"], first["due"]) == ("text", 4, "2027-01-15T08:00:10.000Z")
            assert second["due"] == "2027-01-15T08:00:20.000Z"
            assert (second["id"], second["payload"], second["source"], second["tries"]) == (1, "\ufffd", "client:c", 0)
            assert [one_["id"] for one_ in one.commands.list({"topic": "b/+"})] == [1, 3]
            bench.clock.step(-1_700_000_000)
            assert [(one_["due"], one_["seconds"]) for one_ in one.commands.list({})] == [
                (None, 20),
                (None, 30),
                ("2027-01-15T08:00:10.000Z", None),
            ]
            bench.clock.step(1_700_000_000)
            with pytest.raises(GatewayError, match="no topic filter"):
                one.commands.list({"topic": "b/#/x"})

            assert await one.commands.cancel({"id": 2}) == {"id": 2, "topic": "a"}
            assert bench.look("SELECT id FROM delayed") == [(1,), (3,)]
            for id in (2, 99, "1", None):
                with pytest.raises(GatewayError, match="no delayed message has the id"):
                    await one.commands.cancel({"id": id})
            assert await one.commands.purge({"topic": "b/x"}) == {"purged": 1}
            assert bench.look("SELECT id FROM delayed") == [(3,)]
            assert await one.commands.purge({}) == {"purged": 1}
            assert bench.look("SELECT id FROM delayed") == []
            bench.clock.advance(100)
            one.desk.tick()
            assert one.watcher.got == []

    run(body)


def test_after_the_database_is_closed_nothing_is_taken(bench: Bench) -> None:
    async def body() -> None:
        async with running(bench) as one:
            await one.database.close()
            (error,) = one.publish("$delayed/1/a")
            assert isinstance(error, GatewayError)
            await asyncio.sleep(0)

    run(body)
