"""How long a mute unit is left alone."""

from __future__ import annotations

import pytest

from gateway.connectors.breaker import LONGEST_WAIT, Breaker


def mute(timeout: float, seconds: float, is_alone: bool, random: float = 0.0) -> list[tuple[float, float]]:
    """Ask a mute unit whenever allowed, for a while; (when, time limit) of each question."""
    breaker, now, asked = Breaker(lambda: random), 0.0, []
    while now < seconds:
        if breaker.may_ask(now):
            limit = breaker.time_limit(timeout)
            asked.append((now, limit))
            now += limit
            breaker.timed_out(now, limit, is_alone)
        now += 0.01
    return asked


def test_one_time_out_does_not_open() -> None:
    breaker = Breaker(lambda: 0.0)
    breaker.timed_out(1.0, 1.0, is_alone=True)
    assert not breaker.is_open and breaker.may_ask(1.0) and breaker.time_limit(1.0) == 1.0


def test_two_time_outs_open_and_the_probe_is_short() -> None:
    breaker = Breaker(lambda: 0.0)
    for now in (1.0, 2.0):
        breaker.timed_out(now, 1.0, is_alone=True)
    assert breaker.is_open
    assert not breaker.may_ask(2.99) and breaker.may_ask(3.0)
    assert breaker.time_limit(1.0) == 0.25


def test_an_answer_closes() -> None:
    breaker = Breaker(lambda: 0.0)
    for now in (1.0, 2.0, 3.0):
        breaker.timed_out(now, 1.0, is_alone=False)
    breaker.answered()
    assert not breaker.is_open and breaker.may_ask(3.0) and breaker.time_limit(1.0) == 1.0


def test_probes_grow_back_to_the_full_time_out_for_units_that_are_only_slow() -> None:
    limits = [limit for _, limit in mute(1.0, 60, is_alone=True)]
    assert limits[:6] == [1.0, 1.0, 0.25, 0.5, 1.0, 1.0]


def test_waits_double_to_the_longest_with_jitter_on_top() -> None:
    asked = mute(0.1, 1000, is_alone=True, random=1.0)
    waits = [round(after - before - limit, 1) for (before, limit), (after, _) in zip(asked, asked[1:], strict=False)]
    assert waits[2:8] == [2.5, 5, 10, 20, 40, 75]
    assert max(waits) == LONGEST_WAIT * 1.25


@pytest.mark.parametrize("timeout", [0.1, 1.0, 5.0, 60.0])
def test_among_others_a_mute_unit_takes_at_most_a_fifth_of_the_bus(timeout: float) -> None:
    asked = mute(timeout, 2000, is_alone=False)
    for count in range(1, len(asked)):
        used = sum(limit for _, limit in asked[:count])
        assert used <= 0.2 * asked[count][0] + 1e-9
