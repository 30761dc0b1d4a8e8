"""What an uplink acknowledges behind its backlog: kept over a kill, not lost, not waiting, and gone from the disk."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.message import Message
from gateway.outbound import LAST, Row
from gateway.ranges import NOTHING, Ranges
from gateway.store import opening
from gateway.store.opening import opened
from gateway.store.outbox import Outbox
from gateway.store.position import MOST, Position, insert_position, load_positions, position_at, save_position
from gateway.store.ring import TRIM_SEGMENTS
from gateway.store.rooms import ROOMS
from gateway.store.routes import Route
from store.bench import Bench, acknowledge, message, messages, run, settle, store, take, without_tail

ALARM = ROOMS.index("alarm")


def alarm(outbox: Outbox, n: int, done: Any = None) -> None:
    lane = outbox.merge([(Route("cloud", 0, ALARM),)], "alarm")
    assert lane.deliver(Message("alarm", b"%d" % n, qos=1), done)


def test_a_stretch_behind_the_backlog_is_kept_over_a_restart(bench: Bench) -> None:
    async def first() -> None:
        async with bench.outbox("cloud") as (outbox, _database):
            await store(outbox, *messages(20))
            reader = outbox.reader("cloud")
            acknowledge(reader, 2)
            reader.acknowledge(0, 10, 15)
            assert reader.cursor == 2

    async def second() -> None:
        async with bench.outbox("cloud") as (outbox, _database):
            reader = outbox.reader("cloud")
            assert reader.acked(0) == Ranges(((0, 2), (10, 15)))
            assert reader.cursor == 2
            assert outbox.status()["depth"] == 13
            assert (reader.depth(0, 10), reader.depth(10, LAST)) == (8, 5)
            acknowledge(reader, 10)
            assert reader.acked(0) == Ranges(((0, 15),))

    run(first)
    run(second)


def test_what_was_handed_out_behind_the_backlog_is_possibly_sent(bench: Bench) -> None:
    async def first() -> None:
        async with bench.outbox("cloud") as (outbox, _database):
            await store(outbox, *messages(20))
            await outbox.reader("cloud").read(0, 10, LAST, 2, 1000)

    async def second() -> None:
        async with bench.outbox("cloud") as (outbox, _database):
            assert outbox.reader("cloud").possibly_sent(0) == Ranges(((10, 14),))

    run(first)
    run(second)


def test_a_class_is_read_without_the_others_and_up_to_a_bound(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, database):
            for n in range(1, 13):
                outbox.deliver(message(n), None) if n % 3 else alarm(outbox, n)
                if n == 6:
                    await settle(database)
            reader = outbox.reader("cloud")
            for _ in range(2):
                assert [row.seq for row in await take(reader, 0, 10, 1000, ALARM)] == [3, 6, 9, 12]
                batch = await reader.read(0, 1, 8, 100, 1000)
                rows, reached = batch
                if reached < 8:  # memory begins in between
                    more = await reader.read(0, reached, 8, 100, 1000)
                    rows, reached = rows + more.rows, more.reached
                assert ([row.seq for row in rows], reached) == ([2, 4, 5, 7, 8], 8)
                assert await reader.read(ALARM, 9, 11, 100, 1000) == ([], 11)
                assert reader.has(ALARM, 9)
                assert not reader.has(ALARM, 12)
                assert not reader.has(2, 0)
                await settle(database)
                without_tail(outbox)

    run(body)


def test_a_row_that_is_acknowledged_behind_the_backlog_is_not_written(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, database):
            await store(outbox, *messages(5))
            reader = outbox.reader("cloud")
            answers: list[Any] = []
            for n in range(3):
                outbox.deliver(message(n), answers.append)
            alarm(outbox, 1, answers.append)
            reader.acknowledge(0, 5, 7)
            assert answers == [None, None]
            reader.acknowledge(ALARM, 5, 9)
            assert answers == [None] * 3
            await settle(database)
            assert bench.numbers() == [1, 2, 3, 4, 5, 8]

    run(body)


def test_rows_that_arrived_leave_before_the_backlog_does(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, database):
            for n in range(TRIM_SEGMENTS + 20):
                await store(outbox, message(n))
            outbox.reader("cloud").acknowledge(0, 10, TRIM_SEGMENTS + 15)
            await store(outbox, message(0))
            assert bench.numbers() == [*range(1, 11), *range(TRIM_SEGMENTS + 16, TRIM_SEGMENTS + 22)]

    run(body)


def test_what_arrived_is_not_lost_when_a_bound_drops_it(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("near", "far", max_rows=10) as (outbox, _database):
            for n in range(10):
                await store(outbox, message(n))
            outbox.reader("near").acknowledge(0, 4, 8)
            for n in range(6):
                await store(outbox, message(n))
            assert bench.numbers() == list(range(7, 17))
            assert bench.look("SELECT uplink, n FROM outbox_drop ORDER BY uplink") == [("far", 6), ("near", 4)]
            assert bench.metrics.drops == {"outbox_full": 6}

    run(body)


def test_what_is_on_its_way_in_the_middle_is_not_dropped(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("cloud", max_rows=5) as (outbox, _database):
            for n in range(6):
                await store(outbox, message(n))
            without_tail(outbox)
            reader = outbox.reader("cloud")
            batch = await reader.read(0, 3, LAST, 2, 1000)
            assert [row.seq for row in batch.rows] == [4, 5]
            for n in range(4):
                await store(outbox, message(n))
            assert bench.numbers() == [4, 5, 8, 9, 10]

    run(body)


def test_a_renamed_uplink_takes_over_the_stretches(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("old") as (outbox, _database):
            await store(outbox, *messages(20))
            acknowledge(outbox.reader("old"), 2)
            outbox.reader("old").acknowledge(0, 10, 15)
            await outbox.change(["new"], {"new": "old"})
            assert outbox.reader("new").acked(0) == Ranges(((0, 2), (10, 15)))

    run(body)


def test_the_position_of_an_earlier_format_is_that_of_each_class(bench: Bench) -> None:
    with closing(opening._create(bench.path, 6)) as connection:
        connection.execute("INSERT INTO outbox_cursor VALUES ('cloud', 100, 120)")
    with opened(bench.path) as connection:
        (position,) = load_positions(connection).values()
    assert position.acked == position_at(100).acked
    assert position.sent == position_at(120).acked


SPANS = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), max_size=50).map(Ranges.of)


@given(st.lists(st.tuples(SPANS, SPANS), min_size=len(ROOMS), max_size=len(ROOMS)))
def test_a_position_comes_back_as_it_was_but_for_stretches_beyond_the_bound(rooms: list[tuple[Ranges, Ranges]]) -> None:
    position = Position(tuple(acked for acked, _ in rooms), tuple(sent for _, sent in rooms))
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(
            "CREATE TABLE outbox_cursor (uplink, class, acked, sent, behind, PRIMARY KEY (uplink, class))"
        )
        insert_position(connection, "cloud", position_at(0))
        save_position(connection, "cloud", position, None)
        back = load_positions(connection)["cloud"]
        for was, has in zip(position.acked, back.acked, strict=True):
            behind = was - NOTHING.add(0, was.prefix)
            assert has == Ranges.of([(0, was.prefix), *behind.spans[-MOST:]])
        for was, sent, has in zip(position.acked, position.sent, back.sent, strict=True):
            assert not has - (was | sent)
            if len(sent.spans) + len(was.spans) <= MOST:
                assert has == was | sent


@pytest.mark.parametrize("behind", ["[", "[]", '{"acked": 5}', json.dumps({"acked": [[1]]})])
def test_stretches_that_cannot_be_read_are_sent_again(bench: Bench, behind: str) -> None:
    with opened(bench.path) as connection:
        insert_position(connection, "cloud", position_at(7))
        connection.execute("UPDATE outbox_cursor SET behind = ?", (behind,))
        assert load_positions(connection)["cloud"].acked == position_at(7).acked


def test_unpacked_parts_of_a_segment_are_those_of_that_segment(bench: Bench) -> None:
    """Segments of equal content differ by their numbers only."""

    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, database):
            for _ in range(3):
                for _ in range(4):
                    outbox.deliver(message(0, b"x"), None)
                await settle(database)
            without_tail(outbox)
            reader = outbox.reader("cloud")
            rows: list[Row] = []
            while more := await take(reader, rows[-1].seq if rows else 0, 3, 1000):
                rows += more
            assert [row.seq for row in rows] == list(range(1, 13))

    run(body)
