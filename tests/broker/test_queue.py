"""A durable queue without a disk: who gets a message, when again, and when no more."""

from __future__ import annotations

from typing import Any

import pytest

from broker.queue_bench import Bench, Taker, props_of
from gateway.broker.queue_port import BUSY
from gateway.config.queue import Retry
from gateway.errors import Refused


def test_each_message_goes_to_one_consumer_in_turn_and_to_every_group() -> None:
    bench = Bench()
    queue = bench.queue()
    a, b, other = Taker("a"), Taker("b"), Taker("c")
    for taker, group in ((a, "g"), (b, "g"), (other, "h")):
        bench.join(queue, taker, group)
    bench.put(queue, *["t"] * 6)
    assert sorted(a.take() + b.take()) == other.take() == [1, 2, 3, 4, 5, 6]


def test_a_group_begins_with_the_oldest_message() -> None:
    bench = Bench()
    queue = bench.queue()
    bench.put(queue, "t", "t")
    taker = Taker()
    bench.join(queue, taker)
    assert taker.take() == [1, 2]


def test_a_message_leaves_when_the_last_group_has_settled_it() -> None:
    bench = Bench()
    queue = bench.queue()
    one, two = Taker("a"), Taker("b")
    first, second = bench.join(queue, one, "g"), bench.join(queue, two, "h")
    bench.put(queue)
    first.settle("ack", 1, one.owner, "", None)
    assert queue.depth == 1
    second.settle("ack", 1, two.owner, "", None)
    assert (queue.depth, queue.bytes) == (0, 0)


def test_the_cursor_moves_only_after_the_consumer_has_taken_the_message() -> None:
    """Regression 4: a dead consumer must not swallow what was meant for it."""
    bench = Bench()
    queue = bench.queue()
    dead, live = Taker("dead"), Taker("live")
    dead.answer = BUSY
    group = bench.join(queue, dead)
    bench.put(queue, "t", "t")
    assert (group.cursor, dead.take()) == (0, [])
    group.leave(dead)
    bench.join(queue, live)
    assert (group.cursor, live.take()) == (2, [1, 2])


def test_what_a_consumer_had_goes_to_another_at_once_when_it_leaves() -> None:
    bench = Bench()
    queue = bench.queue()
    a, b = Taker("a"), Taker("b", room=0)
    group = bench.join(queue, a)
    bench.join(queue, b)
    bench.put(queue, "t", "t", "t")
    assert a.take() == [1, 2, 3]
    b.room = 10
    group.release(a)
    assert sorted(a.got + b.got) == [(1, 2), (2, 2), (3, 2)]


def test_a_message_not_settled_in_time_goes_to_another_consumer_first() -> None:
    bench = Bench()
    queue = bench.queue(ack_timeout=30.0)
    slow, other = Taker("slow"), Taker("other", room=0)
    group = bench.join(queue, slow)
    bench.join(queue, other)
    bench.put(queue)
    other.room = 10
    bench.pass_time(queue, 29.9)
    assert other.got == []
    bench.pass_time(queue, 0.1)
    assert other.got == [(1, 2)]
    with pytest.raises(Refused, match="not with this consumer") as stale:
        group.settle("ack", 1, slow.owner, "", None)
    assert stale.value.reason == 0x83


def test_a_late_ack_counts_while_nobody_else_has_the_message() -> None:
    bench = Bench()
    queue = bench.queue(ack_timeout=30.0)
    taker = Taker(room=1)
    group = bench.join(queue, taker)
    bench.put(queue)
    taker.room = 0
    bench.pass_time(queue, 31)
    group.settle("ack", 1, taker.owner, "", None)
    assert queue.depth == 0


