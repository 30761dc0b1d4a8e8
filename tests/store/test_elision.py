"""What the cloud has before the disk is never written; what it has not is safe before its publisher hears of it."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.broker.broker import Broker
from gateway.message import USER_PROPERTY, Message
from gateway.outbound import LAST, Row
from gateway.store.block import Block, Head
from gateway.store.db import Database
from gateway.store.outbox import LINGER, Outbox
from gateway.store.outbox_table import LAZY
from gateway.store.promptness import PATIENCE, Promptness
from gateway.store.rooms import ROOMS
from gateway.store.routes import Route
from store.bench import Bench, acknowledge, message, run, settle, store, take


def test_a_row_is_read_before_it_is_committed_and_acknowledged_instead_of_written(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, database):
            reader = outbox.reader("cloud")
            answers: list[Any] = []
            for n in range(5):
                assert outbox.deliver(message(n), answers.append)
            rows = await take(reader, 0, 10, 1000)
            assert [row.seq for row in rows] == [1, 2, 3, 4, 5]
            assert answers == []
            acknowledge(reader, 3)
            assert answers == [None] * 3
            await settle(database)
            assert answers == [None] * 5
            assert bench.numbers() == [4, 5]
            assert await outbox.tallies() == {"stored": 5}

    run(body)


def test_exactly_once_is_not_read_before_it_is_written(bench: Bench) -> None:
    """After kill -9 its publisher sends it again: if an uplink had it, it would have it twice."""

    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, database):
            reader = outbox.reader("cloud")
            wakes: list[int] = []
            reader.wake(lambda: wakes.append(1))
            answers: list[Any] = []
            once = Message("t", b"2", qos=2, source="client:a")
            for one in (message(1), once, message(3)):
                assert outbox.deliver(one, answers.append)
            assert [row.seq for row in await take(reader, 0, 10, 1000)] == [1]
            assert await take(reader, 1, 10, 1000) == []
            acknowledge(reader, 1)
            wakes.clear()
            await settle(database)
            assert answers == [None] * 3
            assert bench.numbers() == [2, 3]
            assert wakes
            assert [row.seq for row in await take(reader, 1, 10, 1000)] == [2, 3]
            assert outbox.deliver(once, None)  # a rule's: nobody would send it again
            assert [row.seq for row in await take(reader, 3, 10, 1000)] == [4]

    run(body)


def test_without_a_row_to_write_nothing_is_written_but_the_books_once_in_a_while(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, database):
            reader = outbox.reader("cloud")
            await settle(database)

            async def round() -> int:
                outbox.book("produced")
                outbox.deliver(message(0), None)
                acknowledge(reader, (await take(reader, reader.cursor, 10, 1000))[-1].seq)
                before = database.path.with_name("gateway.db-wal").read_bytes()
                await settle(database)
                return before != database.path.with_name("gateway.db-wal").read_bytes()

            assert [await round() for _ in range(20)] == [False] * 20
            assert bench.look("SELECT * FROM tally") == []
            assert await outbox.tallies() == {"produced": 20, "stored": 20}
            bench.clock.advance(LAZY)
            assert [await round() for _ in range(3)] == [True, False, False]
            assert dict(bench.look("SELECT * FROM tally")) == {"produced": 21, "stored": 21}
        assert dict(bench.look("SELECT * FROM tally")) == {"produced": 23, "stored": 23}

    run(body)


def test_numbers_go_on_behind_what_is_stored_and_identities_never_repeat(bench: Bench) -> None:
    seen: set[str] = set()

    async def start() -> None:
        async with bench.outbox("cloud") as (outbox, database):
            reader = outbox.reader("cloud")
            for n in range(6):
                outbox.deliver(message(n), None)
                if n % 3 == 2:
                    await settle(database)
                rows = await take(reader, reader.cursor, 1, 1000)
                for row in rows:
                    assert row.message_id not in seen
                    seen.add(row.message_id)
                if n % 2:
                    acknowledge(reader, rows[-1].seq)
                else:
                    seen.discard(rows[-1].message_id)
            outbox._table.lazy = True  # as kill -9 would: nothing more is written

    for _ in range(3):
        run(start)
    assert len(seen) == 9


RESULT = ROOMS.index("result")


def routes(broker: Broker, outbox: Any) -> None:
    broker.subscribe("a/#", outbox, (Route("a", 0, 0), Route("b", 1, 1)))
    broker.subscribe("+/b", outbox, (Route("b", 0, 0),))
    broker.subscribe("only/a", outbox, (Route("a", 1, ROOMS.index("result")),))


def test_only_the_uplinks_that_need_a_row_are_waited_for(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("a", "b") as (outbox, database):
            broker = Broker(bench.metrics)
            routes(broker, outbox)
            answers: list[tuple[str, Any]] = []

            def publish(topic: str) -> None:
                broker.publish(Message(topic, b"x", 1), lambda error: answers.append((topic, error)))

            for topic in ("only/a", "a/b", "only/a"):
                publish(topic)
            assert [row.seq for row in await take(outbox.reader("a"), 0, 10, 1000, RESULT)] == [1, 3]
            assert [row.seq for row in await take(outbox.reader("a"), 0, 10, 1000)] == [2]
            acknowledge(outbox.reader("a"), 3)  # b is away
            assert answers == []
            acknowledge(outbox.reader("a"), 3, RESULT)
            assert answers == [("only/a", None)] * 2
            await settle(database)
            assert bench.numbers() == [2]
            assert answers[2:] == [("a/b", None)]
            # b never needs what was settled without it, and goes on behind it.
            assert [row.seq for row in await take(outbox.reader("b"), 0, 10, 1000)] == [2]

    run(body)


def test_the_first_entry_of_an_uplink_decides_the_class_and_the_better_kept_class_wins(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("a", "b") as (outbox, database):
            broker = Broker(bench.metrics)
            routes(broker, outbox)
            for topic in ("a/x", "a/b", "x/b", "only/a"):
                broker.publish(Message(topic, b"x", 0))
            await settle(database)
            found = {row[0]: row[1] for row in bench.look("SELECT first, id >> 56 FROM outbox_segment")}
            # a/b: telemetry for a by "a/#", telemetry for b by its first entry "+/b".
            assert found == {1: 1, 2: 0, 4: ROOMS.index("result")}

    run(body)


def test_an_interval_class_is_answered_at_once_and_written_within_its_interval(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("cloud", interval=0.0) as (outbox, database):
            answers: list[Any] = []
            outbox.deliver(message(1), answers.append)
            assert answers == [None]
            assert bench.numbers() == []
            assert await store(outbox, message(2)) == [None]
            await settle(database)
            assert answers == [None]
            assert bench.numbers() == [1, 2]

    run(body)


def test_a_publisher_waits_for_the_cloud_only_while_it_answers_promptly() -> None:
    promptness = Promptness()
    assert not promptness.is_prompt
    promptness.arrived(1, 0, 0.0)
    promptness.arrived(2, 1, 0.01)
    assert promptness.followed == (1, 0)
    promptness.acknowledged(0.02)
    assert promptness.is_prompt
    promptness.arrived(3, 0, 1.0)
    promptness.arrived(4, 1, 1.0 + 2 * PATIENCE)
    assert not promptness.is_prompt
    assert promptness.followed == (4, 1)
    promptness.acknowledged(1.0 + 2.5 * PATIENCE)
    assert promptness.is_prompt
    promptness.arrived(5, 0, 2.0)
    promptness.acknowledged(2.0 + 2 * PATIENCE)
    assert not promptness.is_prompt


async def hand_over(outbox: Outbox, database: Database) -> None:
    """The transaction that gathers goes to the disk, with nothing in it but the outbox's."""
    outbox._batch.join(0, 0.0, 0)
    await asyncio.sleep(0)
    await database.read(lambda connection: None)


