"""What is held back, thinned and let go, level by level."""

from __future__ import annotations

from collections import deque

import pytest

from gateway.outbound import Row
from gateway.uplinks.budget import Allowance, Budget
from gateway.uplinks.thrift import BURST, GATHER, MINUTE, Thrift
from uplinks.bench import row

DAY = 1_800_000_000.0
"""A whole minute."""


def thrift(level: int, *rows: Row) -> Thrift:
    made = Thrift()
    made.level = level
    for one in rows:
        made.note(one)
    return made


def test_without_need_everything_goes() -> None:
    assert thrift(0).wait(row(1, time=DAY), DAY, 0.0) == 0.0


def test_bursts() -> None:
    saving = thrift(1)
    one = row(1, time=DAY)
    assert saving.wait(one, DAY, 100.0) == 0.0
    assert saving.wait(one, DAY, 100.0 + BURST / 2) == 0.0
    assert saving.wait(one, DAY, 102.0) == GATHER - 2.0
    assert saving.wait(one, DAY, 100.0 + GATHER) == 0.0


def test_the_last_of_a_minute_goes_when_the_minute_is_over() -> None:
    first, other, last, following = (
        row(1, "plant/a", time=DAY + 1),
        row(2, "plant/b", time=DAY + 2),
        row(3, "plant/a", time=DAY + 59),
        row(4, "plant/a", time=DAY + 61),
    )
    saving = thrift(2, first, other, last, following)
    assert saving.wait(first, DAY + 62, 100.0) is None
    assert saving.wait(other, DAY + 30, 100.0) == 30.0
    assert saving.wait(last, DAY + 59.5, 100.0) == 0.5
    assert saving.wait(last, DAY + MINUTE, 100.0) == 0.0
    assert saving.wait(following, DAY + 62, 100.0) == 58.0


def test_a_clock_that_was_set_back_holds_nothing() -> None:
    one = row(1, time=DAY + 3600)
    assert thrift(2, one).wait(one, DAY, 100.0) == 0.0


def test_nothing_goes_on_the_last_level() -> None:
    assert thrift(3).wait(row(1, time=DAY), DAY + 3600, 100.0) == MINUTE


def test_what_has_gone_is_forgotten() -> None:
    one = row(1, time=DAY)
    saving = thrift(2, one)
    saving.gone(one)
    saving.forget()
    assert saving._last == {}


@pytest.mark.parametrize("step", [1.0, 7.0])
def test_a_plant_of_ten_topics_is_thinned_to_a_row_a_minute(step: float) -> None:
    """Whatever is thinned, the last row of every topic and minute goes, in order, and none of them late."""
    saving = thrift(2)
    queue: deque[Row] = deque()
    sent: list[tuple[Row, float]] = []
    seq, time = 0, DAY
    while time < DAY + 600:
        for topic in range(10):
            seq += 1
            queue.append(row(seq, f"plant/{topic}", time=time))
            saving.note(queue[-1])
        while queue:
            wait = saving.wait(queue[0], time, time)
            if wait:
                break
            one = queue.popleft()
            saving.gone(one)
            if wait is not None:
                sent.append((one, time))
        time += step
    # The last two minutes may be under way still.
    whole = [(one, at) for one, at in sent if one.time < DAY + 480]
    assert len(whole) == 10 * 8
    assert [one.seq for one, _ in whole] == sorted(one.seq for one, _ in whole)
    assert all(at - one.time <= MINUTE + GATHER + step for one, at in whole)
    assert all((one.time + step) // MINUTE > one.time // MINUTE for one, _ in whole), "the last of its minute"


@pytest.mark.parametrize(("budget", "most"), [(8_000_000, 0), (4_000_000, 1), (1_800_000, 2), (1_000_000, 3)])
def test_two_days_with_a_budget(budget: int, most: int) -> None:
    """Budget and thrift together, in virtual time: no day is over its budget, and every alarm goes at once.

    A row costs 100 bytes; a segment with what it carries and the answer to it 200 more, of which a burst needs one for
    ten rows. There are eight topics, a row of each in ten seconds: 6.9 MB for rows and 0.4 MB for keep-alive a day.
    """
    spent = Budget(Allowance(budget, "day"), [], DAY - DAY % 86_400)
    saving = Thrift()
    queue: deque[Row] = deque()
    alarms = seq = 0
    days: dict[float, int] = {}
    levels: set[int] = set()
    begin = DAY - DAY % 86_400
    for now in range(0, 2 * 86_400, 10):
        time = begin + now
        used = 47  # keep-alive
        if now % 3600 == 0:
            alarms += 1
            used += 300
        for topic in range(8):
            seq += 1
            queue.append(row(seq, f"plant/{topic}", time=time))
            if saving.thins:
                saving.note(queue[-1])
        rows = 0
        while queue:
            wait = saving.wait(queue[0], time, now)
            if wait:
                break
            saving.gone(queue.popleft())
            rows += wait is not None
        if saving.level >= 3:
            queue.clear()  # what waits in the outbox is thinned there
        used += rows * 100 + (200 * -(-rows // 10) if saving.level else 0)
        spent.add(used, time, now, now)
        days[spent.begin] = spent.used
        levels.add(spent.level)
        if spent.level != saving.level:
            saving.level = spent.level
            saving.forget()
    assert len(days) == 2
    assert max(days.values()) <= budget
    assert max(levels) >= most
    assert alarms == 2 * 24
