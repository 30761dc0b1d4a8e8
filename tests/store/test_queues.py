"""Queues and streams on the disk: what outlives a restart and a crash, and what is never written."""

from __future__ import annotations

import asyncio
from typing import Any

from broker.queue_bench import Taker, props_of
from gateway.config.queue import DeadLetter
from gateway.config.queue import Queue as QueueTerms
from gateway.errors import Refused
from gateway.message import USER_PROPERTY, Message
from store.bench import Bench, run
from store.queue_bench import crash, queue_world


def test_messages_outlive_a_restart_with_everything_they_had(bench: Bench) -> None:
    async def body() -> None:
        props = ((USER_PROPERTY, ("a", "b")), (0x09, b"\x00\xff"))
        async with queue_world(bench) as world:
            assert await world.put("$queue/q/plant/x", b"\x00\x01", props=props, time=5.0) is None
        async with queue_world(bench) as world:
            taker = Taker()
            world.join(taker)
            await world.rest()
            (entry,) = taker.entries
            assert (entry.offset, entry.topic, entry.payload, entry.props) == (
                1, "$queue/q/plant/x", b"\x00\x01", props,
            )  # fmt: skip
            assert entry.time == 5.0
            world.check_books()

    run(body)


def test_the_answer_comes_after_the_commit(bench: Bench) -> None:
    async def body() -> None:
        async with queue_world(bench) as world:
            assert await world.put() is None
            assert bench.look("SELECT count(*) FROM queue_log") == [(1,)]

    run(body)


def test_durability_interval_answers_at_once(bench: Bench) -> None:
    async def body() -> None:
        async with queue_world(bench, {"q": QueueTerms(durability="interval")}) as world:
            answers: list[Any] = []
            world.broker.publish(Message("$queue/q", b"x", 1), answers.append)
            assert answers == [None]
            assert bench.look("SELECT count(*) FROM queue_log") == [(0,)]
            await world.rest()
            assert bench.look("SELECT count(*) FROM queue_log") == [(1,)]

    run(body)


def test_a_claim_that_is_settled_before_the_commit_is_never_written(bench: Bench) -> None:
    async def body() -> None:
        async with queue_world(bench) as world:
            taker = Taker()
            group = world.join(taker)
            await world.rest()
            for _ in range(20):
                await world.put()
                while taker.got:
                    group.settle("ack", taker.got.pop()[0], taker.owner, "", None)
            changes = world.store._batch.gathering
            assert changes is not None
            assert changes.held == {}
            await world.rest()
            assert bench.look("SELECT count(*) FROM queue_held UNION ALL SELECT count(*) FROM queue_log") == [
                (0,),
                (0,),
            ]
            world.check_books()

    run(body)


def test_what_was_with_a_consumer_at_a_crash_is_delivered_again_and_counted(bench: Bench) -> None:
    """Regression 9: kill -9 between append and ack loses nothing."""

    async def body() -> None:
        async with queue_world(bench) as world:
            taker = Taker()
            group = world.join(taker)
            for _ in range(4):
                await world.put()
            await world.rest()
            acked: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            group.settle("ack", 2, taker.owner, "", acked.set_result)
            assert await acked is None
            after = crash(bench)
        async with queue_world(after) as world:
            again = Taker("b")
            world.join(again)
            await world.rest()
            assert sorted(again.got) == [(1, 2), (3, 2), (4, 2)]
            world.check_books()

    run(body)


def test_per_key_order_outlives_a_crash(bench: Bench) -> None:
    async def body() -> None:
        terms = {"q": QueueTerms(ordered_by="topic")}
        async with queue_world(bench, terms) as world:
            taker = Taker()
            world.join(taker)
            for topic in ("x", "x", "y", "x"):
                await world.put(f"$queue/q/{topic}")
            await world.rest()
            assert taker.take() == [1, 3]
            after = crash(bench)
        async with queue_world(after, terms) as world:
            again = Taker()
            group = world.join(again)
            await world.rest()
            assert again.take() == [1, 3]
            group.settle("ack", 1, again.owner, "", None)
            await world.rest()
            assert again.take() == [2]

    run(body)


def test_a_dead_letter_is_stored_and_settled_in_one_transaction(bench: Bench) -> None:
    async def body() -> None:
        async with queue_world(bench) as world:
            taker = Taker()
            group = world.join(taker)
            await world.put("$queue/q/a", b"body")
            answers: list[Any] = []
            group.settle("reject", 1, taker.owner, "broken", answers.append)
            await world.rest()
            assert answers == [None]
            world.check_books()
            after = crash(bench)
        async with queue_world(after) as world:
            assert (world.queue().depth, world.dead().depth) == (0, 1)
            reader = Taker()
            world.join(reader, "$dlq")
            await world.rest()
            (letter,) = reader.entries
            assert (letter.payload, props_of(letter)["dlq-reason"]) == (b"body", "broken")
            world.check_books()

    run(body)


def test_a_dead_letter_on_a_full_disk_stays_pending(bench: Bench) -> None:
    """Regression 5."""

    async def body() -> None:
        async with queue_world(bench) as world:
            taker = Taker()
            group = world.join(taker)
            await world.put(payload=bytes(100_000))
            await world.rest()
            await world.fill_disk()
            answers: list[Any] = []
            group.settle("reject", 1, taker.owner, "", answers.append)
            await world.rest()
            assert isinstance(answers[0], Refused)
            assert (world.queue().depth, world.dead().depth, len(group.claims)) == (1, 0, 1)
            await world.empty_disk()
            await world.rest()
            after = crash(bench)
            bench.clock.advance(6)
            world.desk.tick()
            await world.rest()
            assert (world.queue().depth, world.dead().depth, len(group.claims)) == (0, 1, 0)
            world.check_books()
        async with queue_world(after) as world:
            again = Taker()
            world.join(again)
            await world.rest()
            assert again.got == [(1, 2)], "also a crash in between loses nothing"

    run(body)


