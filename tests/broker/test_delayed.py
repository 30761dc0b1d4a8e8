"""Delayed messages: what is taken and what is refused, what they carry, and when they are deleted."""

from __future__ import annotations

import pytest

from broker.delayed_bench import EARLIEST, DelayedBench, Watcher
from gateway.broker.delayed import MAX_TRIES, MAX_UNDER_WAY
from gateway.delay import read_delay, target_filter
from gateway.errors import Refused
from gateway.message import USER_PROPERTY, Message


@pytest.fixture
def bench() -> DelayedBench:
    return DelayedBench()


# -- the topic


@pytest.mark.parametrize(
    ("topic", "number", "is_moment", "target"),
    [
        ("$delayed/5/a/b", 5.0, False, "a/b"),
        ("$delayed/5//a", 5.0, False, "/a"),
        ("$delayed/0.25/a/", 0.25, False, "a/"),
        ("$delayed/0/5/6", 0.0, False, "5/6"),
        ("$delayed/1000000000/a", 1e9, False, "a"),
        ("$delayed/1800000000.5/a", 1_800_000_000.5, True, "a"),
        ("$delayed/7/$SYS/x", 7.0, False, "$SYS/x"),
    ],
)
def test_a_topic_says_delay_and_target_exactly(topic: str, number: float, is_moment: bool, target: str) -> None:
    assert read_delay(topic) == (number, is_moment, target)
    assert target_filter(topic) == target


@pytest.mark.parametrize(
    "topic",
    [
        "$delayed/",
        "$delayed/5",
        "$delayed/5/",
        "$delayed//a",
        "$delayed/x/a",
        "$delayed/-5/a",
        "$delayed/+5/a",
        "$delayed/1e3/a",
        "$delayed/5./a",
        "$delayed/.5/a",
        "$delayed/ 5/a",
        "$delayed/\u0665/a",
        "$delayed/5\n/a",
        "$delayed/1234567890123/a",
        "$delayed/nan/a",
        "$delayed/inf/a",
        "$delayed/5/$delayed/5/a",
    ],
)
def test_a_topic_that_makes_no_sense_is_refused(topic: str, bench: DelayedBench) -> None:
    with pytest.raises(Refused) as caught:
        read_delay(topic)
    assert caught.value.reason == 0x90
    (error,) = bench.publish(topic)
    assert isinstance(error, Refused)
    assert error.reason == 0x90
    assert bench.paper.log == []


# -- a delay


def test_it_comes_when_its_time_has_come_and_then_it_is_deleted(bench: DelayedBench) -> None:
    assert bench.publish("$delayed/5//a", b"late", 2, hops=3, source="client:c", time=7.0) == [None]
    bench.wait(4.75, 0.25)
    assert bench.watcher.got == []
    bench.wait(0.25, 0.25)
    (message,) = bench.watcher.got
    assert (message.topic, message.payload, message.qos, message.hops) == ("/a", b"late", 2, 3)
    assert (message.source, message.time) == ("client:c", 7.0)
    assert bench.paper.rows == {}
    assert bench.metrics.counts["delayed_delivered"] == 1
    bench.wait(20)
    assert len(bench.watcher.got) == 1


def test_properties_stay_in_order_with_their_repeats(bench: DelayedBench) -> None:
    props = ((USER_PROPERTY, ("b", "1")), (3, "text"), (USER_PROPERTY, ("a", "2")), (USER_PROPERTY, ("b", "1")))
    bench.publish("$delayed/1/a", props=props)
    bench.wait(1)
    assert bench.watcher.got[0].props == props


def test_a_delay_does_not_follow_the_wall_clock_and_a_moment_does(bench: DelayedBench) -> None:
    bench.publish("$delayed/10/delay")
    bench.publish("$delayed/1800000010/moment")
    bench.clock.step(9)
    bench.wait(1)
    assert bench.watcher.topics == ["moment"]
    bench.clock.step(-1000)
    bench.wait(9)
    assert bench.watcher.topics == ["moment", "delay"]


def test_a_moment_goes_back_with_the_clock(bench: DelayedBench) -> None:
    bench.publish("$delayed/1800000010/moment")
    bench.clock.step(-100)
    bench.wait(109)
    assert bench.watcher.got == []
    bench.wait(1)
    assert bench.watcher.topics == ["moment"]


def test_a_moment_waits_until_the_clock_was_set() -> None:
    bench = DelayedBench(time=1000.0)
    bench.publish("$delayed/1000000001/long ago")
    bench.publish("$delayed/1800000000/later")
    bench.wait(5)
    assert bench.watcher.got == []
    assert [due for _, due in bench.desk.waiting()] == [None, None]
    bench.clock.step(EARLIEST)
    bench.wait(1)
    assert bench.watcher.topics == ["long ago"]