@pytest.mark.parametrize(("initial", "multiplier", "most"), [(5.0, 2.0, 300.0), (0.5, 3.0, 2.0), (1.0, 1.0, 60.0)])
def test_back_off_grows_as_the_settings_say(initial: float, multiplier: float, most: float) -> None:
    """Regression 7: initial, multiplier and maximum observed, and the delivery count correct."""
    bench = Bench()
    queue = bench.queue(
        max_deliveries=0, ack_timeout=3600.0, retry=Retry(initial=initial, multiplier=multiplier, max=most)
    )
    taker = Taker()
    group = bench.join(queue, taker)
    bench.put(queue)
    for delivery in range(1, 9):
        assert taker.got == [(1, delivery)]
        taker.got.clear()
        group.settle("nack", 1, taker.owner, "not yet", None)
        wait = min(most, initial * multiplier ** (delivery - 1))
        bench.pass_time(queue, wait * 0.9)
        assert taker.got == [], delivery
        bench.pass_time(queue, wait * 0.2)


def test_a_nacked_message_lets_the_others_pass_without_an_order() -> None:
    bench = Bench()
    queue = bench.queue()
    taker = Taker(room=1)
    group = bench.join(queue, taker)
    bench.put(queue, "t", "t")
    group.settle("nack", 1, taker.owner, "", None)
    assert taker.take() == [1, 2]


@pytest.mark.parametrize("by", ["topic", "key"])
def test_a_nacked_message_blocks_only_its_key(by: str) -> None:
    bench = Bench()
    queue = bench.queue(ordered_by=by, key="unit" if by == "key" else None)
    taker = Taker()
    group = bench.join(queue, taker)
    for unit in ("x", "x", "y", "x", "y"):
        bench.put(queue, f"t/{unit}", key=unit)
    assert taker.take() == [1, 3], "one of each key at a time"
    group.settle("nack", 1, taker.owner, "", None)
    group.settle("ack", 3, taker.owner, "", None)
    assert taker.take() == [5]
    bench.pass_time(queue, 5.1)
    assert taker.take() == [1]
    for offset in (1, 2):
        group.settle("ack", offset, taker.owner, "", None)
    assert taker.take() == [2, 4]


def test_messages_without_the_key_wait_for_nobody() -> None:
    bench = Bench()
    queue = bench.queue(ordered_by="key", key="unit")
    taker = Taker()
    bench.join(queue, taker)
    bench.put(queue, "t", "t")
    assert taker.take() == [1, 2]


def test_reject_goes_to_the_dead_letters_with_its_reason() -> None:
    """Regression 6."""
    bench = Bench()
    queue = bench.queue()
    taker = Taker()
    group = bench.join(queue, taker)
    bench.put(queue, "plant/a")
    group.settle("reject", 1, taker.owner, "no such order", None)
    dead, reader = queue.dead, Taker("r")
    assert dead is not None
    bench.join(dead, reader)
    assert (queue.depth, dead.depth) == (0, 1)
    (letter,) = reader.entries
    assert letter.topic == "plant/a"
    said = props_of(letter)
    assert {name: said[f"dlq-{name}"] for name in ("queue", "cause", "reason", "message-id", "delivery-count")} == {
        "queue": "q",
        "cause": "rejected",
        "reason": "no such order",
        "message-id": "q:1",
        "delivery-count": "1",
    }


def test_dead_letters_are_never_chained() -> None:
    """Regression 6: a dead letter that is rejected is gone and counted, and one that fails is tried for ever."""
    bench = Bench()
    queue = bench.queue()
    taker = Taker()
    group = bench.join(queue, taker)
    bench.put(queue, "t", "t")
    for offset in (1, 2):
        group.settle("reject", offset, taker.owner, "", None)
    dead, reader = queue.dead, Taker("r")
    assert dead is not None
    assert dead.dead is None
    letters = bench.join(dead, reader)
    letters.settle("reject", 1, reader.owner, "", None)
    assert (dead.depth, bench.metrics.drops) == (1, {"queue_rejected": 1})
    for _ in range(20):
        letters.settle("nack", 2, reader.owner, "", None)
        bench.pass_time(dead, 301)
    assert dead.depth == 1