def test_rows_that_came_late_wait_for_the_cloud_in_the_next_transaction(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, database):
            reader = outbox.reader("cloud")
            for n in range(3):
                outbox.deliver(message(n), None)
            await take(reader, 0, 10, 1000)
            bench.clock.advance(LINGER / 2)
            for n in range(3, 6):
                outbox.deliver(message(n), None)
            acknowledge(reader, 4)
            await hand_over(outbox, database)
            assert bench.numbers() == []
            assert [row.seq for row in await take(reader, 4, 10, 1000)] == [5, 6]
            assert outbox.status()["depth"] == 2
            outbox.deliver(message(6), None)
            assert [row.seq for row in await take(reader, 6, 10, 1000)] == [7]
            acknowledge(reader, 7)
            await settle(database)
            assert bench.numbers() == []
            assert (await outbox.tallies())["stored"] == 7

    run(body)


def test_rows_that_have_waited_their_time_go_with_all_that_came_behind_them(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, database):
            outbox.deliver(message(0), None)
            bench.clock.advance(LINGER)
            outbox.deliver(message(1), None)
            await hand_over(outbox, database)
            assert bench.numbers() == [1, 2]

    run(body)


def test_an_awaited_row_waits_for_the_cloud_no_longer_than_it_may(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, database):
            reader = outbox.reader("cloud")
            answers: list[Any] = []
            outbox.deliver(message(0), answers.append)
            acknowledge(reader, (await take(reader, 0, 10, 1000))[-1].seq)  # so prompt that it is waited for
            outbox.deliver(message(1), answers.append)
            await hand_over(outbox, database)
            assert (bench.numbers(), answers) == ([], [None])
            bench.clock.advance(PATIENCE)
            await hand_over(outbox, database)
            assert (bench.numbers(), answers) == ([2], [None, None])

    run(body)


