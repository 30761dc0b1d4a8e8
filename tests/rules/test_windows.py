"""Windows against a naive count of everything that came."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ConfigError
from gateway.message import Message
from gateway.rules.cells import Cell, CellPlan, Instance, Room
from gateway.rules.compile import compile_expression
from gateway.rules.frame import NOWHERE, Frame
from gateway.rules.language import RuleError
from gateway.rules.windows import MAX_VALUES, Window, mean, parse_extent, percentile, total


class Series:
    """One expression, evaluated for values that come at times."""

    def __init__(self, text: str) -> None:
        self.plan = CellPlan()
        self.run = compile_expression(text, (), self.plan)
        self.instance = Instance("", len(self.plan.makers))

    def at(self, now: float, value: Any, is_wake: bool = False) -> Any:
        frame = Frame(Message("t", json.dumps(value).encode()), "", 0.0, now)
        frame.cells, frame.is_wake = self.instance.cells, is_wake
        return self.run(frame)

    @property
    def cell(self) -> Cell:
        (cell,) = self.instance.cells
        assert cell is not None
        return cell


_SAMPLES = st.lists(st.tuples(st.floats(0.0, 5.0), st.integers(-1000, 1000)), min_size=1, max_size=60)


def _naive(name: str, values: list[tuple[float, int]]) -> Any:
    only = [value for _, value in values]
    if name == "count":
        return len(only)
    if not only:
        return None
    seconds = values[-1][0] - values[0][0]
    compute: dict[str, Callable[[], Any]] = {
        "mean": lambda: statistics.fmean(only),
        "min": lambda: min(only),
        "max": lambda: max(only),
        "sum": lambda: sum(only),
        "std": lambda: statistics.pstdev(only),
        "first": lambda: only[0],
        "delta": lambda: only[-1] - only[0],
        "rate": lambda: (only[-1] - only[0]) / seconds if len(only) > 1 and seconds > 0 else None,
    }
    return compute[name]()


@pytest.mark.parametrize("name", ["mean", "min", "max", "sum", "count", "std", "first", "delta", "rate"])
@given(samples=_SAMPLES)
def test_sliding_windows_of_time(name: str, samples: list[tuple[float, int]]) -> None:
    series = Series(f'{name}_over(v, "10s")')
    now = 1000.0
    seen: list[tuple[float, int]] = []
    for wait, value in samples:
        now += wait
        seen.append((now, value))
        inside = [(time, one) for time, one in seen if time > now - 10]
        expected = _naive(name, inside)
        result = series.at(now, value)
        assert result == expected if expected is None else result == pytest.approx(expected, abs=1e-6)


@given(samples=_SAMPLES, size=st.integers(1, 20), part=st.integers(0, 100))
def test_windows_of_values_and_percentiles(samples: list[tuple[float, int]], size: int, part: int) -> None:
    series = Series(f'percentile_over(v, {part}, "{size} values")')
    values: list[int] = []
    for index, (_, value) in enumerate(samples):
        values.append(value)
        ranked = sorted(values[-size:])
        place = (len(ranked) - 1) * part / 100
        low, high = ranked[math.floor(place)], ranked[math.ceil(place)]
        assert series.at(float(index), value) == pytest.approx(low + (high - low) * (place - math.floor(place)))


def test_tumbling_windows_follow_each_other() -> None:
    series = Series('sum_over(v, "10s tumbling")')
    seen = [series.at(now, value) for now, value in ((100, 1), (105, 2), (109.9, 3), (110, 4), (112, 5), (149, 6))]
    # The window from 100 has 1, 2, 3; that from 110 has 4, 5; nothing came in the next two.
    assert seen == [None, None, None, 6, 6, 9]
    assert series.at(150, 7) == 6


def test_tumbling_windows_of_values() -> None:
    series = Series('mean_over(v, "3 values tumbling")')
    assert [series.at(float(now), now) for now in range(7)] == [None, None, 1, 1, 1, 4, 4]


def test_nothing_is_learned_while_only_time_passes() -> None:
    series = Series('count_over(v, "10s")')
    assert [series.at(0, 1), series.at(1, 1, True), series.at(2, None), series.at(11, 1, True)] == [1, 1, 1, 0]


def test_what_is_no_number_is_an_error() -> None:
    with pytest.raises(RuleError, match="mean_over: needs a number, not a text"):
        Series('mean_over(v, "10s")').at(0, "x")


@pytest.mark.parametrize("text", ["", "5", "5 m", "0s", "400d", "0 values", "10001 values", "5m rolling", "x values"])
def test_what_is_no_window(text: str) -> None:
    with pytest.raises(RuleError, match="window"):
        parse_extent(text)


def test_the_room_is_shared_and_given_back() -> None:
    room = Room(samples=3)
    one, other = (Window(parse_extent("1h"), total, room) for _ in range(2))
    frame = Frame(Message("t"), "", 0.0, 1.0, NOWHERE)
    assert [one.step(frame, 1), one.step(frame, 2), other.step(frame, 5)] == [1, 3, 5]
    # No room: the oldest of the same window leaves early, and that is counted. A first value always has its place.
    assert (one.step(frame, 4), room.cut) == (6, 1)
    one.forget()
    assert room.left == 2
    assert other.step(frame, 5) == 10


def test_a_window_of_time_is_bounded() -> None:
    room = Room()
    window = Window(parse_extent("1h"), mean, room)
    frame = Frame(Message("t"), "", 0.0, 1.0)
    for value in range(MAX_VALUES + 10):
        window.step(frame, value)
    assert len(window.values) == MAX_VALUES
    assert room.cut == 10


def test_a_sum_does_not_drift() -> None:
    window = Window(parse_extent("3 values"), total, Room())
    frame = Frame(Message("t"), "", 0.0, 1.0)
    for value in (1e16, 1.0, -1e16, *[0.1] * 10):
        result = window.step(frame, value)
    assert result == pytest.approx(0.3, abs=1e-12)


@pytest.mark.parametrize("text", [
    'mean_over(v, "30s")', 'mean_over(v, "30s tumbling")', 'percentile_over(v, 50, "5 values")', "previous(v)",
    "rate(v)", "rose(v > 3)", "fell(v < 3)", "hysteresis(v, 4, 2)", 'held(v > 2, "12s")',
    'debounce(v > 2, "12s")', "changed(v)",
])  # fmt: skip
def test_what_is_remembered_survives_a_restart(text: str) -> None:
    """The same results whether or not the memory was written and read in between, on a clock that begins anew."""
    values = [(0.0, 1), (10.0, 3), (20.0, 5), (30.0, 2), (40.0, 4)]
    straight = Series(text)
    expected = [straight.at(1000 + now, value) for now, value in values]
    for cut in range(1, len(values)):
        before, after = Series(text), Series(text)
        got = [before.at(1000 + now, value) for now, value in values[:cut]]
        stored = json.loads(json.dumps(before.cell.dump(1000 + values[cut - 1][0])))
        after.instance.cells[0] = after.plan.makers[0](Room())
        after.cell.load(stored, 7.0 + values[cut - 1][0])
        got += [after.at(7.0 + now, value) for now, value in values[cut:]]
        assert got == expected


def test_percentile_needs_a_part_of_a_hundred() -> None:
    frame = Frame(Message("t"), "", 0.0, 1.0)
    with pytest.raises(RuleError, match="between 0 and 100"):
        Window(parse_extent("5s"), percentile, Room()).step(frame, 1, 101)


def test_what_tells_instances_apart_remembers_nothing(rules: Any) -> None:
    with pytest.raises(ConfigError, match=r"action\[0\].per: must not use a function that remembers"):
        rules("[[action]]\nname='a'\non={topic='x'}\nper='{delta(v)}'\ndo=[{publish={topic='b',value='delta(v)'}}]")
