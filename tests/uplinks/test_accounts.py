"""Bytes of an uplink to its budget, to the disk, and back as the order to save."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.clock import FixedClock
from gateway.uplinks.accounts import COUNT_EVERY, KEEP_EVERY, Accounts
from gateway.uplinks.budget import Usage, begin_of


class Line:
    """An uplink that costs what it is told to, and notes how hard it was pressed."""

    def __init__(self) -> None:
        self.bytes = 0
        self.pressed: list[int] = []

    def traffic(self) -> tuple[int, int]:
        return self.bytes, 0

    def press(self, level: int) -> None:
        self.pressed.append(level)


class World:
    def __init__(self, known: Mapping[tuple[str, str], list[Usage]] | None = None) -> None:
        self.clock = FixedClock(1_800_000_000.0)
        self.line = Line()
        self.kept: list[tuple[str, str, Usage]] = []
        self.alarms: dict[str, str | None] = {}
        self.accounts = Accounts(
            {"cloud": self.line, "free": Line()},
            {"cloud": "10MB/month", "free": None},
            known or {},
            lambda *kept: self.kept.append(kept),
            self.alarms.update,
            self.clock,
        )

    def use(self, count: int, seconds: float = COUNT_EVERY) -> None:
        self.line.bytes += count
        self.clock.advance(seconds)
        self.accounts.tick()


def test_bytes_are_counted_and_kept_within_a_minute() -> None:
    world = World()
    for _ in range(7):
        world.use(100)
    status = world.accounts.status("cloud")
    assert status is not None
    assert (status["used"], status["bytes"], status["period"], status["level"]) == (700, 10_000_000, "month", 0)
    assert (status["begin"], status["end"]) == ("2027-01-01T00:00:00.000Z", "2027-02-01T00:00:00.000Z")
    assert [(name, period, usage.bytes) for name, period, usage in world.kept] == [
        ("cloud", "month", 100),
        ("cloud", "month", 400),
        ("cloud", "month", 700),
    ]
    assert COUNT_EVERY * 3 <= KEEP_EVERY
    assert world.accounts.status("free") is None


def test_the_alarm_at_80_percent_says_what_is_done() -> None:
    world = World()
    world.use(7_900_000)
    assert world.alarms == {"budget-cloud": None}
    world.use(200_000)
    assert world.alarms["budget-cloud"] == (
        "uplink cloud has used 81% of the bytes of its month, which ends 2027-02-01T00:00:00.000Z"
    )
    world.use(1_500_000)
    assert (world.alarms["budget-cloud"] or "").endswith("; only alarms, commands and results go")
    assert world.line.pressed == [0, 3]
    world.use(0, 31 * 86_400.0)
    assert world.alarms["budget-cloud"] is None


def test_a_restart_goes_on_saving() -> None:
    begin = begin_of("month", 1_800_000_000.0)
    world = World({("cloud", "month"): [Usage(begin, 9_000_000, 1_800_000_000.0, 2)]})
    assert world.line.pressed == [2]
    world.use(5)
    status = world.accounts.status("cloud")
    assert status is not None
    assert status["used"] == 9_000_005
