"""Delayed messages over time: alarms, restarts, clocks that are wrong; and what people see and take out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.delayed_bench import DelayedBench, Watcher


@pytest.fixture
def bench() -> DelayedBench:
    return DelayedBench()


# -- waking up


def test_an_alarm_is_set_for_what_is_due_before_the_next_tick(bench: DelayedBench) -> None:
    alarms: list[float] = []
    woken: list[Callable[[], None]] = []

    def alarm(seconds: float, call: Callable[[], None]) -> None:
        alarms.append(seconds)
        woken.append(call)

    bench.desk.alarm = alarm
    bench.publish("$delayed/5/a")
    assert alarms == []
    bench.publish("$delayed/0.5/b")
    bench.publish("$delayed/0.75/c")
    assert alarms == [0.5]
    bench.clock.advance(0.5)
    woken[0]()
    assert bench.watcher.topics == ["b"]
    assert alarms == [0.5, 0.25]
    bench.clock.advance(0.25)
    woken[1]()
    assert bench.watcher.topics == ["b", "c"]
    assert alarms == [0.5, 0.25]


# -- restart


def test_a_restart_does_not_make_a_delay_longer(bench: DelayedBench) -> None:
    bench.publish("$delayed/100/a")
    bench.wait(30)
    bench.restart(after=40)
    bench.wait(29)
    assert bench.watcher.got == []
    bench.wait(1)
    assert bench.watcher.topics == ["a"]


def test_late_ones_come_at_the_start_in_the_order_in_which_they_were_due(bench: DelayedBench) -> None:
    bench.publish("$delayed/30/third")
    bench.publish("$delayed/10/first")
    bench.publish("$delayed/1800000020/second")
    bench.publish("$delayed/30/fourth")
    bench.restart(after=1000)
    bench.desk.tick()
    assert bench.watcher.topics == ["first", "second", "third", "fourth"]


def test_a_start_without_the_time_waits_in_full_until_the_clock_is_set(bench: DelayedBench) -> None:
    bench.publish("$delayed/100/a")
    bench.publish("$delayed/1000/b")
    bench.clock.step(-1_800_000_000)
    bench.restart(after=60)
    bench.wait(39)
    assert bench.watcher.got == []
    bench.clock.step(1_800_000_000)
    bench.wait(1)
    assert bench.watcher.topics == ["a"]
    bench.wait(899)
    assert bench.watcher.topics == ["a"]
    bench.wait(1)
    assert bench.watcher.topics == ["a", "b"]


def test_a_start_that_never_learns_the_time_counts_from_itself(bench: DelayedBench) -> None:
    bench.publish("$delayed/100/a")
    bench.paper.known = False
    bench.restart(after=1000)
    bench.wait(99)
    assert bench.watcher.got == []
    bench.wait(1)
    assert bench.watcher.topics == ["a"]


def test_numbers_go_on_after_a_restart_and_none_comes_twice(bench: DelayedBench) -> None:
    bench.publish("$delayed/100/a")
    bench.publish("$delayed/100/b")
    bench.desk.cancel(2)
    bench.restart()
    bench.publish("$delayed/100/c")
    assert [entry.id for entry, _ in bench.desk.waiting()] == [1, 3]


# -- for people


def test_waiting_and_cancel(bench: DelayedBench) -> None:
    bench.publish("$delayed/20/b")
    bench.publish("$delayed/1800000010/a")
    now = bench.clock.now()
    assert [(entry.message.topic, due) for entry, due in bench.desk.waiting()] == [("a", now + 10), ("b", now + 20)]
    cancelled = bench.desk.cancel(2)
    assert cancelled is not None
    assert list(bench.paper.rows) == [1]
    assert bench.desk.cancel(2) is None
    bench.wait(30)
    assert bench.watcher.topics == ["b"]


def test_what_is_under_way_or_not_on_disk_yet_cannot_be_cancelled(bench: DelayedBench) -> None:
    bench.broker.subscribe("a", Watcher(keeps=True))
    bench.publish("$delayed/1/a")
    bench.wait(1)
    assert bench.desk.cancel(1) is None
    bench.paper.auto = False
    bench.publish("$delayed/1/a")
    assert bench.desk.cancel(2) is None
    assert bench.desk.cancel(99) is None


STEPS = st.one_of(
    st.tuples(st.just("delay"), st.integers(0, 40)),
    st.tuples(st.just("moment"), st.integers(0, 40)),
    st.tuples(st.just("wait"), st.integers(1, 30)),
    st.tuples(st.just("restart"), st.integers(0, 30)),
    st.tuples(st.just("cancel"), st.integers(1, 10)),
)


@given(st.lists(STEPS, max_size=30))
def test_each_comes_once_never_early_and_at_most_a_tick_late(steps: list[tuple[str, int]]) -> None:
    bench = DelayedBench()
    begin = bench.clock.now()
    due: dict[bytes, float] = {}
    came: dict[bytes, float] = {}
    off: list[tuple[float, float]] = []

    def look() -> None:
        for message in bench.watcher.got:
            assert message.payload not in came, "twice"
            came[message.payload] = bench.clock.now()
        bench.watcher.got.clear()

    for what, n in steps:
        now = bench.clock.now()
        name = b"%d" % (len(due) + 1)
        if what == "delay":
            due[name] = now + n
            bench.publish(f"$delayed/{n}/t", name)
        elif what == "moment":
            due[name] = now + n
            bench.publish(f"$delayed/{1_800_000_000 + now - begin + n}/t", name)
        elif what == "cancel":
            if bench.desk.cancel(n) is not None:
                due[b"%d" % n] = float("inf")
        elif what == "restart":
            look()
            bench.restart(after=n)
            off.append((now, now + n))
            bench.desk.tick()
            look()
        else:
            for _ in range(n):
                bench.wait(1)
                look()
    for _ in range(100):
        bench.wait(1)
        look()
    for name, at in due.items():
        if at == float("inf"):
            assert name not in came
            continue
        awake = next((end for start, end in off if start <= at < end), at)
        assert at <= came[name] <= awake + 1
    assert bench.desk.status() == {"count": 0, "bytes": 0, "under_way": 0}
