"""Sessions, wills and retained messages in a real database: what is written, and what the next start reads."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.broker.access import Identity
from gateway.message import CONTENT_TYPE, CORRELATION_DATA, MESSAGE_EXPIRY, USER_PROPERTY, Message
from gateway.mqtt.packets import PubAck, PubComp, PubRec, PubRel, Will
from gateway.mqtt.restore import GRACE, restore
from gateway.store.boots import begin_boot
from gateway.store.db import Database
from gateway.store.retained import RetainedStore
from gateway.store.rows import identity_of, identity_text
from gateway.store.sessions import Sessions
from mqtt.durable import KEEP
from mqtt.pair import Client, World, publishes
from store.bench import Bench, run, settle

PROPS = (
    (CONTENT_TYPE, "text"),
    (CORRELATION_DATA, b"\xff\0"),
    (USER_PROPERTY, ("a", "b")),
    (USER_PROPERTY, ("a", "c")),
)


class Stage(World):
    """A server on a database; its clock is the bench's."""

    def __init__(self, bench: Bench, database: Database, **limits: Any) -> None:
        self.bench = bench
        self.database = database
        self.sessions = Sessions(database, bench.clock)
        super().__init__(archive=self.sessions, **limits)
        self.retained = RetainedStore(database, bench.clock, self.broker.metrics)
        self.broker.keeper = self.retained
        self.read_clock()

    def read_clock(self) -> None:
        self.server.clock.now = self.bench.clock.now()
        self.server.clock.time = self.bench.clock.time()

    async def commit(self) -> None:
        """Until everything is committed, with what the answers have caused."""
        for _ in range(3):
            await settle(self.database)

    async def stay(self, client_id: str = "c", pattern: str | None = None, qos: int = 2, level: int = 5) -> Client:
        """A client whose session outlives its connection."""
        client = self.client(client_id, level, clean=False, props=KEEP if level == 5 else ())
        if pattern is not None:
            client.subscribe(pattern, qos)
        await self.commit()
        client.resumed += client.received()
        return client


@asynccontextmanager
async def started(bench: Bench, **limits: Any) -> AsyncIterator[Stage]:
    async with bench.database() as database:
        stage = Stage(bench, database, **limits)
        boots = await begin_boot(database, bench.clock)
        await stage.retained.load(boots, stage.broker.restore)
        restore(stage.server, stage.sessions, await stage.sessions.load(boots))
        yield stage


def killed(bench: Bench) -> Bench:
    """What a kill -9 at this moment would leave: the files as they are, without a clean close."""
    folder = bench.path.parent / f"copy-{len(list(bench.path.parent.glob('copy-*')))}"
    folder.mkdir()
    for ending in ("", "-wal"):
        shutil.copy(f"{bench.path}{ending}", folder / f"{bench.path.name}{ending}")
    other = Bench(folder / bench.path.name)
    other.clock = bench.clock
    return other


def count(bench: Bench, table: str) -> int:
    (found,) = bench.look(f"SELECT count(*) FROM {table}")
    return int(found[0])


def test_everything_of_a_session_comes_back(bench: Bench) -> None:
    async def body() -> None:
        async with started(bench, max_inflight=2) as stage:
            client = await stage.stay("c", "t/#", 2)
            client.subscribe("$share/g/s", 1, props=((0x0B, 9),))
            await stage.commit()
            client.subscribe("u", 1, no_local=True, retain_as_published=True)
            await stage.commit()
            client.received()
            publisher = await stage.stay("p")
            publisher.publish("t/1", b"one", 2, 1, props=PROPS)
            publisher.publish("t/2", b"two", 1, 2)
            publisher.publish("t/3", b"three", 1, 3)
            publisher.publish("s", b"shared", 1, 4)
            await stage.commit()
            second, first = publishes(client.received())  # QoS 2 has to wait for the commit
            client.send(PubRec(first.packet_id))
            await stage.commit()
            copy = killed(bench)
        async with started(copy, max_inflight=2) as stage:
            session = stage.server.sessions["c"]
            assert session.subscriptions.keys() == {"t/#", "$share/g/s", "u"}
            assert session.subscriptions["$share/g/s"].ids == (9,)
            assert (session.subscriptions["u"].no_local, session.subscriptions["u"].retain_as_published) == (True, True)
            publisher = await stage.stay("p")
            assert publisher.publish("t/1", b"one", 2, 1, dup=True) == [PubRec(1)]
            client = await stage.stay("c")
            release, repeated = client.resumed
            assert release == PubRel(first.packet_id)
            assert (repeated.packet_id, repeated.dup, repeated.payload) == (second.packet_id, True, b"two")  # type: ignore[union-attr]
            client.send(PubComp(first.packet_id))
            client.send(PubAck(second.packet_id))
            assert [p.payload for p in publishes(client.received())] == [b"three", b"shared"]

    run(body)


