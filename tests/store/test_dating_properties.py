"""Any sequence of starts, steps and time servers: what is said to be right is right, and what is estimated keeps its
order and lies before the next start that had the time."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.clock import EARLIEST, FixedClock, SteadyClock
from gateway.clock_watch import ClockState, ClockWatch
from gateway.outbound import Row
from gateway.store.boots import Boots
from gateway.store.dating import Dating
from gateway.store.epochs import Epoch, History

TRUTH = 1_800_000_000.0
"""What the right clock says when the world begins."""

moves = st.one_of(
    st.tuples(st.just("wait"), st.floats(0.01, 4000.0)),
    st.tuples(st.just("row"), st.floats(0.0, 5.0)),
    st.tuples(st.just("set"), st.sampled_from([-3600.0, -5.0, 0.5, 60.0, 86_400.0])),
    st.tuples(st.just("server"), st.just(0.0)),
)
boards = st.tuples(st.sampled_from([0.0, EARLIEST + 10, TRUTH - 7200, TRUTH]), st.lists(moves, max_size=12))


class World:
    """Starts of one board, one after the other; ``truth`` goes on while it is off."""

    def __init__(self) -> None:
        self.truth = TRUTH
        self.started: dict[int, float] = {}
        self.epochs: dict[int, list[Epoch]] = {}
        self.ends: dict[int, float] = {}
        self.seen = 0.0
        self.rows: list[tuple[Row, float]] = []
        self.right: set[int] = set()
        self.dating: Dating

    def live(self, boot: int, wall: float, moves: list[tuple[str, float]]) -> None:
        """One start: its machine's clock begins at ``wall``, or at what a clock with a battery would say."""
        self.machine = FixedClock(time=wall if wall < TRUTH else self.truth, now=500.0)
        self.clock = SteadyClock(self.machine)
        self.watch = ClockWatch(*self.clock.read(), self.seen, False)
        self.is_known = False
        self.watch.look(*self.clock.read(), False)
        self.clock.offset, self.clock.least = self.watch.offset, self.watch.least
        self.started[boot] = 0.0 if self.watch.state is ClockState.UNSET else self.clock.time()
        self.boots = Boots(self.clock, boot, 500.0, self.started.copy())
        self.dating = Dating(self.boots, self.clock, History(self.epochs.copy(), self.ends, self.seen))
        self.begin(0)
        for move, number in moves:
            self.go(number if move in ("wait", "row") else 0.0)
            if move == "row":
                self.store(boot)
            elif move == "set" and not self.is_known:
                self.machine.step(number)
            elif move == "server":
                self.is_known = True
                self.machine.step(self.truth - self.machine.time())
            if self.watch.look(*self.clock.read(), self.is_known):
                self.clock.offset, self.clock.least = self.watch.offset, self.watch.least
                self.begin(len(self.rows) + 1)
        self.epochs[boot] = list(self.dating.epochs)
        self.ends[boot] = self.boots.uptime()
        if self.is_known:
            self.right.add(boot)
        if self.watch.least > 0 and self.watch.state is not ClockState.UNSET:
            self.started[boot] = 500.0 + self.watch.least
        self.seen = max(self.seen, self.clock.time()) if not self.is_known else self.clock.time()

    def go(self, seconds: float) -> None:
        self.machine.advance(seconds)
        self.truth += seconds

    def begin(self, seq: int) -> None:
        epoch = Epoch(
            self.boots.number, seq, self.boots.uptime() if seq else 0.0, self.watch.offset + 500.0, self.watch.state
        )
        self.dating.begin(epoch)

    def store(self, boot: int) -> None:
        seq = len(self.rows) + 1
        row = Row(seq, boot, "t", b"", 1, False, (), self.clock.time(), None, "client:a")
        self.rows.append((row, self.truth))


ROW, SERVER = ("row", 1.0), ("server", 0.0)


@example([(TRUTH, [("set", 86_400.0), ROW, ROW]), (0.0, [SERVER, ROW])], 60.0)
@example([(0.0, [ROW, ROW]), (0.0, [ROW]), (TRUTH, [SERVER, ROW])], 60.0)
@example([(0.0, [ROW, ("set", -3600.0), ROW])], 0.0)
@example([(TRUTH, [SERVER, ROW]), (0.0, [ROW, ROW]), (TRUTH, [SERVER, ROW])], 60.0)
@settings(deadline=None)
@given(st.lists(boards, min_size=1, max_size=4), st.floats(0.0, 10_000.0))
def test_what_is_said_to_be_right_is_right(starts: list[Any], off: float) -> None:
    world = World()
    for boot, (wall, moves) in enumerate(starts, 1):
        world.live(boot, wall, moves)
        dated = [(world.dating(row), truth) for row, truth in world.rows]
        for row, truth in dated:
            if row.boot in world.right:
                assert row.clock != "estimated"
                assert abs(row.time - truth) <= 0.011, (row, truth)
            else:
                assert row.clock == "estimated"
        rows = [row for row, _ in world.rows]
        for size in (1, 3, len(rows)):
            for begin in range(0, len(rows), max(size, 1)):
                at_once = world.dating.all(rows[begin : begin + size])
                for one, (other, _) in zip(at_once, dated[begin : begin + size], strict=True):
                    assert one._replace(time=0.0) == other._replace(time=0.0), "all at once as one by one"
                    assert abs(one.time - other.time) < 1e-6
        for number in range(1, boot + 1):
            times = [row.time for row, _ in dated if row.boot == number]
            assert all(one <= other + 1e-6 for one, other in pairwise(times)), "the order stays"
            later = [row.time for row, _ in dated if row.boot > number and row.boot in world.right]
            if times and later and number not in world.right:
                assert max(times) <= min(later) + 1e-6, "before the next start that had the time"
        world.truth += off
