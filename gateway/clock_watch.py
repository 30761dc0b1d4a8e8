"""How far the wall clock can be believed: its state, its steps, and what is said instead of it while it is not set.

Pure: it is given readings of both clocks about once a second, and whether the machine's clock is synchronised. What
it says is an ``offset`` to the monotonic clock:

- *synchronised*: the machine's clock, which a time source has set in this start. From then on only a synchronised
  clock moves it: what somebody sets by hand meanwhile is not followed, and a time source that is away costs the drift
  of the oscillator, a second or two a day.
- *estimated*: the machine's clock, which nobody vouches for, but which is not before what was seen already.
- *unset*: the machine's clock is before 2024, or before what was seen already. Time goes on from the last moment that
  is known, and is so never later than it really is; where none is known, it is what the machine says, but not back.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

from gateway.clock import EARLIEST, UNLIMITED

GRAIN: Final = 0.01
"""Seconds. A smaller difference between two looks is how long it takes to read two clocks."""


class ClockState(StrEnum):
    """See the module's docstring."""

    UNSET = "unset"
    ESTIMATED = "estimated"
    SYNCHRONISED = "synchronised"


class Step(NamedTuple):
    """``offset`` moved by ``seconds`` at ``now`` on the monotonic clock; ``before``: the state until then."""

    now: float
    seconds: float
    before: ClockState


class ClockWatch:
    """See the module's docstring.

    seen    wall clock, the latest moment known from before this start; 0 when none is
    trust   a machine's clock from 2024 on is taken for synchronised
    offset  what to add to the monotonic clock
    least   the smallest offset of the best state there was in this start, -inf while the clock was never set: by it
            nothing is older than it really is
    since   monotonic clock, when the state became what it is
    step    the last one; None when there was none
    machine what the machine's wall clock is ahead of the monotonic one
    """

    __slots__ = ("least", "machine", "offset", "since", "state", "step", "_trust")

    def __init__(self, now: float, wall: float, seen: float, trust: bool) -> None:
        self.state = ClockState.UNSET
        self.machine = wall - now
        self.offset = (seen if seen >= EARLIEST else wall) - now
        self.least = -UNLIMITED
        self.since = now
        self.step: Step | None = None
        self._trust = trust

    def look(self, now: float, wall: float, synchronised: bool | None) -> bool:
        """Take one reading. ``synchronised``: what the machine says of its clock, None when it cannot say: then it is
        trusted. True when the offset or the state is another."""
        machine = wall - now
        if abs(machine - self.machine) >= GRAIN:
            self.machine = machine
        is_set = wall >= EARLIEST
        state, offset = self.state, self.offset
        if is_set and (synchronised or synchronised is None or self._trust):
            state, offset = ClockState.SYNCHRONISED, self.machine
        elif state is ClockState.SYNCHRONISED:
            pass
        elif is_set and wall >= now + offset - GRAIN:
            state, offset = ClockState.ESTIMATED, self.machine
        else:
            state = ClockState.UNSET
            if now + offset < EARLIEST:
                offset = max(offset, self.machine)
        return self._become(now, state, offset)

    def _become(self, now: float, state: ClockState, offset: float) -> bool:
        moved, before = offset - self.offset, self.state
        stepped = abs(moved) >= GRAIN
        if stepped:
            self.offset = offset
            self.step = Step(now, moved, before)
        if state is not before:
            self.state = state
            self.since = now
        if state is not ClockState.UNSET:
            is_first = self.least == -UNLIMITED or (state is ClockState.SYNCHRONISED and before is not state)
            self.least = self.offset if is_first else min(self.least, self.offset)
        return stepped or state is not before

    @property
    def deviation(self) -> float:
        """Seconds that the machine's wall clock is ahead of what is said here."""
        return self.machine - self.offset
