"""The byte budget: the calendar, clocks that are wrong, and a month that stays within it."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest

from gateway.uplinks.budget import ALARM, BELIEVED, Allowance, Budget, Usage, begin_of, check, end_of, parse

HOUR, DAY = 3600.0, 86_400.0


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("200MB/month", Allowance(200_000_000, "month")),
        ("1GiB/week", Allowance(1 << 30, "week")),
        ("5MB/day", Allowance(5_000_000, "day")),
    ],
)
def test_settings(text: str, expected: Allowance) -> None:
    assert parse(text) == expected
    assert check(text) is None


@pytest.mark.parametrize("text", ["200MB", "200/month", "200MB/year", "lots/month", "-1MB/day", "200 MB/month"])
def test_settings_that_say_nothing(text: str) -> None:
    assert check(text) == 'must be a size and a period, such as "200MB/month", "50MiB/week" or "5MB/day"'


def test_a_budget_for_nothing() -> None:
    assert check("10kB/month") == "must be at least 100 kB: a connection alone costs some kilobytes"


@pytest.mark.parametrize(
    ("period", "time", "begin", "end"),
    [
        ("day", "2026-11-25T23:59:59", "2026-11-25", "2026-11-26"),
        ("week", "2026-11-25T12:00", "2026-11-23", "2026-11-30"),
        ("week", "2026-11-23T00:00", "2026-11-23", "2026-11-30"),
        ("month", "2026-02-28T23:00", "2026-02-01", "2026-03-01"),
        ("month", "2024-02-29T23:00", "2024-02-01", "2024-03-01"),
        ("month", "2026-12-31T00:00", "2026-12-01", "2027-01-01"),
        ("month", "2026-11-30T23:59", "2026-11-01", "2026-12-01"),
    ],
)
def test_periods_of_the_calendar(period: str, time: str, begin: str, end: str) -> None:
    assert begin_of(period, at(time)) == at(begin)
    assert end_of(period, at(begin)) == at(end)


def budget(time: str = "2026-11-10", known: list[Usage] | None = None, size: int = 200_000_000) -> Budget:
    return Budget(Allowance(size, "month"), known or [], at(time))


def test_a_new_month_begins_at_nothing() -> None:
    one = budget()
    one.add(5_000, at("2026-11-30T23:59"), 0, 0)
    assert (one.used, one.begin) == (5_000, at("2026-11-01"))
    one.add(70, at("2026-12-01T00:00"), 60, 60)
    assert (one.used, one.begin) == (70, at("2026-12-01"))


def test_a_restart_goes_on() -> None:
    one = budget()
    one.add(5_000, at("2026-11-10"), 0, 0)
    again = budget("2026-11-11", [one.usage])
    assert again.used == 5_000
    assert budget("2026-12-02", [one.usage]).used == 0


@pytest.mark.parametrize("wrong", ["1970-01-01T00:01", "2026-10-20"])
def test_a_clock_that_is_not_set_yet_does_not_begin_another_month(wrong: str) -> None:
    """1970 without a clock that runs on; the time of the image when there is one."""
    one = budget(wrong, [Usage(at("2026-11-01"), 5_000, at("2026-11-20"), 2)])
    assert (one.used, one.level) == (5_000, 2)
    one.add(100, at(wrong), 0, 0)
    assert (one.used, one.begin) == (5_100, at("2026-11-01"))
    one.add(100, at("2026-11-20"), 10, 10)
    assert (one.used, one.begin) == (5_200, at("2026-11-01"))


def test_what_was_used_before_the_first_date_counts_for_the_first_period() -> None:
    one = budget("1970-01-01")
    one.add(300, 60.0, 60, 60)
    assert not one.is_dated
    one.add(0, at("2026-11-10"), 120, 120)
    assert (one.used, one.begin) == (300, at("2026-11-01"))


def test_a_clock_that_went_to_a_wrong_future_and_back_finds_its_month_again() -> None:
    one = budget()
    one.add(5_000, at("2026-11-10"), 0, 0)
    one.add(10, at("2031-05-05"), 60, 60)
    assert one.used == 10
    one.add(1, at("2026-11-10T00:02"), 120, 120)
    assert one.begin == at("2031-05-01"), "it may not be set yet"
    one.add(1, at("2026-11-10T02:00"), 7200, BELIEVED)
    assert (one.used, one.begin) == (5_001, at("2026-11-01"))


class Plant:
    """Bytes of a minute of a plant by level: telemetry in bursts, and now and then an alarm."""

    KEEPING = 300
    """The connection itself."""

    ALARM = 400

    def __init__(self, telemetry: float, seed: int) -> None:
        self.telemetry = telemetry
        self.alarms = 0
        self._chance = random.Random(seed)

    def minute(self, hour: int, level: int) -> int:
        busy = 1.6 if 6 <= hour < 18 else 0.4
        share = (1.0, 0.6, 0.08, 0.0)[level]
        alarm = self._chance.random() < 0.02
        self.alarms += alarm
        wobble = self._chance.uniform(0.7, 1.3)
        return int(self.KEEPING + self.telemetry * busy * wobble * share) + alarm * self.ALARM


@pytest.mark.parametrize("factor", [0.5, 0.97, 1.1, 1.5, 3.0, 10.0, 40.0])
def test_a_month_stays_within_the_budget(factor: float) -> None:
    """``factor``: what the plant would use, in budgets. Alarms go on every level, and are in what is used."""
    size = 200_000_000
    minutes = 30 * 24 * 60
    plant = Plant(size * factor / minutes, 7)
    one = budget("2026-11-01")
    start, levels = at("2026-11-01"), [0] * 4
    told = False
    for minute in range(0, minutes, 10):
        used = sum(plant.minute(minute // 60 % 24, one.level) for _ in range(10))
        levels[one.level] += 10
        one.add(used, start + 60.0 * minute, 60.0 * minute, 60.0 * minute)
        told = told or one.share >= ALARM
    assert one.begin == start
    assert one.used <= size
    assert plant.alarms > 500
    if factor < 0.9:
        assert levels[0] == minutes, "who needs less than the budget is left alone"
    else:
        assert one.used > 0.75 * size, "what was paid for is used"
        assert told
    if factor <= 1.5:
        assert levels[3] < 0.1 * minutes


def test_a_plant_that_falls_quiet_is_let_go() -> None:
    one = budget("2026-11-01")
    start, minute = at("2026-11-01"), 0
    for minute in range(3 * 24 * 60):
        one.add(20_000 // (one.level + 1), start + 60.0 * minute, 60.0 * minute, 60.0 * minute)
    assert one.level > 0
    for minute in range(3 * 24 * 60, 12 * 24 * 60):
        one.add(500, start + 60.0 * minute, 60.0 * minute, 60.0 * minute)
    assert one.level == 0


def test_the_forecast() -> None:
    one = budget("2026-11-01")
    assert one.forecast(at("2026-11-01")) is None
    for minute in range(2 * 24 * 60):
        one.add(1000, at("2026-11-01") + 60.0 * minute, 60.0 * minute, 60.0 * minute)
    month = 30 * 24 * 60 * 1000
    forecast = one.forecast(at("2026-11-03"))
    assert forecast is not None
    assert abs(forecast - month) < month / 100


def test_beyond_the_reserve_only_alarms_go_at_once() -> None:
    one = budget("2026-11-01")
    one.add(185_000_000, at("2026-11-02"), 0, 0)
    assert one.level == 3
