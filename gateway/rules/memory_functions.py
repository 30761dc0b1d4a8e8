"""The functions that remember what came before; each call has a memory of its own in each instance of an action.

The examples are of a point whose value came three times: 20, ten seconds later 22, ten seconds later 27.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from gateway.config.types import WrongValue, read_duration
from gateway.rules.cells import Cell, CellMaker, Room
from gateway.rules.function import Function
from gateway.rules.language import RuleError
from gateway.rules.signals import Changed, Debounce, Delta, Fell, Held, Hysteresis, Previous, Rate, Rose
from gateway.rules.windows import (
    Extent,
    Statistic,
    Window,
    change,
    count,
    deviation,
    first,
    largest,
    mean,
    parse_extent,
    percentile,
    slope,
    smallest,
    total,
)


def _seconds(text: str) -> float:
    try:
        return read_duration(text)
    except WrongValue as wrong:
        raise RuleError(str(wrong)) from None


def _plain(make: Callable[[], Cell]) -> Callable[[], CellMaker]:
    return lambda: lambda room: make()


def _timed(make: Callable[[float], Cell]) -> Callable[[float], CellMaker]:
    return lambda seconds: lambda room: make(seconds)


def _window(statistic: Statistic) -> Callable[[Extent], CellMaker]:
    def prepared(extent: Extent) -> CellMaker:
        def make(room: Room) -> Cell:
            return Window(extent, statistic, room)

        return make

    return prepared


def _unused(*values: Any) -> Any:
    raise AssertionError("a function with a cell is not called")


def _signal(usage: str, text: str, example: str, result: Any, make: Callable[[], Cell], arguments: int = 1) -> Function:
    return Function(usage, text, example, result, _unused, arguments, arguments, cell=_plain(make))


def _lasting(usage: str, text: str, example: str, result: Any, make: Callable[[float], Cell]) -> Function:
    return Function(usage, text, example, result, _unused, 2, 2, prepare=(1, _seconds), cell=_timed(make))


def _over(name: str, text: str, example: str, result: Any, statistic: Statistic) -> Function:
    usage = f"{name}_over(x, window)"
    return Function(usage, text, example, result, _unused, 2, 2, prepare=(1, parse_extent), cell=_window(statistic))


MEMORY_FUNCTIONS: Final = (
    _signal("previous(x)", "the value of the evaluation before", "previous(v)", 22, Previous),
    _signal("delta(x)", "how far it is from the value before", "delta(v)", 5, Delta),
    _signal("rate(x)", "how far it is from the value before, per second", "rate(v)", 0.5, Rate),
    _signal("changed(x)", "whether it differs from the value before", "changed(v)", True, Changed),
    _signal("rose(c)", "true once when a condition becomes true", "rose(v > 25)", True, Rose),
    _signal("fell(c)", "true once when a condition becomes false", "fell(v < 25)", True, Fell),
    _signal(
        "hysteresis(x, on, off)",
        "true from `on` until `off`; `on` below `off` is for a value that is too low",
        "hysteresis(v, 25, 21)",
        True,
        Hysteresis,
        3,
    ),
    _lasting(
        "held(c, time)",
        "true once a condition has been true so long without a break",
        'held(v > 21, "10s")',
        True,
        Held,
    ),
    _lasting(
        "debounce(x, time)",
        "the value once it has stayed so long; until then the one before",
        'debounce(v, "5s")',
        22,
        Debounce,
    ),
    _over("mean", "mean of a window", 'mean_over(v, "1m")', 23.0, mean),
    _over("min", "smallest of a window", 'min_over(v, "2 values")', 22, smallest),
    _over("max", "largest of a window", 'max_over(v, "1m")', 27, largest),
    _over("sum", "sum of a window", 'sum_over(v, "1m")', 69.0, total),
    _over("count", "number of values in a window", 'count_over(v, "15s")', 2, count),
    _over("std", "standard deviation of a window", 'round(std_over(v, "1m"), 3)', 2.944, deviation),
    _over("first", "oldest value of a window", 'first_over(v, "1m")', 20, first),
    _over("delta", "newest less oldest value of a window", 'delta_over(v, "1m")', 7, change),
    _over("rate", "from the oldest to the newest value of a window, per second", 'rate_over(v, "1m")', 0.35, slope),
    Function(
        "percentile_over(x, part, window)",
        "what `part` of a hundred values of a window do not exceed",
        'percentile_over(v, 50, "1m")',
        22.0,
        _unused,
        3,
        3,
        prepare=(2, parse_extent),
        cell=_window(percentile),
    ),
)
