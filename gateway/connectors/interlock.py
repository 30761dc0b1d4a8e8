"""An interlock: a point is written only while another point has a certain value. Pure.

``"door == closed"``, ``"pump/speed < 10"``: a point of the same device, or of another one with its name before it; a
comparison; a number, ``true``, ``false`` or text. A value that is not known, or not good, opens no lock.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from gateway.connectors.base import Quality, Sample
from gateway.connectors.deadband import is_number
from gateway.message import Value

_FORM: Final = (
    'must be like "door == closed" or "pump/speed < 10": a point, one of == != < <= > >=, and a number, true, false '
    "or text"
)

_COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}

_INTERLOCK: Final = re.compile(
    r"\s*(?:([A-Za-z0-9_-]+)/)?([^=!<>/]*[^=!<>/\s])\s*(==|!=|<=|>=|<|>)\s*(.*?)\s*", re.DOTALL
)


class Interlock(NamedTuple):
    """``device`` is empty for the device that the interlock belongs to."""

    device: str
    point: str
    comparison: str
    value: Value

    def refusal(self, sample: Sample | None) -> str | None:
        """Why the last known ``sample`` of the point does not open the lock; None when it does."""
        name = f"{self.device}/{self.point}" if self.device else self.point
        if sample is None:
            return f"{name} is not known yet"
        if sample.quality is not Quality.GOOD:
            return f"{name} is {sample.quality}: {sample.reason}"
        if self._holds(sample.value):
            return None
        return f"{name} is {_shown(sample.value)}, and must be {self.comparison} {_shown(self.value)}"

    def _holds(self, value: Value) -> bool:
        if self.comparison in ("==", "!="):
            # 1 and true are equal in Python and not on a plant; 1 and 1.0 are.
            is_same_kind = isinstance(value, bool) is isinstance(self.value, bool)
            return _COMPARE[self.comparison](value if is_same_kind else None, self.value)
        return is_number(value) and _COMPARE[self.comparison](value, self.value)


def parse_interlock(text: str) -> Interlock:
    """Raises ValueError with what it must be."""
    match = _INTERLOCK.fullmatch(text)
    if match is None or not match[4]:
        raise ValueError(_FORM)
    value = _value(match[4])
    if match[3] not in ("==", "!=") and not is_number(value):
        raise ValueError(f'must compare with a number: "{match[3]}" has no meaning for {match[4]}')
    return Interlock(match[1] or "", match[2].strip(), match[3], value)


def _value(text: str) -> Value:
    if text in ("true", "false"):
        return text == "true"
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            pass
    return text


def _shown(value: Value) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)
