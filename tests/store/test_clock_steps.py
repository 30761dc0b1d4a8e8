"""A step of the clock, an hour back or fifty years forward, ends, fires and reorders nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from broker.queue_bench import Taker
from gateway.config.queue import Queue as QueueTerms
from gateway.message import MESSAGE_EXPIRY, Message
from gateway.store.boots import begin_boot
from gateway.store.ledger import Ledger
from gateway.store.outbox import Outbox
from mqtt.durable import KEEP
from mqtt.pair import publishes
from store.bench import message, run, settle, store
from store.board import HOUR, NOON
from store.queue_bench import queue_world
from store.stepping import SteppingBench
from store.test_dedup import running as running_dedup
from store.test_delayed import running as running_delayed
from store.test_sessions import started

YEARS_50 = 50 * 365 * 86_400.0


@pytest.fixture(params=[-HOUR, YEARS_50], ids=["an hour back", "fifty years forward"])
def step(request: pytest.FixtureRequest) -> float:
    return float(request.param)


@pytest.fixture
def bench(tmp_path: Path) -> SteppingBench:
    return SteppingBench(tmp_path / "gateway.db")


def test_rows_of_the_outbox_age_on(bench: SteppingBench, step: float) -> None:
    async def first() -> None:
        async with bench.outbox("cloud", max_age=1000) as (outbox, _):
            await store(outbox, message(1))
            bench.clock.step(step)
            await store(outbox, message(2))

    async def second() -> None:
        async with bench.outbox("cloud", max_age=1000) as (outbox, _):
            bench.clock.step(step)
            await store(outbox, message(3))
            assert bench.numbers() == [1, 2, 3]
            bench.clock.advance(700)
            await store(outbox, message(4))
            assert bench.numbers() == ([3, 4] if step > 0 else [1, 2, 3, 4])

    run(first)
    bench.clock.step(-step)
    bench.clock.advance(400)
    bench.clock.restart()
    run(second)


def test_ttl_of_a_queue(bench: SteppingBench, step: float) -> None:
    async def body() -> None:
        terms = {"q": QueueTerms(ttl=1000.0)}
        async with queue_world(bench, terms) as world:
            await world.put()
        bench.clock.advance(100)
        bench.clock.restart()
        async with queue_world(bench, terms) as world:
            bench.clock.step(step)
            await world.put()
            world.desk.tick()
            await world.rest()
            assert world.queue().depth == 2
            taker = Taker()
            world.join(taker)
            await world.rest()
            assert [offset for offset, _ in taker.got] == [1, 2]
            await world.put()
            bench.clock.advance(1001)
            world.desk.tick()
            await world.rest()
            # On the clock that never steps; but one of an earlier start is not taken for older than any clock said.
            assert world.queue().depth == (1 if step < 0 else 0)

    run(body)


def test_delays_of_messages(bench: SteppingBench, step: float) -> None:
    async def body() -> None:
        async with running_delayed(bench) as one:
            one.publish("$delayed/100/second")
            one.publish("$delayed/50/first")
            await settle(one.database)
            bench.clock.advance(40)
            bench.clock.step(step)
            one.desk.tick()
            assert one.watcher.topics == []
            bench.clock.advance(11)
            one.desk.tick()
            assert one.watcher.topics == ["first"]
        bench.clock.step(-step)
        bench.clock.restart()
        async with running_delayed(bench) as one:
            bench.clock.step(step)
            one.desk.tick()
            assert one.watcher.topics == []
            bench.clock.advance(50)
            one.desk.tick()
            assert one.watcher.topics == ["second"]

    run(body)


def test_a_start_without_the_time_finds_out_later_how_long_it_was_off(tmp_path: Path) -> None:
    bench = SteppingBench(tmp_path / "gateway.db")

    async def body() -> None:
        async with running_delayed(bench) as one:
            one.publish("$delayed/1000/a")
            await settle(one.database)
        bench.clock.advance(900)
        bench.clock.synchronised = False
        wall = bench.clock.time()
        bench.clock.machine.step(-wall)
        bench.clock.restart(seen=NOON)  # as if it had not been off at all
        async with running_delayed(bench) as one:
            bench.clock.advance(50)
            one.desk.tick()
            assert one.watcher.topics == []
            bench.clock.synchronised = True
            bench.clock.step(wall)
            one.desk.tick()
            bench.clock.advance(51)
            one.desk.tick()
            assert one.watcher.topics == ["a"]

    run(body)


def test_ids_that_are_taken_once(bench: SteppingBench, step: float) -> None:
    async def body() -> None:
        async with running_dedup(bench) as one:
            one.publish("a")
            await settle(one.database)
            bench.clock.step(step)
            assert one.publish("a") == [None]
        bench.clock.step(-step)
        bench.clock.restart()
        async with running_dedup(bench) as one:
            bench.clock.step(step)
            assert one.publish("a") == [None]
            bench.clock.advance(101)
            assert one.publish("a") == []

    run(body)


def test_sessions_and_what_waits_in_them(bench: SteppingBench, step: float) -> None:
    async def body() -> None:
        async with started(bench) as stage:
            (await stage.stay("c", "t", 1)).lose()
            stage.client("p").publish("t", b"x", 1, 1, props=((MESSAGE_EXPIRY, 100),))
            await stage.commit()
            bench.clock.step(step)
            bench.clock.advance(50)
            stage.read_clock()
            stage.server.tick()
            await stage.commit()
            session = stage.server.sessions["c"]
            assert len(session.outgoing.pending) == 1
            back = stage.client("c", clean=False, props=KEEP)
            assert [dict(packet.props)[MESSAGE_EXPIRY] for packet in publishes(back.resumed)] == [50]

    run(body)


def test_commands_that_are_known(bench: SteppingBench, step: float) -> None:
    async def body() -> None:
        async with bench.database() as database:
            ledger = Ledger(database, bench.clock, max_age=1000)
            ledger.boots = await begin_boot(database, bench.clock)
            await ledger.begin("d", "a", "p")
            await ledger.finish("d", "a", "done", {"value": 1})
        bench.clock.restart()
        async with bench.database() as database:
            ledger = Ledger(database, bench.clock, max_age=1000)
            ledger.boots = await begin_boot(database, bench.clock)
            await ledger.begin("d", "b", "p")
            await ledger.finish("d", "b", "done", {"value": 2})
            bench.clock.step(step)
            await ledger.begin("d", "c", "p")
            assert await ledger.begin("d", "a", "p") == {"status": "done", "value": 1}
            assert await ledger.begin("d", "b", "p") == {"status": "done", "value": 2}
            bench.clock.advance(1001)
            await ledger.begin("d", "d", "p")
            assert await ledger.begin("d", "b", "p") is None, "too old by the clock that never steps"

    run(body)


def test_rows_keep_their_order_and_thinning_does_not_mix_what_is_hours_apart(bench: SteppingBench, step: float) -> None:
    async def body() -> None:
        async with bench.outbox("cloud", max_bytes=60_000, thins=True) as (outbox, database):
            await fill(outbox, bench, 0)
            bench.clock.step(step)
            await fill(outbox, bench, 1000)
            for _ in range(200):
                await settle(database)
            rows = bench.rows()
            assert any(b'"n"' in row.payload for row in rows), "it was thinned"
            points = [json.loads(row.payload) for row in rows]
            assert all(
                (point.get("min", point["v"]) < 1000) == (point.get("max", point["v"]) < 1000) for point in points
            )
            assert [row.seq for row in rows] == sorted(row.seq for row in rows)

    async def fill(outbox: Outbox, bench: SteppingBench, base: int) -> None:
        for value in range(600):
            bench.clock.advance(6)
            point = {"v": base + value, "q": "good"}
            outbox.deliver(Message("t", qos=1, source="device:m", time=bench.clock.time(), value=point), None)
            if value % 5 == 4:
                await settle(outbox._database)

    run(body)