def test_a_moment_that_is_over_comes_at_once(bench: DelayedBench) -> None:
    bench.publish("$delayed/1799999999/a")
    bench.desk.tick()
    assert bench.watcher.topics == ["a"]


def test_it_is_retained_when_it_is_delivered_and_not_before(bench: DelayedBench) -> None:
    bench.publish("$delayed/5/a", retain=True)
    assert list(bench.broker.retained("#")) == []
    assert list(bench.broker.retained("$delayed/#")) == []
    bench.wait(5)
    assert [message.topic for message in bench.broker.retained("#")] == ["a"]
    bench.publish("$delayed/5/a", b"", retain=True)
    assert [message.topic for message in bench.broker.retained("#")] == ["a"]
    bench.wait(5)
    assert list(bench.broker.retained("#")) == []


def test_its_expiry_begins_when_it_is_due(bench: DelayedBench) -> None:
    now = bench.clock.now()
    bench.publish("$delayed/100/a", expires=now + 10)
    bench.wait(100)
    assert bench.watcher.got[0].expires == now + 110


def test_what_is_late_by_more_than_its_expiry_is_dropped_and_counted(bench: DelayedBench) -> None:
    now = bench.clock.now()
    bench.publish("$delayed/100/late", expires=now + 10)
    bench.publish("$delayed/105/in time", expires=now + 10)
    bench.restart(after=110)
    bench.desk.tick()
    assert bench.watcher.topics == ["in time"]
    assert bench.watcher.got[0].expires == now + 115
    assert bench.metrics.drops == {"delayed_expired": 1}
    assert bench.paper.rows == {}


# -- acknowledgement and storage


def test_it_is_acknowledged_when_it_is_on_disk_and_waited_for_from_then_on(bench: DelayedBench) -> None:
    bench.paper.auto = False
    answers = bench.publish("$delayed/0/a")
    bench.wait(5)
    assert (answers, bench.watcher.got) == ([], [])
    bench.paper.commit()
    assert answers == [None]
    bench.desk.tick()
    assert bench.watcher.topics == ["a"]


def test_qos_0_may_linger_and_the_others_may_not(bench: DelayedBench) -> None:
    bench.publish("$delayed/1/a", qos=0)
    bench.publish("$delayed/1/a", qos=1)
    assert bench.paper.log == [("add", 1, False), ("add", 2, True)]


def test_what_could_not_be_committed_is_forgotten(bench: DelayedBench) -> None:
    bench.paper.auto = False
    answers = bench.publish("$delayed/0/a")
    bench.publish("$delayed/0/a", qos=0)
    bench.paper.fail()
    assert [str(error) for error in answers] == ["no room on the disk"]
    assert bench.metrics.drops == {"delayed_refused": 1}
    assert bench.desk.status() == {"count": 0, "bytes": 0, "under_way": 0}
    bench.wait(5)
    assert bench.watcher.got == []


def test_a_store_that_is_behind_refuses(bench: DelayedBench) -> None:
    bench.paper.behind = True
    assert [str(error) for error in bench.publish("$delayed/1/a")] == ["behind"]
    bench.publish("$delayed/1/a", qos=0)
    assert bench.metrics.drops == {"delayed_refused": 1}


def test_it_is_bounded_in_count_and_every_refusal_is_counted() -> None:
    bench = DelayedBench(max_count=2)
    for _ in range(2):
        assert bench.publish("$delayed/5/a") == [None]
    (error,) = bench.publish("$delayed/5/a")
    assert isinstance(error, Refused)
    assert error.reason == 0x97
    bench.publish("$delayed/5/a", qos=0)
    assert bench.metrics.drops == {"delayed_full": 2}
    bench.wait(5)
    assert bench.publish("$delayed/5/a") == [None]


def test_it_is_bounded_in_bytes() -> None:
    bench = DelayedBench(max_bytes=1000)
    assert bench.publish("$delayed/5/a", b"x" * 700) == [None]
    (error,) = bench.publish("$delayed/5/a", b"x" * 200)
    assert isinstance(error, Refused)
    assert error.reason == 0x97


def test_a_batch_fits_as_a_whole_or_is_refused_as_a_whole() -> None:
    bench = DelayedBench(max_count=2)
    answers: list[BaseException | None] = []
    for topics in (["$delayed/1/a"] * 3, ["$delayed/1/a", "$delayed/x/a"], ["$delayed/1/a", "$delayed/2/b"]):
        bench.broker.publish_batch([Message(topic, b"x", 1) for topic in topics], answers.append)
    assert [getattr(error, "reason", None) for error in answers] == [0x97, 0x90, None]
    bench.wait(2)
    assert bench.watcher.topics == ["a", "b"]


