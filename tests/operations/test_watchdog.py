"""The watchdog is fed by progress, not by being alive."""

from __future__ import annotations

from typing import Any

from gateway.clock import FixedClock
from gateway.watchdog import STORE_PATIENCE, UPLINK_PATIENCE, Watchdog


class Store:
    """Counters as the test sets them."""

    def __init__(self) -> None:
        self.progress = 0
        self.busy = False


class Uplink:
    """A status as the test sets it."""

    def __init__(self, **status: Any) -> None:
        self.values = {"state": "up", "in_flight": 1, "acked": 0, **status}

    def status(self) -> dict[str, Any]:
        return self.values


def test_a_store_that_finishes_nothing_is_stuck() -> None:
    clock, store = FixedClock(), Store()
    watchdog = Watchdog(clock, store, {})
    store.busy = True
    assert watchdog.stuck() is None
    clock.advance(STORE_PATIENCE - 1)
    assert watchdog.stuck() is None
    store.progress += 1
    assert watchdog.stuck() is None
    clock.advance(STORE_PATIENCE)
    assert watchdog.stuck() == "the store has finished nothing for 20 s"


def test_a_store_with_nothing_to_do_is_well() -> None:
    clock = FixedClock()
    watchdog = Watchdog(clock, Store(), {})
    assert watchdog.stuck() is None
    clock.advance(1e6)
    assert watchdog.stuck() is None


def test_an_uplink_without_answers_is_stuck_and_one_that_is_away_is_not() -> None:
    clock = FixedClock()
    silent, away, caught_up = Uplink(), Uplink(state="down"), Uplink(in_flight=0)
    watchdog = Watchdog(clock, Store(), {"away": away, "caught_up": caught_up, "silent": silent})
    assert watchdog.stuck() is None
    clock.advance(UPLINK_PATIENCE)
    assert watchdog.stuck() == "uplink silent is connected and got no answer for 300 s"
    silent.values["acked"] = 5
    assert watchdog.stuck() is None


def test_a_wall_clock_step_moves_nothing() -> None:
    clock, store = FixedClock(), Store()
    watchdog = Watchdog(clock, store, {})
    store.busy = True
    assert watchdog.stuck() is None
    clock.step(1e9)
    assert watchdog.stuck() is None
