"""What is known of a point, and what is reported."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.connectors.base import Quality, Sample
from gateway.connectors.deadband import Deadband, Reporter
from gateway.connectors.points import LastKnown, WriteLimits


def good(value: Any) -> Sample:
    return Sample("p", value, Quality.GOOD, 0.0)


def reported(deadband: float | None, values: list[Any]) -> list[Any]:
    reporter = Reporter(None if deadband is None else Deadband(deadband))
    return [value for value in values if reporter.report(good(value), 0.0)]


def test_without_a_deadband_every_reading_is_reported() -> None:
    assert reported(None, [1, 1, 1]) == [1, 1, 1]


def test_deadband_zero_reports_changes() -> None:
    assert reported(0, [1, 1, 2, 2, 1]) == [1, 2, 1]
    assert reported(0, [False, False, True, True, False]) == [False, True, False]
    assert reported(0, ["a", "a", "b"]) == ["a", "b"]


def test_deadband_is_measured_from_the_last_report_not_from_the_last_reading() -> None:
    assert reported(0.2, [71.3, 71.4, 71.45, 71.5, 71.6]) == [71.3, 71.5]


def test_a_step_of_exactly_the_deadband_counts_in_binary_too() -> None:
    assert reported(0.2, [71.3, 71.5, 71.3]) == [71.3, 71.5, 71.3]


def test_first_value_and_the_way_to_zero_are_always_reported() -> None:
    assert reported(5, [0, 1, 2]) == [0]
    assert reported(5, [3, 0, 0, 1]) == [3, 0]
    assert reported(5, [True, False]) == [True, False]


def test_change_of_quality_is_always_reported_and_once() -> None:
    reporter = Reporter(Deadband(100))
    samples = [good(1), Sample("p", 1, Quality.STALE, 0.0, "away"), Sample("p", 1, Quality.STALE, 0.0, "away"), good(1)]
    assert [reporter.report(sample, 0.0) for sample in samples] == [True, True, False, True]


def test_a_value_is_stale_after_three_missed_polls_and_says_so_once() -> None:
    known = LastKnown("p", poll=1.0, stale_after=3)
    known.good(71.3, time=500.0, now=10.0)
    assert known.missed("away", 501.0, 11.0) is None
    assert known.missed("away", 502.0, 12.01) is None
    stale = known.missed("away", 503.0, 12.99)
    assert stale is not None
    assert (stale.value, stale.quality, stale.time, stale.reason) == (71.3, Quality.STALE, 500.0, "away")
    assert known.missed("away", 504.0, 14.0) is None
    assert known.good(71.4, 505.0, 15.0).quality is Quality.GOOD


def test_a_point_never_seen_is_bad_after_three_missed_polls() -> None:
    known = LastKnown("p", poll=1.0, stale_after=3)
    samples = [known.missed("away", now, now) for now in (0.0, 1.0, 2.0, 3.0, 4.0)]
    told = [sample for sample in samples if sample is not None]
    assert [(sample.value, sample.quality, sample.time) for sample in told] == [(None, Quality.BAD, 3.0)]


def test_a_bad_point_does_not_become_stale() -> None:
    known = LastKnown("p", poll=1.0, stale_after=1)
    known.good(1, 0.0, 0.0)
    bad = known.bad("exception 2", 1.0)
    assert bad is not None and bad.value is None
    assert known.bad("exception 2", 2.0) is None
    assert known.missed("away", 9.0, 9.0) is None


@pytest.mark.parametrize(
    ("value", "is_fine"),
    [(0, True), (90, True), (-1, False), (90.1, False), (True, False), ("5", False), (10**400, False)],
)
def test_limits_include_their_ends_and_know_numbers(value: Any, is_fine: bool) -> None:
    assert (WriteLimits(min=0, max=90).refusal(value) is None) is is_fine


def test_limits_that_leave_nothing_are_a_problem() -> None:
    assert list(WriteLimits(min=5, max=1).problems()) == [("max", "must be at least min, which is 5")]
    assert WriteLimits().refusal("anything") is None