def test_a_delay_that_is_too_long_is_refused() -> None:
    bench = DelayedBench(max_delay=60)
    assert bench.publish("$delayed/60/a") == [None]
    assert bench.publish("$delayed/1800000060/a") == [None]
    for topic in ("$delayed/60.5/a", "$delayed/1800000061/a"):
        (error,) = bench.publish(topic)
        assert isinstance(error, Refused)
        assert error.reason == 0x90


def test_switched_off_it_takes_nothing_and_delivers_what_it_has() -> None:
    bench = DelayedBench()
    bench.publish("$delayed/5/a")
    bench.bounds["enabled"] = False
    bench.restart()
    (error,) = bench.publish("$delayed/5/b")
    assert isinstance(error, Refused)
    bench.wait(5)
    assert bench.watcher.topics == ["a"]


def test_half_of_a_surrogate_pair_does_not_reach_the_store(bench: DelayedBench) -> None:
    (error,) = bench.publish("$delayed/5/\ud800")
    assert isinstance(error, Refused)
    assert bench.paper.log == []


# -- delivery


def test_it_is_deleted_only_when_everybody_has_it_safe(bench: DelayedBench) -> None:
    keeper = Watcher(keeps=True)
    bench.broker.subscribe("a", keeper)
    bench.publish("$delayed/1/a")
    bench.wait(5)
    assert len(keeper.got) == 1
    assert list(bench.paper.rows) == [1]
    keeper.waiting[0](None)
    assert bench.paper.rows == {}


def test_after_a_crash_before_that_it_comes_again(bench: DelayedBench) -> None:
    bench.broker.subscribe("a", Watcher(keeps=True))
    bench.publish("$delayed/1/a")
    bench.wait(1)
    bench.restart()
    bench.desk.tick()
    assert bench.watcher.topics == ["a"]


def test_a_refusal_is_tried_again_without_repeats_for_others_and_given_up_in_the_end(bench: DelayedBench) -> None:
    full = Watcher(keeps=True)
    full.refusal = Refused("full", 0x97)
    bench.broker.subscribe("a", full)
    bench.publish("$delayed/1/a")
    bench.wait(10)
    assert (bench.watcher.got, full.got) == ([], [])
    assert bench.metrics.counts["delayed_repeats"] == 4
    full.refusal = None
    bench.wait(10)
    assert (bench.watcher.topics, full.topics) == (["a"], ["a"])
    full.waiting[0](None)
    full.refusal = Refused("full", 0x97)
    bench.publish("$delayed/1/a")
    bench.wait(1000)
    assert bench.metrics.drops == {"delayed_failed": 1}
    assert bench.metrics.counts["delayed_repeats"] == 4 + MAX_TRIES - 1
    assert bench.paper.rows == {}


def test_a_commit_that_fails_is_a_refusal_too(bench: DelayedBench) -> None:
    keeper = Watcher(keeps=True)
    bench.broker.subscribe("a", keeper)
    bench.publish("$delayed/1/a")
    bench.wait(1)
    keeper.waiting[0](Refused("no room on the disk", 0x97))
    assert list(bench.paper.rows) == [1]
    bench.wait(1)
    keeper.waiting[1](None)
    assert bench.paper.rows == {}


def test_no_more_than_a_bounded_number_is_under_way(bench: DelayedBench) -> None:
    keeper = Watcher(keeps=True)
    bench.broker.subscribe("#", keeper)
    for n in range(MAX_UNDER_WAY + 10):
        bench.publish("$delayed/1/a", b"%d" % n)
    bench.wait(5)
    assert len(keeper.got) == MAX_UNDER_WAY
    assert bench.desk.next_timer() is None
    for done in keeper.waiting[:4]:
        done(None)
    bench.desk.tick()
    assert [int(message.payload) for message in keeper.got] == list(range(MAX_UNDER_WAY + 4))


def test_a_closed_desk_takes_nothing_begins_nothing_and_still_deletes(bench: DelayedBench) -> None:
    keeper = Watcher(keeps=True)
    bench.broker.subscribe("a", keeper)
    bench.publish("$delayed/1/a")
    bench.publish("$delayed/2/b")
    bench.wait(1)
    bench.desk.close()
    (error,) = bench.publish("$delayed/1/a")
    assert isinstance(error, Refused)
    bench.wait(5)
    assert bench.watcher.topics == ["a"]
    keeper.waiting[0](None)
    assert list(bench.paper.rows) == [2]
