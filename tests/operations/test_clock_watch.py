"""What the gateway takes for the time: states, steps, and a clock that goes on where the machine's was lost."""

from __future__ import annotations

import pytest

from gateway.clock import EARLIEST, FixedClock, SteadyClock
from gateway.clock_watch import ClockState, ClockWatch, Step

UNSET, ESTIMATED, SYNCHRONISED = ClockState
NOON = 1_800_000_000.0
YEARS_50 = 50 * 365.25 * 86_400
HOUR = 3600.0


class Machine:
    """Both clocks of a machine, with a watch on them."""

    def __init__(self, time: float, seen: float = 0.0, trust: bool = False) -> None:
        self.clock = FixedClock(time=time, now=100.0)
        self.synchronised: bool | None = False
        self.watch = ClockWatch(100.0, time, seen, trust)
        self.look(0)

    def look(self, seconds: float = 1.0, step: float = 0.0, synchronised: bool | None = None) -> bool:
        self.clock.advance(seconds)
        self.clock.step(step)
        self.synchronised = self.synchronised if synchronised is None else synchronised
        return self.watch.look(self.clock.now(), self.clock.time(), self.synchronised)

    @property
    def time(self) -> float:
        return self.clock.now() + self.watch.offset


def test_a_board_without_a_battery_is_unset_until_a_time_server_answers() -> None:
    board = Machine(time=12.0)
    assert (board.watch.state, board.time) == (UNSET, 12.0)
    assert not board.look()
    assert board.look(1, step=NOON, synchronised=True)
    assert (board.watch.state, board.time) == (SYNCHRONISED, NOON + 14)
    assert board.watch.step == Step(102.0, NOON, UNSET)


def test_without_a_battery_time_goes_on_from_what_was_seen() -> None:
    board = Machine(time=12.0, seen=NOON)
    assert (board.watch.state, board.time) == (UNSET, NOON)
    board.look(60)
    assert board.time == NOON + 60
    assert board.watch.deviation == pytest.approx(12.0 - NOON, abs=1e-6)


def test_a_clock_before_what_was_seen_is_not_believed_until_it_is_synchronised() -> None:
    board = Machine(time=NOON - HOUR, seen=NOON)
    assert (board.watch.state, board.time) == (UNSET, NOON)
    assert board.look(0, synchronised=True)
    assert (board.watch.state, board.time) == (SYNCHRONISED, NOON - HOUR)


def test_a_clock_that_is_set_and_not_synchronised_is_an_estimate() -> None:
    board = Machine(time=NOON + 5, seen=NOON)
    assert (board.watch.state, board.time) == (ESTIMATED, NOON + 5)
    assert board.look(1, step=30)
    assert (board.watch.state, board.time) == (ESTIMATED, NOON + 36)
    assert board.look(1, step=-HOUR)
    assert (board.watch.state, board.time) == (UNSET, NOON + 37)  # goes on, and not back


def test_once_synchronised_only_a_synchronised_clock_moves_it() -> None:
    board = Machine(time=NOON)
    board.look(1, synchronised=True)
    assert not board.look(1, step=YEARS_50, synchronised=False)
    assert (board.watch.state, board.time, board.watch.deviation) == (SYNCHRONISED, NOON + 2, YEARS_50)
    assert not board.look(1, step=-YEARS_50, synchronised=True)
    assert board.look(1, step=-HOUR)
    assert board.time == NOON + 4 - HOUR
    assert board.watch.step == Step(104.0, -HOUR, SYNCHRONISED)


def test_a_machine_that_cannot_say_or_is_trusted_is_right_once_it_is_set() -> None:
    board = Machine(time=EARLIEST - 2, trust=True)
    assert board.watch.state is UNSET
    assert board.look(3)
    assert board.watch.state is SYNCHRONISED
    board = Machine(time=NOON)
    board.synchronised = None
    assert board.look()
    assert board.watch.state is SYNCHRONISED


def test_reading_two_clocks_takes_time_and_is_no_step() -> None:
    board = Machine(time=NOON)
    for jitter in (0.004, -0.008, 0.004) * 20:
        assert not board.look(1, step=jitter)
    assert board.time == pytest.approx(NOON + 60, abs=1e-6)
    assert board.watch.step is None
    # What is small and stays adds up to a step.
    assert [board.look(1, step=0.004) for _ in range(3)].count(True) == 1


def test_nothing_grows_older_by_a_step_forward() -> None:
    board = Machine(time=NOON)
    board.look(1, step=HOUR)
    assert board.watch.least == NOON - 100
    board.look(1, step=HOUR, synchronised=True)
    assert board.watch.least == NOON + 2 * HOUR - 100  # the first that somebody vouches for
    board.look(1, step=YEARS_50)
    assert board.watch.least == NOON + 2 * HOUR - 100
    board.look(1, step=-YEARS_50 - HOUR)
    assert board.watch.least == NOON + HOUR - 100


def test_the_gateways_clock_follows_no_step_by_itself() -> None:
    machine = FixedClock(time=NOON, now=100.0)
    clock = SteadyClock(machine)
    machine.advance(5)
    machine.step(-HOUR)
    assert (clock.now(), clock.time(), clock.read()) == (105.0, NOON + 5, (105.0, NOON + 5 - HOUR))
    clock.offset -= HOUR
    assert clock.time() == NOON + 5 - HOUR
    clock.least = clock.offset
    assert clock.surely(200.0) == NOON + 100 - HOUR
