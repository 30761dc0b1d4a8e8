"""The outbox: rows in, rows out, cursors, bounds."""

from __future__ import annotations

import asyncio
from typing import Any

from gateway.broker.port import Done
from gateway.message import USER_PROPERTY, Message
from gateway.store.ring import TRIM_SEGMENTS
from gateway.store.rooms import even_rooms
from store.bench import Bench, acknowledge, message, messages, run, settle, store, take, without_tail


def test_done_comes_after_the_commit_and_once(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, database):
            commits = database.counts.commits
            seen: list[tuple[int, int]] = []

            def waiter(n: int) -> Done:
                def done(error: BaseException | None) -> None:
                    assert error is None
                    seen.append((n, len(bench.rows())))

                return done

            for n, one in enumerate(messages(20)):
                assert outbox.deliver(one, waiter(n))
            assert outbox.deliver(message(20), None)
            await settle(database)
            assert seen == [(n, 21) for n in range(20)]
            assert database.counts.commits == commits + 1

    run(body)


def test_a_row_comes_back_as_it_was_published(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, _database):
            props = ((USER_PROPERTY, ("a", "ä")), (USER_PROPERTY, ("a", "b")), (9, b"\0\xff"), (1, 1))
            expires = bench.clock.now() + 60
            one = Message("plant/ä", b"\0x", 2, True, 5.25, expires, "device:x", props=props)
            await store(outbox, one, Message("t"))
            reader = outbox.reader("cloud")
            for _ in range(2):
                first, second = await take(reader, 0, 10, 1000)
                assert first[1:10] == (1, "plant/ä", b"\0x", 2, True, props, 5.25, bench.clock.time() + 60, "device:x")
                assert first.message_id == "1:1"
                assert second[1:10] == (1, "t", b"", 0, False, (), bench.clock.time(), None, "gateway")
                without_tail(outbox)

    run(body)


def test_a_reader_gets_rows_in_order_within_its_limits(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, _database):
            for one in messages(10, payload=b"x" * 100):
                await store(outbox, one)
            reader = outbox.reader("cloud")
            for _ in range(2):
                assert [row.seq for row in await take(reader, 0, 4, 10_000)] == [1, 2, 3, 4]
                assert [row.seq for row in await take(reader, 4, 100, 250)] == [5, 6]
                assert [row.seq for row in await take(reader, 6, 100, 1)] == [7]
                assert await take(reader, 10, 100, 1) == []
                assert await take(reader, 99, 100, 1) == []
                without_tail(outbox)

    run(body)


def test_a_restart_goes_on_behind_the_cursor_and_with_new_numbers(bench: Bench) -> None:
    async def first() -> None:
        async with bench.outbox("cloud") as (outbox, _database):
            reader = outbox.reader("cloud")
            assert (reader.cursor, reader.possibly_sent(0).last) == (0, 0)
            await store(outbox, *messages(10))
            rows = await take(reader, 0, 3, 1000)
            acknowledge(reader, rows[1].seq)
            assert reader.cursor == 2

    async def second() -> None:
        async with bench.outbox("cloud") as (outbox, _database):
            reader = outbox.reader("cloud")
            assert (reader.cursor, reader.possibly_sent(0).last) == (2, 6)  # three handed out, and as many again
            await store(outbox, message(11))
            rows = await take(reader, reader.cursor, 8, 1000)
            rows += await take(reader, rows[-1].seq, 8, 1000)
            assert [row.message_id for row in rows] == [*(f"1:{n}" for n in range(3, 11)), "2:11"]
            acknowledge(reader, 11)

    async def third() -> None:
        async with bench.outbox("cloud") as (outbox, _database):
            reader = outbox.reader("cloud")
            assert (reader.cursor, reader.possibly_sent(0).last) == (11, 11)  # no further than what is there
            await store(outbox, message(12))
            assert [row.seq for row in await take(reader, 11, 100, 1000)] == [12]

    for body in (first, second, third):
        run(body)