def test_properties_come_back_as_they_were(bench: Bench) -> None:
    async def body() -> None:
        async with started(bench) as stage:
            (await stage.stay("c", "t", 1)).lose()
            stage.client("p").publish("t", b"\xff\0", 1, 1, props=PROPS)
            await stage.commit()
            copy = killed(bench)
        async with started(copy) as stage:
            (message,) = publishes((await stage.stay("c")).resumed)
            assert (message.payload, message.props) == (b"\xff\0", PROPS)

    run(body)


def test_a_message_for_many_sessions_is_stored_once_and_goes_with_the_last(bench: Bench) -> None:
    async def body() -> None:
        async with started(bench) as stage:
            for name in ("a", "b", "c"):
                (await stage.stay(name, "t", 1)).lose()
            stage.client("p").publish("t", b"x", 1, 1)
            await stage.commit()
            assert (count(bench, "session_body"), count(bench, "session_entry")) == (1, 3)
            for name in ("a", "b", "c"):
                client = await stage.stay(name)
                (message,) = publishes(client.resumed)
                assert count(bench, "session_body") == 1
                client.send(PubAck(message.packet_id))
                await stage.commit()
            assert (count(bench, "session_body"), count(bench, "session_entry")) == (0, 0)
            assert stage.sessions.held_bytes() == 0

    run(body)


def test_what_is_acknowledged_before_the_hand_over_is_never_written(bench: Bench) -> None:
    async def body() -> None:
        async with started(bench) as stage:
            client, publisher = await stage.stay("c", "t", 1), stage.client("p")
            await stage.commit()
            rows = stage.database.backlog.items
            for n in range(1, 50):
                assert publisher.publish("t", b"x", 1, n) == []
                (message,) = publishes(client.received())
                client.send(PubAck(message.packet_id))
                assert publisher.received() == [PubAck(n)]
            assert stage.database.backlog.items <= rows + 1, "what was taken back does not count against the bound"
            assert count(bench, "sqlite_schema WHERE name = 'session_entry'") == 1
            await stage.commit()
            (highest,) = bench.look("SELECT coalesce(max(id), 0) FROM session_entry")
            assert highest == (0,)
            assert stage.sessions.held_bytes() == 0

    run(body)


def test_a_qos_2_id_and_what_its_message_caused_are_of_one_transaction(bench: Bench) -> None:
    async def body() -> None:
        async with started(bench) as stage:
            (await stage.stay("c", "t", 2)).lose()
            publisher = await stage.stay("p")
            publisher.publish("t", b"x", 2, 1)
            seen: set[tuple[int, int]] = set()
            both = "SELECT (SELECT count(*) FROM session_held), (SELECT count(*) FROM session_entry)"
            while not (answers := publisher.received()):
                seen.update(bench.look(both))
                await asyncio.sleep(0)
            assert answers == [PubRec(1)]
            seen.update(bench.look(both))
            assert seen <= {(0, 0), (1, 1)}

    run(body)


def test_a_session_that_ends_leaves_nothing(bench: Bench) -> None:
    async def body() -> None:
        async with started(bench) as stage:
            client = await stage.stay("c", "t", 1)
            stage.client("p").publish("t", b"x", 1, 1)
            client.publish("u", b"x", 2, 9)
            await stage.commit()
            client.lose()
            stage.server.purge(stage.server.sessions["c"])
            await stage.commit()
            await asyncio.sleep(0)
            await settle(stage.database)
            for table in ("session", "session_filter", "session_entry", "session_body", "session_held", "will"):
                assert count(bench, table) == 0, table

    run(body)


@pytest.mark.parametrize(("step", "age"), [(0, 500), (-200_000_000_000, 0), (200_000_000_000, None)])
def test_the_clock_at_the_next_start_cannot_expire_everything(bench: Bench, step: float, age: float | None) -> None:
    async def body() -> None:
        async with started(bench) as stage:
            (await stage.stay("c", "t", 1)).lose()
            stage.client("p").publish("t", b"x", 1, 1, props=((MESSAGE_EXPIRY, 100_000),))
            await stage.commit()
        bench.clock.advance(500)
        bench.clock.step(step)
        async with started(bench) as stage:
            session = stage.server.sessions["c"]
            assert session.expires_at is not None
            left = session.expires_at - bench.clock.now()
            assert left == pytest.approx(GRACE if age is None else 10_000 - age, abs=2)
            item = session.outgoing.pending[0]
            if age is not None:
                assert item.message.expires == pytest.approx(bench.clock.now() + 100_000 - age, abs=2)

    run(body)


def test_identities_come_back_without_the_hash_of_the_password() -> None:
    who = Identity("c", "ann", frozenset({"a", "b"}), "10.0.0.1", True, "$scrypt$secret", None, {"site": "7"})
    text = identity_text(who)
    assert "secret" not in text
    again = identity_of("c", text)
    for name in ("client_id", "username", "groups", "address", "is_certificate", "attributes"):
        assert getattr(again, name) == getattr(who, name)


