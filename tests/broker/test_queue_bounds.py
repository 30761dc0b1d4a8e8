"""A durable queue without a disk: how much it holds, for how long, and what it reads."""

from __future__ import annotations

import pytest

from broker.queue_bench import Bench, Taker
from gateway.broker.queue_port import FINAL, UNFIT, group_id, rest_of
from gateway.errors import Refused
from gateway.message import Message


def test_a_full_queue_refuses_and_a_captured_message_is_only_counted() -> None:
    bench = Bench()
    queue = bench.queue(max_depth=2)
    bench.put(queue, "t", "t")
    answers: list[BaseException | None] = []
    queue.append(Message("t", b"x", 1), answers.append, False)
    queue.append(Message("t", b"x", 1), answers.append, True)
    assert isinstance(answers[0], Refused)
    assert answers[0].reason == 0x97
    assert answers[1] is None
    assert bench.metrics.drops == {"queue_full": 2}
    assert queue.depth == 2


def test_a_message_larger_than_the_queue_is_refused_whatever_the_policy() -> None:
    bench = Bench()
    queue = bench.queue(max_bytes=1024, when_full="drop_oldest")
    answers: list[BaseException | None] = []
    queue.append(Message("t", bytes(2000), 1), answers.append, False)
    assert isinstance(answers[0], Refused)


def test_the_oldest_go_when_the_shelf_says_so() -> None:
    bench = Bench()
    queue = bench.queue(when_full="drop_oldest")
    taker = Taker(room=1)
    group = bench.join(queue, taker)
    bench.put(queue, *["t"] * 5)
    queue.evicted([(1, 101), (2, 101)], "queue_full")
    assert (queue.depth, list(group.claims.by_offset)) == (3, [3])
    assert bench.metrics.drops == {"queue_full": 2}
    assert taker.take() == [1, 3]


def test_what_has_expired_is_not_delivered_and_counted() -> None:
    bench = Bench()
    queue = bench.queue(ttl=100.0)
    bench.put(queue, "t", expires=bench.clock.now() + 5)
    bench.put(queue, "t")
    bench.clock.advance(50)
    taker = Taker()
    bench.join(queue, taker)
    assert taker.take() == [2]
    assert bench.metrics.drops == {"queue_expired": 1}
    bench.clock.advance(60)
    other = Taker("b")
    bench.join(queue, other, "h")
    assert other.take() == []


def test_a_waiting_message_that_expires_is_not_delivered_again() -> None:
    bench = Bench()
    queue = bench.queue(ttl=0.0)
    taker = Taker()
    group = bench.join(queue, taker)
    bench.put(queue, "t", expires=bench.clock.now() + 3)
    group.settle("nack", 1, taker.owner, "", None)
    bench.pass_time(queue, 10)
    assert (taker.take(), queue.depth, bench.metrics.drops) == ([1], 0, {"queue_expired": 1})


def test_a_filter_is_a_group_of_its_own_and_passes_over_the_rest() -> None:
    bench = Bench()
    queue = bench.queue()
    some, rest = Taker("a"), Taker("b")
    group = bench.join(queue, some, "g", "a/+")
    bench.join(queue, rest, "g", "b/#")
    bench.put(queue, "a/1", "b/1", "c/1", "$queue/q/a/2", "b")
    assert (some.take(), rest.take()) == ([1, 4], [2, 5])
    assert queue.depth == 4, "what nobody is interested in is gone"
    assert group.id == "g@a/+"


def test_no_more_than_max_pending_are_out() -> None:
    bench = Bench()
    queue = bench.queue(max_pending=3)
    taker = Taker()
    group = bench.join(queue, taker)
    bench.put(queue, *["t"] * 5)
    assert taker.take() == [1, 2, 3]
    group.settle("ack", 2, taker.owner, "", None)
    assert taker.take() == [4]


def test_no_more_than_the_window_are_with_a_consumer() -> None:
    bench = Bench()
    queue = bench.queue()
    taker = Taker(room=2)
    group = bench.join(queue, taker)
    bench.put(queue, *["t"] * 5)
    assert taker.take() == [1, 2]
    group.settle("ack", 1, taker.owner, "", None)
    assert taker.take() == [3]


def test_a_message_that_fits_no_consumer_becomes_a_dead_letter() -> None:
    bench = Bench()
    queue = bench.queue(max_deliveries=2)
    taker = Taker()
    taker.answer = UNFIT
    bench.join(queue, taker)
    bench.put(queue)
    bench.pass_time(queue, 10)
    assert queue.dead is not None
    assert queue.dead.depth == 1


def test_a_consumer_that_never_answers_settles_by_taking() -> None:
    bench = Bench()
    queue = bench.queue()
    taker = Taker()
    taker.answer = FINAL
    bench.join(queue, taker)
    bench.put(queue, "t", "t")
    assert (taker.take(), queue.depth) == ([1, 2], 0)


def test_reads_are_bounded_and_one_that_keeps_up_reads_nothing() -> None:
    bench = Bench()
    queue = bench.queue()
    taker = Taker(room=1000)
    bench.join(queue, taker)
    bench.put(queue, *["t"] * 500)
    assert len(taker.take()) == 500
    assert bench.shelf.reads == 0
    late = Taker("b", room=1000)
    bench.join(queue, late, "late")
    assert len(late.take()) == 500
    assert 8 <= bench.shelf.reads <= 10


def test_what_comes_while_the_disk_is_read_is_neither_lost_nor_doubled() -> None:
    bench = Bench()
    queue = bench.queue()
    bench.put(queue, *["t"] * 3)
    bench.shelf.is_slow = True
    taker = Taker()
    bench.join(queue, taker)
    bench.put(queue, *["t"] * 3)
    while bench.shelf.questions:
        bench.shelf.answer()
    assert taker.take() == [1, 2, 3, 4, 5, 6]


def test_seek_goes_back_to_what_is_still_there() -> None:
    bench = Bench()
    queue = bench.queue()
    a, b = Taker("a"), Taker("b")
    group = bench.join(queue, a)
    bench.join(queue, b, "other")
    bench.put(queue, "t", "t")
    for offset in (1, 2):
        group.settle("ack", offset, a.owner, "", None)
    a.take()
    group.seek(0)
    assert a.take() == [1, 2], "the other group still needs them"


def test_groups_that_nobody_joins_are_forgotten() -> None:
    bench = Bench()
    queue = bench.queue(forget_groups=3600.0)
    taker = Taker()
    group = bench.join(queue, taker)
    bench.put(queue)
    bench.pass_time(queue, 4000)
    assert len(queue.groups) == 1
    group.leave(taker)
    bench.pass_time(queue, 4000)
    assert (queue.groups, bench.metrics.counts["queue_groups_forgotten"]) == ({}, 1)


def test_group_ids_are_apart() -> None:
    assert len({group_id("a", "b@c"), group_id("a@b", "c"), group_id("a%40b", "c")}) == 3


@pytest.mark.parametrize(
    ("topic", "rest"),
    [("a/b", "a/b"), ("$queue/q/a/b", "a/b"), ("$queue/q", ""), ("$SYS/x", "$SYS/x"), ("$dlq/q/a", "a")],
)
def test_the_address_is_no_part_of_the_topic(topic: str, rest: str) -> None:
    assert rest_of(topic) == rest
