"""Even ticks, phases, and no burst after a delay."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.connectors.polling import Rates, Schedule


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


def polled(rates: Rates, now: float, seconds: float) -> list[tuple[float, tuple[str, ...]]]:
    """What is polled when, from ``now`` on, by someone who is never late."""
    told, end = [], now + seconds
    while (now := now + rates.wait(now)) < end:
        told.append((now, rates.begin(now)))
        rates.finish()
    return told


def test_each_point_is_polled_at_its_own_rate_and_slow_ones_together_with_fast_ones() -> None:
    rates = Rates("meter", {"power": 1.0, "energy": 10.0, "current": 1.0}, 1000.0)
    told = polled(rates, 1000.0, 100.0)
    assert told[0] == (1000.0, ("power", "current", "energy"))
    ticks = told[1:]
    assert all("power" in names for _, names in ticks)
    assert [round(after - before, 6) for (before, _), (after, _) in zip(ticks, ticks[1:], strict=False)] == [1.0] * (
        len(ticks) - 1
    )
    slow = [now for now, names in ticks if "energy" in names]
    assert 9 <= len(slow) <= 10
    assert rates.status() == {"due": len(told) + 1 + len(slow), "done": len(told) + 1 + len(slow), "late": 0}


def test_slow_polls_of_many_devices_are_spread_over_the_ticks() -> None:
    seconds = set()
    for number in range(20):
        told = polled(Rates(f"meter{number}", {"p": 1.0, "e": 10.0}, 0.0), 0.0, 40.0)
        seconds.add(int([now for now, names in told if "e" in names][-1] % 10))
    assert len(seconds) >= 6


def test_a_phase_that_is_given_is_kept_and_devices_can_be_told_apart_by_it() -> None:
    for phase in (0.0, 0.25, 7.75):
        rates = Rates("meter", {"p": 1.0, "e": 10.0}, 1000.3, phase)
        ticks = polled(rates, 1000.3, 50.0)[1:]
        assert {round(now % 1, 6) for now, _ in ticks} == {phase % 1}
        assert {round(now % 10, 6) for now, names in ticks if "e" in names} == {phase % 10}


def test_nothing_is_due_before_its_time_and_nothing_to_poll_is_no_hurry() -> None:
    rates = Rates("meter", {"p": 10.0}, 0.0)
    assert rates.begin(0.0) == ("p",)
    assert rates.begin(0.1) == ()
    rates.finish()
    assert rates.done == 0
    rates.restart(0.2)
    assert rates.begin(0.2) == ("p",)
    assert Rates("meter", {}, 0.0).wait(5.0) == 3600.0


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.sampled_from([0.01, 0.3, 1.0, 2.5, 10.0, 60.0, 61.0]), min_size=1),
    st.text(max_size=5),
    st.floats(0, 1e6),
    st.none() | st.floats(0, 100),
    st.lists(st.floats(0, 3), min_size=1, max_size=40),
)
def test_each_point_comes_again_within_its_period_and_no_tick_is_taken_twice(
    polls: dict[str, float], name: str, now: float, phase: float | None, delays: list[float]
) -> None:
    rates = Rates(name, polls, now, phase)
    assert set(rates.begin(now)) == set(polls)
    seen = dict.fromkeys(polls, now)
    counts = dict.fromkeys(polls, 1)
    start = now
    for delay in delays:
        asked = now
        now += rates.wait(now) + delay
        names = rates.begin(now)
        assert names and len(set(names)) == len(names)
        for point in names:
            # Not later than a period and a half, or than whoever polls is late.
            assert now - seen[point] <= polls[point] * 1.5 + delay + (now - asked) + 0.01
            seen[point] = now
            counts[point] += 1
        for point, period in polls.items():
            assert counts[point] <= (now - start) / period + 2.51
    assert rates.late <= rates.due
