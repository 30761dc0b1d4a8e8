"""Streams on the disk: where groups start, what is committed, and what goes when there is no room."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from broker.queue_bench import Taker
from gateway.config.queue import Stream as StreamTerms
from gateway.errors import Refused
from store.bench import Bench, run
from store.queue_bench import QueueWorld, crash, queue_world


async def fill(world: QueueWorld, count: int, step: float = 1.0) -> None:
    for n in range(count):
        await world.put("$stream/s/t", b"%d" % n, time=1000.0 + n * step)


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("", 1), ("first", 1), ("last", 10), ("7", 7), ("time=0", 1), ("time=1003.5", 5),
        ("time=1970-01-01T00:16:44Z", 5),
    ],
)  # fmt: skip
def test_a_group_starts_where_it_likes(bench: Bench, start: str, expected: int) -> None:
    async def body() -> None:
        async with queue_world(bench, {}, {"s": StreamTerms()}) as world:
            await fill(world, 10)
            taker = Taker()
            world.join(taker, "$stream", "s", start=start)
            await world.rest()
            assert taker.take() == list(range(expected, 11))

    run(body)


@pytest.mark.parametrize("start", ["next", "time=5000", "11", "99"])
def test_a_group_may_wait_for_what_comes_next(bench: Bench, start: str) -> None:
    async def body() -> None:
        async with queue_world(bench, {}, {"s": StreamTerms()}) as world:
            await fill(world, 10)
            taker = Taker()
            world.join(taker, "$stream", "s", start=start)
            await world.rest()
            assert taker.take() == []
            await fill(world, 1)
            await world.rest()
            assert taker.take() == [11]

    run(body)


@pytest.mark.parametrize("start", ["0", "-1", "soon", "time=yesterday", "time=-5", "time=nan"])
def test_a_start_that_means_nothing_is_refused(bench: Bench, start: str) -> None:
    async def body() -> None:
        async with queue_world(bench, {}, {"s": StreamTerms()}) as world:
            with pytest.raises(Refused, match="first, last, next"):
                world.join(Taker(), "$stream", "s", start=start)

    run(body)


def test_two_groups_read_independently_and_go_on_after_a_restart(bench: Bench) -> None:
    async def body() -> None:
        streams = {"s": StreamTerms(auto_commit=0.0)}
        async with queue_world(bench, {}, streams) as world:
            await fill(world, 6)
            one, two = Taker("a"), Taker("b")
            first = world.join(one, "$stream", "s", "one")
            world.join(two, "$stream", "s", "two")
            await world.rest()
            assert one.take() == two.take() == [1, 2, 3, 4, 5, 6]
            committed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            first.settle("commit", 4, one.owner, "", committed.set_result)
            await committed
            after = crash(bench)
        async with queue_world(after, {}, streams) as world:
            one, two = Taker("a"), Taker("b")
            world.join(one, "$stream", "s", "one")
            world.join(two, "$stream", "s", "two")
            await world.rest()
            assert (one.take(), two.take()) == ([5, 6], [1, 2, 3, 4, 5, 6])
            world.check_books()

    run(body)


def test_positions_are_stored_by_themselves(bench: Bench) -> None:
    async def body() -> None:
        streams = {"s": StreamTerms(auto_commit=5.0)}
        async with queue_world(bench, {}, streams) as world:
            await fill(world, 4)
            taker = Taker()
            group = world.join(taker, "$stream", "s")
            await world.rest()
            for offset in (1, 2, 4):
                group.settle("ack", offset, taker.owner, "", None)
            await world.rest()
            assert bench.look("SELECT cursor FROM queue_group") == [(0,)]
            bench.clock.advance(6)
            world.desk.tick()
            await world.rest()
            assert bench.look("SELECT cursor FROM queue_group") == [(2,)], "3 is not acknowledged"

    run(body)


def test_nobody_commits_what_was_not_handed_out(bench: Bench) -> None:
    async def body() -> None:
        async with queue_world(bench, {}, {"s": StreamTerms()}) as world:
            await fill(world, 3)
            taker = Taker(room=2)
            group = world.join(taker, "$stream", "s")
            await world.rest()
            for offset in (0, 3, 99):
                with pytest.raises(Refused) as refused:
                    group.settle("commit", offset, taker.owner, "", None)
                assert refused.value.reason == 0x83

    run(body)


def test_a_stream_keeps_its_bounds(bench: Bench) -> None:
    async def body() -> None:
        streams = {"s": StreamTerms(max_count=5, max_age=100.0)}
        async with queue_world(bench, {}, streams) as world:
            await fill(world, 8)
            await world.rest()
            assert (world.stream().depth, bench.metrics.drops) == (5, {})
            taker = Taker()
            world.join(taker, "$stream", "s", start="1")
            await world.rest()
            assert taker.take() == [4, 5, 6, 7, 8]
            assert bench.metrics.counts["stream_missed"] == 3
            bench.clock.advance(101)
            world.desk.tick()
            await world.rest()
            assert world.stream().depth == 0
            world.check_books()

    run(body)


def test_a_stream_keeps_its_bytes_and_refuses_what_can_never_fit(bench: Bench) -> None:
    async def body() -> None:
        async with queue_world(bench, {}, {"s": StreamTerms(max_bytes=2000)}) as world:
            for n in range(5):
                assert await world.put("$stream/s/t", b"%500d" % n) is None
            await world.rest()
            assert (world.stream().depth, world.stream().bytes) == (3, 1833)
            refused = await world.put("$stream/s/t", bytes(2000))
            assert isinstance(refused, Refused)
            assert refused.reason == 0x97
            assert bench.metrics.drops == {"stream_full": 1}
            taker = Taker()
            world.join(taker, "$stream", "s", start="first")
            await world.rest()
            assert [entry.payload.split() for entry in taker.entries] == [[b"2"], [b"3"], [b"4"]]
            world.check_books()

    run(body)


def test_what_a_consumer_of_a_stream_had_goes_to_another(bench: Bench) -> None:
    async def body() -> None:
        async with queue_world(bench, {}, {"s": StreamTerms()}) as world:
            await fill(world, 4)
            a, b = Taker("a", room=2), Taker("b", room=2)
            group = world.join(a, "$stream", "s")
            world.join(b, "$stream", "s")
            await world.rest()
            had = a.take()
            assert sorted(had + b.take()) == [1, 2, 3, 4]
            b.room = 10
            group.leave(a)
            await world.rest()
            assert sorted(b.take()) == sorted(had)

    run(body)