def test_a_message_delivered_too_often_is_a_dead_letter() -> None:
    bench = Bench()
    queue = bench.queue(max_deliveries=3)
    taker = Taker()
    group = bench.join(queue, taker)
    bench.put(queue)
    for _ in range(3):
        group.settle("nack", 1, taker.owner, "broken", None)
        bench.pass_time(queue, 20)
    assert [n for _, n in taker.got] == [1, 2, 3]
    assert queue.dead is not None
    assert (queue.depth, queue.dead.depth, len(group.claims)) == (0, 1, 0)


def test_a_message_claimed_twice_in_one_moment_is_one_dead_letter() -> None:
    """Both alarms are due at once, and the dead letter is not stored at once."""
    bench = Bench()
    queue = bench.queue(max_deliveries=2, ack_timeout=30.0)
    first, second = Taker("a"), Taker("b")
    group = bench.join(queue, first)
    bench.put(queue)
    bench.join(queue, second)
    group.leave(first)
    assert second.got == [(1, 2)]
    buried: list[Any] = []
    bench.shelf.bury = lambda *call: buried.append(call)  # type: ignore[method-assign]
    bench.pass_time(queue, 60)
    assert len(buried) == 1
    assert queue.holders(1)[group.id]["state"] == "buried"


def test_a_message_that_kills_its_consumers_is_a_dead_letter() -> None:
    bench = Bench()
    queue = bench.queue(max_deliveries=2)
    bench.put(queue)
    for name in ("a", "b"):
        taker = Taker(name)
        group = bench.join(queue, taker)
        assert taker.take() == [1]
        group.leave(taker)
    assert queue.dead is not None
    assert queue.dead.depth == 1


def test_a_dead_letter_that_cannot_be_stored_leaves_the_message_pending() -> None:
    """Regression 5: the disk is full; nothing is lost, and it is tried again."""
    bench = Bench()
    queue = bench.queue()
    taker = Taker()
    group = bench.join(queue, taker)
    bench.put(queue)
    bench.shelf.is_full = True
    errors: list[BaseException | None] = []
    group.settle("reject", 1, taker.owner, "bad", errors.append)
    assert len(errors) == 1
    assert isinstance(errors[0], Refused)
    assert queue.dead is not None
    assert (queue.depth, queue.dead.depth, len(group.claims)) == (1, 0, 1)
    bench.pass_time(queue, 6)
    assert queue.dead.depth == 0
    bench.shelf.is_full = False
    bench.pass_time(queue, 6)
    assert (queue.depth, queue.dead.depth, len(group.claims)) == (0, 1, 0)


def test_without_dead_letters_they_are_dropped_and_counted() -> None:
    bench = Bench()
    queue = bench.queue(dead=False, max_deliveries=1)
    taker = Taker()
    group = bench.join(queue, taker)
    bench.put(queue, "t", "t")
    group.settle("reject", 1, taker.owner, "", None)
    group.settle("nack", 2, taker.owner, "", None)
    assert bench.metrics.drops == {"queue_rejected": 1, "queue_undeliverable": 1}
    assert queue.depth == 0


def test_nobody_settles_what_another_has() -> None:
    bench = Bench()
    queue = bench.queue()
    a, b = Taker("a"), Taker("b")
    group = bench.join(queue, a)
    bench.join(queue, b)
    bench.put(queue)
    (owner, other) = (a, b) if a.got else (b, a)
    for verb in ("ack", "nack", "reject"):
        with pytest.raises(Refused) as refused:
            group.settle(verb, 1, other.owner, "", None)
        assert refused.value.reason == 0x83
    with pytest.raises(Refused):
        group.settle("ack", 2, owner.owner, "", None)
    assert queue.depth == 1
    group.settle("ack", 1, owner.owner, "", None)
    with pytest.raises(Refused):
        group.settle("ack", 1, owner.owner, "", None)