def test_a_transaction_that_fails_is_tried_again_but_for_what_publishers_will_repeat(bench: Bench) -> None:
    async def body() -> None:
        async with started(bench) as stage:
            (await stage.stay("c", "t", 1)).lose()
            publisher = await stage.stay("p")
            await break_one(stage, lambda: publisher.publish("t", b"lost", 1, 1))
            assert publisher.received() == [PubAck(1, 0x97)]
            client = stage.client("d", clean=False, props=KEEP, will=Will("w", b"", 1, False))
            await break_one(stage, lambda: client.subscribe("d/#", 1))
            await stage.commit()
            copy = killed(bench)
            assert (count(bench, "session"), count(bench, "will")) == (3, 1)
        async with started(copy) as stage:
            assert stage.server.sessions["d"].subscriptions.keys() == {"d/#"}
            assert publishes((await stage.stay("c")).resumed) == []

    run(body)


async def break_one(stage: Stage, act: Callable[[], Any]) -> None:
    """Let the transaction in which ``act`` happens fail as a whole, as a full disk does."""

    def full(connection: Any) -> None:
        connection.execute("PRAGMA max_page_count = 1").fetchall()
        connection.execute("CREATE TABLE too_much AS SELECT zeroblob(9000000) AS x")

    act()
    with pytest.raises(sqlite3.OperationalError, match="full"):
        await stage.database.commit(full, size=0, within=0)
    await stage.database.commit(lambda connection: connection.execute("PRAGMA max_page_count = 1000000").fetchall())


# -- retained ----------------------------------------------------------------------------------------------


def retained(stage: Stage) -> dict[str, Message]:
    return {message.topic: message for message in stage.broker.retained("#")}


def test_retained_messages_come_back(bench: Bench) -> None:
    async def body() -> None:
        async with started(bench) as stage:
            publisher = stage.client("p")
            publisher.publish("a", b"1", 1, 1, retain=True, props=PROPS)
            publisher.publish("b", b"2", 0, retain=True)
            publisher.publish("gone", b"3", 0, retain=True)
            publisher.publish("short", b"4", 0, retain=True, props=((MESSAGE_EXPIRY, 10),))
            stage.broker.publish(Message("$SYS/x", b"no", retain=True))
            await stage.commit()
            publisher.publish("gone", b"", 0, retain=True)
            await stage.commit()
        bench.clock.advance(20)
        async with started(bench) as stage:
            found = retained(stage)
            assert found.keys() == {"a", "b"}
            one = found["a"]
            assert (one.payload, one.qos, one.retain, one.props, one.source) == (b"1", 1, True, PROPS, "client:p")
            await stage.commit()
            assert count(bench, "retained") == 2

    run(body)


def test_a_retained_qos_1_message_is_answered_after_its_commit_and_only_the_last_is_written(bench: Bench) -> None:
    async def body() -> None:
        async with started(bench) as stage:
            publisher = stage.client("p")
            for n in range(1, 10):
                assert publisher.publish("t", b"%d" % n, 1, n, retain=True) == []
            await stage.commit()
            # 0x10: nobody has subscribed to it.
            assert publisher.received() == [PubAck(n, 0x10) for n in range(1, 10)]
            assert bench.look("SELECT payload FROM retained") == [(b"9",)]

    run(body)


def test_retained_messages_beyond_the_cap_are_counted_and_leave_the_table(bench: Bench) -> None:
    async def body() -> None:
        async with started(bench) as stage:
            for n in range(5):
                stage.client("p").publish(f"t/{n}", b"x", 0, retain=True)
            await stage.commit()
        async with bench.database() as database:
            stage = Stage(bench, database)
            stage.broker._retained.max_count = 2
            await stage.retained.load(await begin_boot(database, bench.clock), stage.broker.restore)
            assert stage.broker.metrics.drops == {"retained_full": 3}
            await settle(database)
            assert count(bench, "retained") == 2

    run(body)


def test_a_topic_that_is_not_text_is_refused_and_spoils_nothing(bench: Bench) -> None:
    async def body() -> None:
        async with started(bench) as stage:
            answers: list[BaseException | None] = []
            stage.broker.publish(Message("bad/\udc80", b"x", qos=1, retain=True), answers.append)
            stage.broker.publish(Message("good", b"x", qos=1, retain=True), answers.append)
            await stage.commit()
            assert [error is None for error in answers] == [False, True]
            assert count(bench, "retained") == 1

    run(body)


def test_nothing_is_written_for_clients_that_leave_nothing(bench: Bench, tmp_path: Path) -> None:
    async def body() -> None:
        async with started(bench) as stage:
            client, publisher = stage.client("c"), stage.client("p")
            client.subscribe("t", 1)
            before = stage.database.backlog.items
            assert publisher.publish("t", b"x", 1, 1) == [PubAck(1)]
            client.lose()
            assert stage.database.backlog.items == before

    run(body)