def test_what_others_commit_in_the_same_callback_takes_the_rows_along(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, database):
            outbox.deliver(message(0), None)
            database.write(lambda connection: None, within=0.0)
            await hand_over(outbox, database)
            assert bench.numbers() == [1]

    run(body)


def test_a_stop_leaves_no_row_behind(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, _):
            outbox.deliver(message(0), None)

    run(body)
    assert bench.numbers() == [1]


def rows_of(block: Block) -> list[Row]:
    return block.rows(0, 0, LAST, 1000, 10**9, 0)[0]


@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 9), st.booleans()), min_size=1, max_size=12),
    st.sets(st.integers(0, 11)),
    st.data(),
)
def test_two_parts_of_a_block_are_the_block(
    arriving: list[tuple[int, int, bool]], settled: set[int], data: st.DataObject
) -> None:
    heads = [Head(0, 1 << n, (f"u{n}",), f"t{n}", "gateway", 0, False) for n in range(2)]
    block = Block(1, 7, 1, 0)
    block.stamps.append((0, 0.0))
    for number, (place, size, has_props) in enumerate(arriving):
        block.add(heads[place], bytes(size), float(number), None)
        block.stamp(float(number))
        if has_props:
            block.add_extras(1.0, ((USER_PROPERTY, ("a", str(number))),))
    for index in settled:
        if index < len(arriving):
            block.remove(index)
    whole, kept, size = rows_of(block), block.kept, block.bytes
    moments = [block.since(index) for index in range(block.count)]
    index = data.draw(st.integers(0, len(arriving) - 1))
    rest = block.split(index)
    assert (block.last + 1, rest.first, rest.count) == (7 + index, 7 + index, len(arriving) - index)
    assert rows_of(block) + rows_of(rest) == whole
    assert (block.kept + rest.kept, block.bytes + rest.bytes) == (kept, size)
    assert [rest.since(at) for at in range(rest.count)] == moments[index:]