def test_what_was_handed_out_is_possibly_sent_without_an_acknowledgement(bench: Bench) -> None:
    async def first() -> None:
        async with bench.outbox("cloud") as (outbox, database):
            await store(outbox, *messages(10))
            reader = outbox.reader("cloud")
            await take(reader, 0, 2, 1000)
            await settle(database)
            commits = database.counts.commits
            await take(reader, 2, 2, 1000)  # within the allowance: nothing to write
            assert database.backlog.items == 0
            assert database.counts.commits == commits

    async def second() -> None:
        async with bench.outbox("cloud") as (outbox, _database):
            assert outbox.reader("cloud").possibly_sent(0).last == 4

    run(first)
    run(second)


def test_many_acknowledgements_are_one_write_that_waits_for_company(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, database):
            await store(outbox, *messages(50))
            reader = outbox.reader("cloud")
            await take(reader, 0, 100, 1000)
            commits = database.counts.commits
            for n in range(1, 51):
                acknowledge(reader, n)
                await asyncio.sleep(0)
            acknowledge(reader, 7)
            assert reader.cursor == 50
            assert database.counts.commits == commits
            await store(outbox, message(51))
            assert database.counts.commits == commits + 1
            assert bench.look("SELECT acked FROM outbox_cursor WHERE class = 0") == [(50,)]

    run(body)


