"""A bench whose clock is watched as in the running gateway: its steps are those of the machine's clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gateway.clock import FixedClock, SteadyClock
from gateway.clock_watch import ClockWatch
from store.bench import Bench
from store.board import NOON


class WatchedClock:
    """A ``Clock``. ``synchronised``: what the machine says of its clock. ``seen``: as ``ClockWatch``."""

    def __init__(self, time: float = NOON, synchronised: bool = True, seen: float = 0.0) -> None:
        self.machine = FixedClock(time=time, now=1000.0)
        self.steady = SteadyClock(self.machine)
        self.time, self.now, self.surely = self.steady.time, self.steady.now, self.steady.surely
        self.synchronised = synchronised
        self.restart(seen)

    def restart(self, seen: float = 0.0) -> None:
        """A start of the gateway."""
        self.watch = ClockWatch(*self.steady.read(), seen, False)
        self.look()

    def advance(self, seconds: float) -> None:
        self.machine.advance(seconds)
        self.look()

    def step(self, seconds: float) -> None:
        self.machine.step(seconds)
        self.look()

    def look(self) -> None:
        self.watch.look(*self.steady.read(), self.synchronised)
        self.steady.offset, self.steady.least = self.watch.offset, self.watch.least


class SteppingBench(Bench):
    def __init__(self, path: Path, **clock: Any) -> None:
        super().__init__(path)
        self.clock: Any = WatchedClock(**clock)
