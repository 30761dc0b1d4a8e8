"""Even ticks, phases, and no burst after a delay."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.connectors.polling import Schedule


def test_first_poll_is_due_at_once_the_next_on_an_even_tick() -> None:
    schedule = Schedule(1.0, "boiler", now=100.3)
    assert schedule.wait(100.3) == 0
    ticks = []
    for _ in range(4):
        schedule.begin(schedule.next)
        schedule.finish()
        ticks.append(schedule.next)
    assert [round(b - a, 9) for a, b in zip(ticks, ticks[1:], strict=False)] == [1.0, 1.0, 1.0]
    assert 0.5 <= ticks[0] - 100.3 <= 1.5
    assert (schedule.due, schedule.done, schedule.late) == (4, 4, 0)


def test_devices_with_one_period_poll_at_different_moments() -> None:
    phases = set()
    for name in ("boiler", "pump", "meter", "fan"):
        schedule = Schedule(1.0, name, now=0.0)
        schedule.begin(0.0)
        phases.add(round(schedule.next % 1, 3))
    assert len(phases) == 4


def test_a_delay_skips_polls_and_makes_no_burst() -> None:
    schedule = Schedule(1.0, "boiler", now=0.0)
    schedule.begin(0.0)
    schedule.finish()
    late = schedule.next + 100.2
    schedule.begin(late)
    schedule.finish()
    assert (schedule.due, schedule.done, schedule.late) == (102, 2, 100)
    assert schedule.next > late


@given(st.floats(0.01, 1000), st.text(), st.floats(0, 1e7), st.lists(st.floats(0, 5), max_size=50))
def test_next_is_always_ahead_and_counts_add_up(period: float, name: str, now: float, delays: list[float]) -> None:
    schedule = Schedule(period, name, now)
    for begun, delay in enumerate(delays, 1):
        now = max(now, schedule.next) + delay * period
        schedule.begin(now)
        assert now < schedule.next <= now + 1.6 * period
        assert schedule.due == begun + schedule.late


def test_a_timer_that_fires_a_hair_early_does_not_poll_twice() -> None:
    schedule = Schedule(1.0, "boiler", now=0.0)
    schedule.begin(0.0)
    tick = schedule.next
    schedule.begin(tick - 1e-9)
    assert schedule.next == pytest.approx(tick + 1)
    assert schedule.late == 0