def test_rows_leave_in_ranges_behind_the_slowest_uplink(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("fast", "slow") as (outbox, database):
            fast, slow = outbox.reader("fast"), outbox.reader("slow")
            for n in range(TRIM_SEGMENTS + 10):
                await store(outbox, message(n), message(n))
            acknowledge(fast, 2 * TRIM_SEGMENTS + 20)
            acknowledge(slow, 2 * TRIM_SEGMENTS - 2)
            await store(outbox, message(0))
            assert bench.numbers()[0] == 1
            acknowledge(slow, 2 * TRIM_SEGMENTS + 1)  # half of the next segment stays with it
            await store(outbox, message(0))
            assert bench.numbers()[0] == 2 * TRIM_SEGMENTS + 1
            acknowledge(slow, 2 * TRIM_SEGMENTS + 4)
            await settle(database)  # nothing else happens: also a few go
            assert bench.numbers()[0] == 2 * TRIM_SEGMENTS + 5
            last = bench.numbers()[-1]
            acknowledge(fast, last)
            acknowledge(slow, last)
            await settle(database)
            assert bench.numbers() == []
            await store(outbox, message(0))
            assert bench.numbers() == [last + 1]

    run(body)
    assert bench.metrics.drops == {}


def test_beyond_the_bytes_the_oldest_go_and_are_counted_for_whom_they_were_lost(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("near", "far") as (outbox, database):
            near = outbox.reader("near")
            for n in range(10):
                bench.clock.advance(1)
                await store(outbox, message(n, b"x" * 100))
            room = bench.look("SELECT sum(size) FROM outbox_segment")[0][0]
            acknowledge(near, 3)
            outbox.bound(even_rooms(room, 1e9))
            for n in range(5):
                await store(outbox, message(n, b"x" * 100))
            await settle(database)
            assert bench.numbers() == list(range(6, 16))
            start = bench.clock.time() - 10
            assert bench.look("SELECT uplink, reason, n, first, last FROM outbox_drop ORDER BY uplink") == [
                ("far", "outbox_full", 5, start + 1, start + 5),
                ("near", "outbox_full", 2, start + 4, start + 5),
            ]
            assert bench.metrics.drops == {"outbox_full": 5}
            assert (await outbox.tallies()) == {"stored": 15, "dropped:outbox_full": 5}
            assert [row.seq for row in await take(near, 3, 2, 1000)] == [6, 7]
            without_tail(outbox)
            assert [row.seq for row in await take(near, 3, 2, 1000)] == [6, 7]
            status = outbox.status()
            assert (status["depth"], status["bytes"]) == (10, room)
            assert status["uplinks"]["near"]["drops"] == {
                "outbox_full": {"n": 2, "first": start + 4, "last": start + 5}
            }

    run(body)


def test_rows_beyond_their_age_go_and_a_step_of_the_clock_drops_nothing(bench: Bench) -> None:
    async def first() -> None:
        async with bench.outbox("cloud", max_age=100) as (outbox, _database):
            await store(outbox, message(1))
            bench.clock.advance(60)
            bench.clock.step(1e8)
            await store(outbox, message(2))
            assert bench.metrics.drops == {}
            bench.clock.advance(41)
            await store(outbox, message(3))
            assert bench.metrics.drops == {"outbox_expired": 1}
            assert bench.numbers() == [2, 3]

    async def second() -> None:
        async with bench.outbox("cloud", max_age=1e8 + 150) as (outbox, _database):
            bench.clock.advance(200)  # by the wall clock of the start before, which was 1e8 behind
            await store(outbox, message(4))
            assert bench.numbers() == [4]
            assert bench.metrics.drops == {"outbox_expired": 3}

    run(first)
    run(second)


def test_beyond_their_number_the_oldest_go(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("cloud", max_rows=3) as (outbox, _database):
            for n in range(5):
                await store(outbox, message(n))
            assert bench.numbers() == [3, 4, 5]
            assert bench.metrics.drops == {"outbox_full": 2}

    run(body)


def test_what_is_on_its_way_is_not_dropped_but_what_is_behind_it(bench: Bench) -> None:
    """Counted as lost it would arrive all the same."""

    async def body() -> None:
        async with bench.outbox("near", "far", max_rows=5) as (outbox, _database):
            for n in range(5):
                await store(outbox, message(n))
            far = outbox.reader("far")
            assert [row.seq for row in await take(far, 0, 2, 1000)] == [1, 2]
            for n in range(3):
                await store(outbox, message(n))
            assert bench.numbers() == [1, 2, 6, 7, 8]
            acknowledge(far, 2)
            await store(outbox, message(9))
            assert bench.numbers() == [2, 6, 7, 8, 9]
            assert bench.look("SELECT uplink, n FROM outbox_drop ORDER BY uplink") == [("far", 3), ("near", 4)]

    run(body)


def test_a_message_does_not_go_back_where_it_came_from(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("a", "b", max_rows=10) as (outbox, _database):
            answers: list[Any] = []
            for _ in range(11):
                await store(outbox, message(1, source="uplink:a"))
            assert outbox.status()["uplinks"]["a"]["drops"] == {}
            assert outbox.status()["uplinks"]["b"]["drops"]["outbox_full"]["n"] == 1
            await outbox.change(["a"])
            assert not outbox.deliver(message(1, source="uplink:a"), answers.append)
            assert not outbox.deliver(message(1, source="uplink:a"), None)
            assert outbox.deliver(message(1, source="uplink:b"), None)
            await outbox.change([])
            assert not outbox.deliver(message(1), answers.append)
            assert answers == []

    run(body)


def test_a_damaged_segment_is_left_out_and_counted(bench: Bench) -> None:
    async def body() -> None:
        async with bench.outbox("cloud") as (outbox, database):
            for n in range(3):
                await store(outbox, message(n), message(n))
            spoil = "UPDATE outbox_segment SET data = x'02ff' WHERE first = 3"
            await database.commit(lambda connection: connection.execute(spoil).rowcount)
            without_tail(outbox)
            assert [row.seq for row in await take(outbox.reader("cloud"), 0, 10, 1000)] == [1, 2, 5, 6]
            await store(outbox, message(9))
            assert bench.metrics.drops == {"outbox_damaged": 2}
            assert bench.numbers() == [1, 2, 5, 6, 7]

    run(body)
