"""What is published of the readings of a point: the table, and the rules that hold for any readings."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.connectors.base import Quality, Sample
from gateway.connectors.deadband import Deadband, Reporter, parse_deadband

AWAY = (1, Quality.STALE, "away")
BROKEN = (None, Quality.BAD, "x")


def doubted(value: Any) -> tuple[Any, Quality, str]:
    return value, Quality.UNCERTAIN, "x"


def sample(value: Any) -> Sample:
    """A value; or a (value, quality, reason)."""
    if isinstance(value, tuple):
        return Sample("p", value[0], value[1], 0.0, value[2])
    return Sample("p", value, Quality.GOOD, 0.0)


TABLE: list[tuple[str, float | str | None, float, float | None, list[Any], list[int]]] = [
    # what, deadband, min_interval, max_interval, readings one second apart, which of them are published
    ("no deadband: every reading", None, 0, None, [1, 1, 2, 2], [0, 1, 2, 3]),
    ("deadband 0: every change", 0, 0, None, [1, 1, 2, 2, 1], [0, 2, 4]),
    ("the first value", 100, 0, None, [5, 6, 7], [0]),
    ("the first value, 0", 100, 0, None, [0, 1, 2], [0]),
    ("the first value, false", 100, 0, None, [False, False, True], [0, 2]),
    ("from the last published, not from the last reading", 0.2, 0, None, [71.3, 71.4, 71.45, 71.5, 71.6], [0, 3]),
    ("a step of exactly the deadband", 0.2, 0, None, [71.3, 71.5, 71.3], [0, 1, 2]),
    ("down as up", 5, 0, None, [50, 46, 45, 41, 40], [0, 2, 4]),
    ("negative numbers", 5, 0, None, [-50, -46, -45, 0.5], [0, 2, 3]),
    ("to 0 within the deadband", 5, 0, None, [3, 1, 0, 0, 1], [0, 2]),
    ("0 and -0.0 and 0.0 are one", 5, 0, None, [3, 0, -0.0, 0.0], [0, 1]),
    ("true and false", 0, 0, None, [True, True, False, False, True], [0, 2, 4]),
    ("text", 0, 0, None, ["off", "off", "run"], [0, 2]),
    ("a number that becomes text", 5, 0, None, [1, "run", "run"], [0, 1]),
    ("percent of the last published", "10%", 0, None, [100, 109, 110, 120, 121, 100, 90], [0, 2, 4, 5, 6]),
    ("percent of a negative value", "10%", 0, None, [-100, -95, -90], [0, 2]),
    ("percent of 0: every change", "10%", 0, None, [0, 0, 0.001], [0, 2]),
    ("percent, to 0", "100%", 0, None, [5, 1, 0], [0, 2]),
    ("0 percent: every change", "0%", 0, None, [5, 5, 6], [0, 2]),
    ("stale once, and back with the same value", 100, 0, None, [1, AWAY, AWAY, 1], [0, 1, 3]),
    ("bad once, also without a deadband", None, 0, None, [1, BROKEN, BROKEN, 1], [0, 1, 3]),
    ("another reason", 100, 0, None, [BROKEN, (None, Quality.BAD, "y")], [0, 1]),
    ("uncertain values have a deadband too", 5, 0, None, [doubted(1), doubted(2), doubted(7)], [0, 2]),
    ("min_interval", None, 3, None, [1, 2, 3, 4, 5, 6, 7], [0, 3, 6]),
    ("min_interval and a deadband", 2, 3, None, [1, 9, 9, 9, 9, 9], [0, 3]),
    ("min_interval and back again", 2, 3, None, [1, 9, 1, 1, 1], [0]),
    ("min_interval does not hold back a quality", 0, 60, None, [1, AWAY, 1], [0, 1, 2]),
    ("min_interval does not hold back 0", 0, 60, None, [3, 2, 0, 1, 0], [0, 2]),
    ("min_interval does not hold back false", 0, 60, None, [True, False, True], [0, 1]),
    ("max_interval", 100, 0, 3, [1, 1, 1, 1, 1, 1, 1], [0, 3, 6]),
    ("max_interval is counted from any publication", 5, 0, 3, [1, 1, 9, 9, 9, 9], [0, 2, 5]),
    ("max_interval without a deadband", None, 0, 3, [1, 1, 1], [0, 1, 2]),
    ("max_interval of trouble", 5, 0, 2, [BROKEN, BROKEN, BROKEN], [0, 2]),
    ("both", 5, 2, 4, [1, 1, 1, 1, 1, 9, 9, 9], [0, 4, 6]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("deadband", "shortest", "longest", "readings", "published"),
    [row[1:] for row in TABLE],
    ids=[row[0] for row in TABLE],
)
def test_what_is_published(
    deadband: float | str | None, shortest: float, longest: float | None, readings: list[Any], published: list[int]
) -> None:
    reporter = Reporter(None if deadband is None else parse_deadband(deadband), shortest, longest)
    told = [second for second, value in enumerate(readings) if reporter.report(sample(value), 1000.0 + second)]
    assert told == published


def test_what_was_held_back_is_published_when_the_interval_is_over() -> None:
    """A value that changes once and then comes no more, as that of a subscription."""
    reporter = Reporter(Deadband(0.5), min_interval=10)
    assert reporter.next_timer() is None
    assert reporter.report(sample(1), 100)
    assert reporter.next_timer() is None
    assert not reporter.report(sample(2), 101)
    assert not reporter.report(sample(3), 102)
    assert reporter.next_timer() == 110
    assert reporter.on_timer(109.9) is None
    held = reporter.on_timer(110)
    assert held is not None and held.value == 3
    assert reporter.next_timer() is None and reporter.on_timer(200) is None
    assert not reporter.report(sample(3.2), 201)


def test_what_came_back_in_the_meantime_is_not_published() -> None:
    reporter = Reporter(Deadband(0.5), min_interval=10)
    reporter.report(sample(1), 100)
    reporter.report(sample(2), 101)
    reporter.report(sample(1), 102)
    assert reporter.next_timer() is None


def test_the_last_value_is_repeated_when_none_comes() -> None:
    reporter = Reporter(Deadband(0), max_interval=60)
    assert reporter.next_timer() is None  # nothing to repeat yet
    reporter.report(sample(1), 100)
    assert reporter.next_timer() == 160
    again = reporter.on_timer(160.5)
    assert again is not None and again.value == 1
    assert reporter.next_timer() == 220.5


def test_ticks_that_come_a_hair_early_are_counted() -> None:
    reporter = Reporter(Deadband(100), max_interval=10)
    reporter.report(sample(1), 0.0)
    assert not reporter.report(sample(1), 9.9)
    assert reporter.report(sample(1), 9.96)


@given(
    st.lists(st.integers(-5, 5) | st.floats(-5, 5) | st.booleans(), min_size=1, max_size=60),
    st.sampled_from([0, 0.5, 3, "10%", "100%"]),
    st.sampled_from([0, 3]),
)
def test_the_first_and_each_way_to_0_or_false_is_published(
    values: list[Any], deadband: float | str, shortest: float
) -> None:
    reporter = Reporter(parse_deadband(deadband), shortest)
    last: Any = None
    for second, value in enumerate(values):
        is_told = reporter.report(sample(value), second)
        if second == 0 or (value == 0 and last != 0):
            assert is_told
        last = value if is_told else last


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=60), st.floats(0.01, 50))
def test_what_is_seen_is_never_further_away_than_the_deadband(values: list[float], deadband: float) -> None:
    reporter = Reporter(Deadband(deadband))
    shown = values[0]
    for value in values:
        if reporter.report(sample(value), 0.0):
            shown = value
        assert abs(value - shown) < deadband


@pytest.mark.parametrize(
    ("given", "deadband"),
    [(0, Deadband(0)), (0.2, Deadband(0.2)), ("2%", Deadband(0.02, True)), ("0.5 %", Deadband(0.005, True))],
)
def test_deadbands_are_written_as_a_number_or_in_percent(given: float | str, deadband: Deadband) -> None:
    assert parse_deadband(given) == deadband


@pytest.mark.parametrize("given", [-1, "2", "%", "-1%", "101%", "2%%", "2% of it", "nan%", ""])
def test_other_deadbands_are_refused(given: float | str) -> None:
    with pytest.raises(ValueError, match=r'percentage such as "2%"'):
        parse_deadband(given)


@given(
    st.lists(
        st.sampled_from([0, 1, 1.5, 2, 9, False, True, "run", AWAY, BROKEN, doubted(1), (None, Quality.BAD, "y")]),
        max_size=12,
    ),
    st.sampled_from([None, 0.0, 1.0, "50%"]),
    st.sampled_from([0.0, 3.0]),
    st.sampled_from([None, 4.0]),
)
def test_the_verdict_is_what_is_done(
    values: list[Any], deadband: float | str | None, shortest: float, longest: float | None
) -> None:
    reporter = Reporter(None if deadband is None else parse_deadband(deadband), shortest, longest)
    for now, value in enumerate(values):
        reading = sample(value)
        verdict = reporter.verdict(reading, now)
        assert reporter.report(reading, now) is verdict.is_published
        assert verdict.reason
        standing = reporter.standing(reading, now + 0.5)
        assert standing.is_published is verdict.is_published
        assert (reporter.published is reading) is verdict.is_published


def test_the_verdict_in_words() -> None:
    reporter = Reporter(parse_deadband(0.2), 3.0, 60.0)
    first, near, far = sample(71.3), sample(71.4), sample(72.0)
    assert reporter.verdict(first, 0).reason == "it is the first value"
    reporter.report(first, 0)
    assert reporter.verdict(near, 1).reason == "it has not left the deadband of 0.2 around 71.3"
    assert reporter.verdict(far, 1).reason == "held back by min_interval = 3 s for 2.0 s more"
    assert reporter.verdict(far, 4).reason == "it has left the deadband of 0.2 around 71.3"
    assert reporter.verdict(near, 60).reason == "max_interval = 60 s is over"
    assert reporter.verdict(sample(0), 1).reason == "it has become 0 or false"
    assert reporter.verdict(sample(BROKEN), 1).reason == "the quality was good"
    reporter.report(far, 1)
    assert reporter.standing(far, 2).reason == "held back by min_interval = 3 s for 1.0 s more"
