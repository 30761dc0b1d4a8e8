"""What a person does to queues on the disk: purge, replay, seek, look; and what is left of queues that are gone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from broker.queue_bench import Taker, props_of
from gateway.config.queue import DeadLetter, Stream
from gateway.config.queue import Queue as QueueTerms
from gateway.errors import Refused
from gateway.message import Message
from store.bench import Bench, run
from store.queue_bench import QueueWorld, bury, crash, put, queue_world


async def purge(world: QueueWorld, address: str, up_to: int, limit: int = 100) -> int:
    """How many have gone."""
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    world.desk.parts[address].shelf.purge(up_to, limit, lambda count, error: answer.set_result(error or count))
    count: int = await answer
    return count


def test_purge_lets_the_oldest_go_whoever_needs_them_and_nothing_newer(bench: Bench) -> None:
    async def body() -> None:
        async with queue_world(bench) as world:
            taker = Taker(room=2)
            group = world.join(taker)
            await put(world, 5)
            await world.rest()
            assert taker.take() == [1, 2]
            assert await purge(world, "$queue/q", 4, 3) == 3
            await world.rest()
            assert taker.take() == [4, 5], "the room of those that have gone is free"
            with pytest.raises(Refused):
                group.settle("ack", 1, taker.owner, "", None)
            assert await purge(world, "$queue/q", 4) == 1
            assert await purge(world, "$queue/q", 4) == 0
            await world.rest()
            world.check_books()
            assert world.queue().depth == 1
            after = crash(bench)
        async with queue_world(after) as world:
            again = Taker()
            world.join(again)
            await world.rest()
            assert again.take() == [5]
            world.check_books()

    run(body)


def test_two_purges_of_one_transaction_both_count(bench: Bench) -> None:
    async def body() -> None:
        async with queue_world(bench) as world:
            await put(world, 5)
            both = await asyncio.gather(purge(world, "$queue/q", 5, 2), purge(world, "$queue/q", 5, 2))
            assert list(both) == [2, 2]
            await world.rest()
            assert world.queue().depth == 1
            world.check_books()

    run(body)


def test_a_purge_on_a_full_disk_is_done_when_there_is_room(bench: Bench) -> None:
    async def body() -> None:
        async with queue_world(bench) as world:
            await put(world, 3)
            await world.rest()
            await world.fill_disk()
            answers: list[Any] = []
            world.queue().shelf.purge(2, 10, lambda count, error: answers.append((count, error)))
            assert isinstance(await world.put(payload=bytes(200_000)), Refused)
            assert answers == []
            await world.empty_disk()
            await world.rest()
            assert answers == [(2, None)]
            world.check_books()

    run(body)


def test_purge_of_a_stream_moves_groups_over_the_gap(bench: Bench) -> None:
    async def body() -> None:
        async with queue_world(bench, {}, {"s": Stream()}) as world:
            await put(world, 4, "$stream/s/t")
            assert await purge(world, "$stream/s", 3) == 3
            taker = Taker()
            world.join(taker, "$stream", "s")
            await world.rest()
            assert taker.take() == [4]
            world.check_books()

    run(body)


async def replay(world: QueueWorld, offset: int, to: str = "q") -> BaseException | None:
    answer: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
    (entry,) = await world.store.shelf("$dlq/q").look(offset - 1, 1)
    world.dead().replay(entry, world.queue(to), answer.set_result)
    return await answer


def test_replay_appends_and_removes_in_one_transaction(bench: Bench) -> None:
    async def body() -> None:
        async with queue_world(bench) as world:
            await bury(world, 2)
            assert (world.queue().depth, world.dead().depth) == (0, 2)
            commits = world.database.counts.commits
            assert await replay(world, 1) is None
            assert world.database.counts.commits == commits + 1
            after = crash(bench)
            world.check_books()
            assert world.bench.metrics.counts["dead_letters_replayed"] == 1
        async with queue_world(after) as world:
            assert (world.queue().depth, world.dead().depth) == (1, 1)
            taker = Taker()
            world.join(taker)
            await world.rest()
            (entry,) = taker.entries
            assert (entry.offset, entry.topic, entry.payload, props_of(entry)) == (3, "$queue/q/t", b"0", {})
            assert taker.got == [(3, 1)], "it is counted from the beginning"
            world.check_books()

    run(body)


def test_replay_into_a_full_queue_is_refused_and_the_letter_stays(bench: Bench) -> None:
    async def body() -> None:
        async with queue_world(bench, {"q": QueueTerms(max_depth=1)}) as world:
            await bury(world, 1)
            await put(world, 1)
            refused = await replay(world, 1)
            assert isinstance(refused, Refused)
            assert refused.reason == 0x97
            await world.rest()
            assert (world.queue().depth, world.dead().depth) == (1, 1)
            world.check_books()

    run(body)


def test_replay_on_a_full_disk_leaves_the_letter_and_the_room(bench: Bench) -> None:
    async def body() -> None:
        async with queue_world(bench) as world:
            taker = Taker()
            group = world.join(taker)
            await world.put(payload=bytes(100_000))
            await world.rest()
            group.settle("reject", 1, taker.owner, "", None)
            await world.rest()
            await world.fill_disk()
            answers = await asyncio.gather(replay(world, 1), world.put(payload=bytes(200_000)))
            assert all(isinstance(answer, Refused) for answer in answers)
            assert (world.queue().depth, world.dead().depth) == (0, 1)
            await world.empty_disk()
            await world.rest()
            assert await replay(world, 1) is None
            await world.rest()
            world.check_books()

    run(body)


def test_replay_to_another_queue(bench: Bench) -> None:
    async def body() -> None:
        terms = {"q": QueueTerms(), "r": QueueTerms()}
        async with queue_world(bench, terms) as world:
            await bury(world, 1)
            assert await replay(world, 1, "r") is None
            await world.rest()
            assert [world.queue(name).depth for name in ("q", "r")] == [0, 1]
            world.check_books()

    run(body)


@pytest.mark.parametrize("first", ["ack", "replay"])
def test_a_letter_is_settled_or_replayed_but_counted_once(bench: Bench, first: str) -> None:
    async def body() -> None:
        async with queue_world(bench) as world:
            await bury(world, 1)
            taker = Taker()
            group = world.join(taker, "$dlq")
            await world.rest()
            (entry,) = taker.entries
            answers: list[Any] = []
            if first == "ack":
                group.settle("ack", 1, taker.owner, "", None)
            world.dead().replay(entry, world.queue(), answers.append)
            if first == "replay":
                group.settle("ack", 1, taker.owner, "", None)
            await world.rest()
            (answer,) = answers
            assert isinstance(answer, Refused) if first == "ack" else answer is None
            assert (world.queue().depth, world.dead().depth) == (0 if first == "ack" else 1, 0)
            world.check_books()

    run(body)


def test_an_ack_while_the_replay_is_written_is_counted_once(bench: Bench) -> None:
    async def body() -> None:
        async with queue_world(bench) as world:
            await bury(world, 1)
            taker = Taker()
            group = world.join(taker, "$dlq")
            await world.rest()
            world.dead().replay(taker.entries[0], world.queue(), lambda error: None)
            writing = world.database.transaction
            while True:
                await asyncio.sleep(0)
                if world.database.transaction != writing:
                    break
            group.settle("ack", 1, taker.owner, "", None)
            await world.rest()
            assert (world.queue().depth, world.dead().depth) == (1, 0)
            world.check_books()

    run(body)


def test_seek_forward_lets_go_what_nobody_needs_and_outlives_a_crash(bench: Bench) -> None:
    async def body() -> None:
        async with queue_world(bench) as world:
            taker = Taker(room=1)
            group = world.join(taker)
            await put(world, 5)
            await world.rest()
            group.seek(3)
            await world.store.settle()
            after = crash(bench)
            await world.rest()
            assert taker.take() == [1, 4]
            assert world.queue().depth == 2
            world.check_books()
        async with queue_world(after) as world:
            assert world.queue().depth == 2
            (group,) = world.queue().groups.values()
            assert (group.cursor, len(group.claims)) == (3, 0)
            world.check_books()

    run(body)


def test_seek_back_delivers_again_what_another_group_still_needs(bench: Bench) -> None:
    async def body() -> None:
        async with queue_world(bench) as world:
            quick, slow = Taker("quick"), Taker("slow", room=0)
            group = world.join(quick)
            world.join(slow, group="other")
            await put(world, 3)
            await world.rest()
            for offset in quick.take():
                group.settle("ack", offset, quick.owner, "", None)
            await world.rest()
            assert world.queue().depth == 3
            group.seek(1)
            await world.rest()
            assert quick.take() == [2, 3]
            world.check_books()

    run(body)


def test_a_message_is_found_by_its_time(bench: Bench) -> None:
    async def body() -> None:
        async with queue_world(bench) as world:
            for time in (10.0, 20.0, 30.0):
                assert await world.put(time=time) is None
            found: list[int] = []
            for time in (0.0, 20.0, 20.5, 31.0):
                world.queue().shelf.find(time, found.append)
            await world.rest()
            assert found == [1, 2, 3, 4]

    run(body)


def test_the_age_of_the_oldest_message(bench: Bench) -> None:
    async def body() -> None:
        async with queue_world(bench) as world:
            assert await world.store.oldest_ages() == {"$queue/q": None, "$dlq/q": None}
            await put(world, 1)
            bench.clock.advance(10)
            await put(world, 1)
            assert (await world.store.oldest_ages())["$queue/q"] == 10
            bench.clock.step(5000)
            assert (await world.store.oldest_ages())["$queue/q"] == 10, "the wall clock does not count"

    run(body)


def test_a_queue_that_left_the_settings_is_forgotten_when_it_is_empty(bench: Bench) -> None:
    async def body() -> None:
        terms = {name: QueueTerms(dead_letter=DeadLetter(enabled=False)) for name in ("full", "empty", "q")}
        async with queue_world(bench, terms) as world:
            for name in ("full", "empty"):
                world.join(Taker(), "$queue", name)
            await put(world, 1, "$queue/full/t")
            await world.rest()
        async with queue_world(bench, {"q": terms["q"]}) as world:
            assert set(world.loaded) == {"$queue/q", "$queue/full"}
            assert {address: one.depth for address, one in world.store.left_over(world.desk.parts).items()} == {
                "$queue/full": 1
            }
            assert bench.look("SELECT address FROM queue ORDER BY address") == [("$queue/full",), ("$queue/q",)]
            assert bench.look("SELECT count(*) FROM queue_group") == [(1,)]
            assert bench.look("SELECT count(*) FROM queue_held") == [(1,)]

    run(body)


def test_lag_counts_messages_and_not_offsets(bench: Bench) -> None:
    async def body() -> None:
        async with queue_world(bench) as world:
            world.join(Taker(room=0))
            await put(world, 5)
            assert await purge(world, "$queue/q", 3) == 3
            await world.rest()
            assert world.queue().status()["groups"][0]["lag"] == 2

    run(body)


def test_a_batch_for_queues_and_outbox_is_one_transaction(bench: Bench) -> None:
    async def body() -> None:
        async with queue_world(bench) as world:
            world.broker.gate = world.database
            commits = world.database.counts.commits
            answers: list[Any] = []
            world.broker.publish_batch([Message(f"$queue/q/{n}", b"x", 1) for n in range(5)], answers.append)
            assert answers == []
            await world.store.settle()
            assert (answers, world.database.counts.commits) == ([None], commits + 1)
            world.check_books()

    run(body)
