"""What a signal does from one evaluation to the next: steps, edges, and being steady for a while.

``held`` and ``debounce`` ask the frame to evaluate the action again when their time is up, so that a condition that
holds for ten seconds is seen after ten seconds and not with the next message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.message import Value
from gateway.rules.cells import Cell
from gateway.rules.language import RuleError
from gateway.rules.operators import NUMBERS, kind

if TYPE_CHECKING:
    from gateway.rules.frame import Frame


def _number(value: Value) -> Any:
    if type(value) not in NUMBERS:
        raise RuleError(f"needs a number, not a {kind(value)}")
    return value


class _Step(Cell):
    """Remembers the value before, and when it came. While only time passes the result stays."""

    __slots__ = ("_before", "_since", "_result")

    def __init__(self) -> None:
        self._before: Value = None
        self._since = 0.0
        self._result: Value = None

    def step(self, frame: Frame, *values: Any) -> Value:
        value = values[0]
        if frame.is_wake:
            return self._result
        if value is None:
            return None
        self._result = self._compare(value, frame.now)
        self._before, self._since = value, frame.now
        return self._result

    def _compare(self, value: Value, now: float) -> Value:
        raise NotImplementedError

    def dump(self, now: float) -> Any:
        return [self._before, now - self._since]

    def load(self, data: Any, now: float) -> None:
        self._before, age = data
        self._since = now - float(age)


class Previous(_Step):
    """``previous(x)``: the value at the evaluation before; None at the first."""

    __slots__ = ()

    def _compare(self, value: Value, now: float) -> Value:
        return self._before


class Delta(_Step):
    """``delta(x)``: the difference from the value before."""

    __slots__ = ()

    def _compare(self, value: Value, now: float) -> Value:
        _number(value)
        return None if self._before is None else value - self._before


class Rate(_Step):
    """``rate(x)``: the difference from the value before, for each second between them."""

    __slots__ = ()

    def _compare(self, value: Value, now: float) -> Value:
        _number(value)
        if self._before is None or now <= self._since:
            return None
        return (value - self._before) / (now - self._since)


class Changed(_Step):
    """``changed(x)``: whether it differs from the value before. The first value is no change."""

    __slots__ = ()

    def step(self, frame: Frame, *values: Any) -> Value:
        # Also when only time has passed: debounce() inside gives another value then.
        value = values[0]
        if value is None:
            return None
        before, self._before, self._since = self._before, value, frame.now
        return before is not None and (value != before or type(value) is not type(before))


class Rose(_Step):
    """``rose(c)``: true once when a condition becomes true; not for one that is true from the start."""

    __slots__ = ()

    def step(self, frame: Frame, *values: Any) -> Value:
        # Also when only time has passed: held() inside turns true then.
        value = bool(values[0])
        result = self._compare(value, frame.now)
        self._before, self._since = value, frame.now
        return result

    def _compare(self, value: Value, now: float) -> Value:
        return bool(value) and self._before is False


class Fell(Rose):
    """``fell(c)``: true once when a condition becomes false."""

    __slots__ = ()

    def _compare(self, value: Value, now: float) -> Value:
        return not value and self._before is True


class Hysteresis(Cell):
    """``hysteresis(x, on, off)``: true from ``on`` until ``off``. With ``on`` above ``off`` it is for a value that is
    too high, with ``on`` below ``off`` for one that is too low."""

    __slots__ = ("_is_on",)

    def __init__(self) -> None:
        self._is_on = False

    def step(self, frame: Frame, *values: Any) -> Value:
        value, on, off = values
        if value is None or on is None or off is None:
            return self._is_on
        value, on, off = _number(value), _number(on), _number(off)
        if (value >= on) if on >= off else (value <= on):
            self._is_on = True
        elif (value <= off) if on >= off else (value >= off):
            self._is_on = False
        return self._is_on

    def dump(self, now: float) -> Any:
        return self._is_on

    def load(self, data: Any, now: float) -> None:
        self._is_on = bool(data)


class Held(Cell):
    """``held(c, "10s")``: true once a condition has been true for so long without a break."""

    __slots__ = ("_seconds", "_since")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: float | None = None

    def step(self, frame: Frame, *values: Any) -> Value:
        if not values[0]:
            self._since = None
            return False
        if self._since is None:
            self._since = frame.now
        due = self._since + self._seconds
        if frame.now >= due:
            return True
        frame.wake(due)
        return False

    def dump(self, now: float) -> Any:
        return None if self._since is None else now - self._since

    def load(self, data: Any, now: float) -> None:
        self._since = None if data is None else now - float(data)


class Debounce(Cell):
    """``debounce(x, "2s")``: the value, once it has stayed the same for so long; until then the one before."""

    __slots__ = ("_seconds", "_steady", "_candidate", "_since")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._steady: Value = None
        self._candidate: Value = None
        self._since = 0.0

    def step(self, frame: Frame, *values: Any) -> Value:
        value, now = values[0], frame.now
        if self._candidate is not None and now >= self._since + self._seconds:
            self._steady = self._candidate
        if value is not None and (value != self._candidate or type(value) is not type(self._candidate)):
            self._candidate, self._since = value, now
        if self._candidate is not None and self._candidate != self._steady:
            frame.wake(self._since + self._seconds)
        return self._steady

    def dump(self, now: float) -> Any:
        return [self._steady, self._candidate, now - self._since]

    def load(self, data: Any, now: float) -> None:
        self._steady, self._candidate, age = data
        self._since = now - float(age)
