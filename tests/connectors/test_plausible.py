"""Which readings can be true, and what a counter has counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.connectors.base import Quality
from gateway.connectors.counter import BACKWARDS, RESET, Counter
from gateway.connectors.plausible import FINE, Bounds, Plausible

GOOD, UNCERTAIN, BAD = Quality.GOOD, Quality.UNCERTAIN, Quality.BAD


def judged(plausible: Plausible, readings: Sequence[tuple[float, Any]]) -> list[Quality]:
    return [plausible.judge(value, now)[0] for now, value in readings]


@pytest.mark.parametrize(("value", "quality"), [(-40, GOOD), (125, GOOD), (0, GOOD), (-40.1, BAD), (1e9, BAD)])
def test_the_range_includes_its_ends(value: float, quality: Quality) -> None:
    assert Plausible(Bounds(-40, 125)).judge(value, 0.0)[0] is quality


def test_each_reason_is_said_in_words() -> None:
    plausible = Plausible(Bounds(-40, 125), rate=5, flat_for=60)
    assert plausible.judge(200, 0.0) == (BAD, "outside -40 to 125")
    assert plausible.judge(20, 1.0) == FINE
    assert plausible.judge(26, 2.0) == (UNCERTAIN, "changes by more than 5 in a second")
    assert plausible.judge(20, 3.0) == FINE
    assert plausible.judge(20, 70.0) == (UNCERTAIN, "has not changed for 60 s")


def test_one_wild_value_does_not_spoil_the_next() -> None:
    assert judged(Plausible(rate=5), [(0, 20), (1, 90), (2, 21), (3, 22)]) == [GOOD, UNCERTAIN, GOOD, GOOD]


def test_a_true_step_is_good_when_there_was_time_for_it() -> None:
    readings = [(0, 20), *((second, 40) for second in range(1, 6))]
    assert judged(Plausible(rate=5), readings) == [GOOD, UNCERTAIN, UNCERTAIN, UNCERTAIN, GOOD, GOOD]


def test_a_value_outside_the_range_is_not_what_the_next_is_compared_with() -> None:
    assert judged(Plausible(Bounds(0, 100), rate=5), [(0, 20), (1, 3000), (2, 21)]) == [GOOD, BAD, GOOD]


def test_exactly_the_rate_is_allowed() -> None:
    assert judged(Plausible(rate=0.1), [(0, 0.1), (1, 0.2), (2, 0.1)]) == [GOOD, GOOD, GOOD]


def test_a_flat_line_ends_with_any_change() -> None:
    readings = [(0, 5), (9, 5), (10, 5), (11, 5.001), (20, 5.001), (21, 5.001)]
    assert judged(Plausible(flat_for=10), readings) == [GOOD, GOOD, UNCERTAIN, GOOD, GOOD, UNCERTAIN]


@pytest.mark.parametrize("value", [True, "run", None, [1, 2]])
def test_what_is_no_number_is_not_judged(value: Any) -> None:
    plausible = Plausible(Bounds(5, 6), 0.1, 0.1)
    assert plausible.judge(value, 0.0) == FINE and plausible.judge(value, 9.0) == FINE


def totals(counter: Counter, counts: list[float], step: float = 1.0) -> list[float]:
    return [counter.total(count, number * step)[0] for number, count in enumerate(counts)]


def test_the_first_total_is_the_count_of_the_device() -> None:
    assert Counter(65536).total(1234, 0.0) == (1234, FINE)


@pytest.mark.parametrize("span", [1 << 16, 1 << 32, 1_000_000])
def test_a_wrap_is_counted_on(span: int) -> None:
    counter = Counter(span)
    assert totals(counter, [span - 10, span - 1, 0, 5, span // 2, span - 1, 3]) == [
        span - 10, span - 1, span, span + 5, span + span // 2, 2 * span - 1, 2 * span + 3,
    ]  # fmt: skip


def test_a_reset_goes_on_from_where_it_was_and_says_so() -> None:
    counter = Counter(1 << 32)
    assert counter.total(5000, 0.0) == (5000, FINE)
    assert counter.total(7, 1.0) == (5007, RESET)
    assert counter.total(9, 2.0) == (5009, FINE)


def test_a_rate_tells_a_reset_from_a_wrap() -> None:
    """From 60000 to 100 is 5636 over the end of 16 bits: not in a second when 10 is the most."""
    assert totals(Counter(65536), [60_000, 100]) == [60_000, 65_636]
    assert totals(Counter(65536, rate=10), [60_000, 100]) == [60_000, 60_100]
    assert totals(Counter(65536, rate=10), [60_000, 100], step=600) == [60_000, 65_636]


def test_a_count_that_goes_back_a_little_is_doubted_and_then_believed() -> None:
    counter = Counter(1 << 32)
    counter.total(1000, 0.0)
    told = [counter.total(count, 1.0 + count) for count in (990, 991, 992, 993)]
    assert told == [(1000, BACKWARDS), (1000, BACKWARDS), (1000, BACKWARDS), (1001, FINE)]


def test_one_wrong_reading_does_not_change_the_total() -> None:
    assert totals(Counter(1 << 32), [1000, 900, 1001, 1002]) == [1000, 1000, 1001, 1002]


@given(st.sampled_from([1 << 16, 1 << 32]), st.lists(st.integers(0, 30_000), max_size=50), st.integers(0, 65535))
def test_steps_below_half_the_span_add_up_over_any_wraps(span: int, steps: list[int], start: int) -> None:
    counter, true = Counter(span), start
    assert counter.total(start, 0.0)[0] == start
    for second, step in enumerate(steps, 1):
        true += step
        assert counter.total(true % span, float(second)) == (true, FINE)


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=50))
def test_the_total_never_goes_back_whatever_the_device_says(counts: list[int]) -> None:
    seen = totals(Counter(65536), list(counts))
    assert seen == sorted(seen)