def test_a_failed_commit_gives_messages_back_and_keeps_what_was_decided(bench: Bench) -> None:
    async def body() -> None:
        async with queue_world(bench) as world:
            taker = Taker()
            group = world.join(taker)
            await world.put()
            await world.rest()
            await world.fill_disk()
            settled: list[Any] = []
            group.settle("ack", 1, taker.owner, "", settled.append)
            refused = await world.put(payload=bytes(200_000))
            assert isinstance(refused, Refused)
            assert refused.reason == 0x97
            assert (settled, world.queue().depth) == ([], 0)
            await world.empty_disk()
            await world.rest()
            assert settled == [None]
            world.check_books()
            assert await world.put() is None
            await world.rest()
            assert taker.take() == [1, 2]

    run(body)


def test_drop_oldest_keeps_both_bounds(bench: Bench) -> None:
    async def body() -> None:
        terms = {"q": QueueTerms(when_full="drop_oldest", max_depth=3, max_bytes=1024)}
        async with queue_world(bench, terms) as world:
            for _ in range(5):
                await world.put()
            await world.rest()
            assert (world.queue().depth, bench.metrics.drops) == (3, {"queue_full": 2})
            await world.put(payload=bytes(700))
            await world.rest()
            assert world.queue().bytes <= 1024
            world.check_books()
            taker = Taker()
            world.join(taker)
            await world.rest()
            assert taker.got[-1] == (6, 1)

    run(body)


def test_ttl_is_measured_on_the_clock_that_never_steps(bench: Bench) -> None:
    async def body() -> None:
        terms = {"q": QueueTerms(ttl=100.0)}
        async with queue_world(bench, terms) as world:
            await world.put()
            bench.clock.step(10_000)
            bench.clock.advance(50)
            world.desk.tick()
            await world.rest()
            assert world.queue().depth == 1, "a step of the wall clock lets nothing expire"
            await world.put()
            bench.clock.advance(60)
            world.desk.tick()
            await world.rest()
            assert (world.queue().depth, bench.metrics.drops) == (1, {"queue_expired": 1})
            world.check_books()
        bench.clock.advance(200)
        async with queue_world(bench, terms) as world:
            taker = Taker()
            world.join(taker)
            world.desk.tick()
            await world.rest()
            assert taker.got == []

    run(body)


def test_full_dead_letters_let_the_oldest_go(bench: Bench) -> None:
    async def body() -> None:
        terms = {"q": QueueTerms(dead_letter=DeadLetter(max_depth=2))}
        async with queue_world(bench, terms) as world:
            taker = Taker()
            group = world.join(taker)
            for _ in range(4):
                await world.put()
            await world.rest()
            for offset in (1, 2, 3, 4):
                group.settle("reject", offset, taker.owner, "", None)
                await world.rest()
            assert (world.dead().depth, bench.metrics.drops) == (2, {"queue_full": 2})
            world.check_books()

    run(body)


def test_capture_is_additive_and_a_full_queue_does_not_disturb_publishers(bench: Bench) -> None:
    async def body() -> None:
        terms = {"q": QueueTerms(topics=("plant/#", "plant/+"), max_depth=1), "r": QueueTerms(topics=("plant/a",))}
        async with queue_world(bench, terms) as world:
            assert await world.put("plant/a") is None
            assert await world.put("plant/a") is None
            assert [world.queue(name).depth for name in ("q", "r")] == [1, 2]
            assert bench.metrics.drops == {"queue_full": 1}
            assert bench.look("SELECT DISTINCT topic FROM queue_log") == [("plant/a",)]

    run(body)


def test_a_group_that_is_forgotten_leaves_nothing_behind(bench: Bench) -> None:
    async def body() -> None:
        async with queue_world(bench, {"q": QueueTerms(forget_groups=3600.0)}) as world:
            stays, goes = Taker("a"), Taker("b", room=1)
            group = world.join(stays, group="stays")
            left = world.join(goes, group="goes")
            for _ in range(3):
                await world.put()
            await world.rest()
            for offset in (1, 3):
                group.settle("ack", offset, stays.owner, "", None)
            left.leave(goes)
            await world.rest()
            assert world.queue().depth == 3
            bench.clock.advance(3700)
            world.desk.tick()
            await world.rest()
            assert (world.queue().depth, bench.look("SELECT name FROM queue_group")) == (1, [("stays",)])
            assert bench.look("SELECT offset FROM queue_held") == [(2,)]
            world.check_books()

    run(body)


def test_a_new_group_never_sees_what_is_on_its_way_out(bench: Bench) -> None:
    async def body() -> None:
        async with queue_world(bench) as world:
            taker, late = Taker("a"), Taker("b")
            group = world.join(taker)
            await world.put()
            await world.rest()
            group.settle("ack", 1, taker.owner, "", None)
            world.join(late, group="late")
            await world.rest()
            assert late.got == []
            world.check_books()

    run(body)


def test_a_queue_that_left_the_settings_keeps_its_messages(bench: Bench) -> None:
    async def body() -> None:
        async with queue_world(bench, {"q": QueueTerms()}) as world:
            await world.put()
        async with queue_world(bench, {"other": QueueTerms()}) as world:
            assert world.loaded["$queue/q"].depth == 1
            assert isinstance(await world.put(), Refused)
        async with queue_world(bench, {"q": QueueTerms()}) as world:
            assert world.queue().depth == 1

    run(body)
