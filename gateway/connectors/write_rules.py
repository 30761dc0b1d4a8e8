"""Who may write what into a point, and how often: the declared rules and the guard that keeps them. Pure.

The guard remembers when a point was written and what is armed; both are forgotten when the gateway starts. What it
refuses raises Rejected with the reason, and is never written later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from gateway.config.declare import Duration, between, setting
from gateway.connectors.base import Quality, Sample
from gateway.connectors.deadband import is_number
from gateway.connectors.interlock import Interlock, parse_interlock
from gateway.errors import Rejected
from gateway.message import Value

Look = Callable[[str, str], Sample | None]
"""The last sample of a point of a device, whatever its quality; None before the first."""


def _not_negative(value: float) -> str | None:
    return None if value >= 0 else "must not be negative"


def _conditions(value: str | Sequence[str]) -> str | None:
    try:
        for text in [value] if isinstance(value, str) else value:
            parse_interlock(text)
    except ValueError as error:
        return str(error)
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteLimits:
    """Commands may write the point, within these limits. Without this table the point is read-only."""

    min: float | None = setting(None, text="Least value, in the point's unit. Without it: what its type can hold.")
    max: float | None = setting(None, text="Greatest value, in the point's unit. Without it: what its type can hold.")
    every: Duration | None = setting(
        None,
        text="Least time between two writes. A command that comes sooner is rejected.",
        check=between(0.01, 86_400),
        example='"1s"',
    )
    when: str | tuple[str, ...] | None = setting(
        None,
        text="Interlock: the point is written only while this holds of another point, which must be good: "
        '"door == closed", "pump/speed < 10" for a point of another device. Several must all hold.',
        check=_conditions,
        example='["door == closed", "speed < 10"]',
    )
    arm: Duration | None = setting(
        None,
        text="Two steps: a command is only carried out when the same id and value were sent to <topic>/<point>/arm "
        "before, not longer than this ago. Once for each time it is armed.",
        check=between(0.1, 3600),
        example='"10s"',
    )
    tolerance: float | None = setting(
        None,
        text="How far the value that is read back may be from the one that was asked for, in the point's unit. "
        "Without it: not at all, but for the rounding of the point's type.",
        check=_not_negative,
        example="0.5",
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        if self.min is not None and self.max is not None and self.min > self.max:
            yield "max", f"must be at least min, which is {self.min:g}"

    def refusal(self, value: Value) -> str | None:
        """Say why ``value`` is outside the limits, or return None when it is inside."""
        if self.min is None and self.max is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"must be a number, not {value!r}"
        if self.min is not None and value < self.min:
            return f"must be at least {self.min:g}, not {value!r}"
        if self.max is not None and value > self.max:
            return f"must be at most {self.max:g}, not {value!r}"
        return None

    def interlocks(self) -> list[Interlock]:
        """``when``, taken apart."""
        given = self.when or ()
        return [parse_interlock(text) for text in ([given] if isinstance(given, str) else given)]

    def is_near(self, wanted: Value, back: Value) -> bool | None:
        """Whether what was read back is within ``tolerance``; None where there is none to judge by."""
        if self.tolerance is None or not is_number(wanted) or not is_number(back):
            return None
        return bool(abs(wanted - back) <= self.tolerance * (1 + 1e-9))


class Writable(Protocol):
    """What the guard needs of the settings of a point."""

    @property
    def write(self) -> WriteLimits | None: ...


class _Armed(NamedTuple):
    id: str
    value: Value
    until: float


class Guard:
    """Keeps the rules of one device's points. ``now`` is monotonic seconds.

    device  its name
    points  settings by name
    look    see ``Look``
    """

    def __init__(self, device: str, points: Mapping[str, Writable], look: Look) -> None:
        self._device = device
        self._rules = {name: point.write for name, point in points.items() if point.write is not None}
        self._interlocks = {name: rules.interlocks() for name, rules in self._rules.items()}
        self._look = look
        self._written: dict[str, float] = {}
        self._armed: dict[str, _Armed] = {}

    def check(self, point: str, value: Value, now: float) -> None:
        """Limits, interlocks and rate of a point that can be written. Raises Rejected."""
        rules = self._rules[point]
        refusal = rules.refusal(value)
        if refusal:
            raise Rejected(f"value {refusal}")
        for interlock in self._interlocks[point]:
            refusal = interlock.refusal(self._look(interlock.device or self._device, interlock.point))
            if refusal:
                raise Rejected(f"interlock: {refusal}")
        before = self._written.get(point)
        if rules.every is not None and before is not None and now - before < rules.every:
            ago = now - before
            raise Rejected(f"too soon: it was written {ago:.1f} s ago, and may be once in {rules.every:g} s")

    def arm(self, point: str, id: str, value: Value, now: float) -> float:
        """Take note of the first of two steps; returns for how many seconds. Raises Rejected."""
        seconds = self._rules[point].arm
        if seconds is None:
            raise Rejected(f'"{point}" is written in one step: send it to <topic>/{point}/set')
        self._armed[point] = _Armed(id, value, now + seconds)
        return seconds

    def fire(self, point: str, id: str, value: Value, now: float) -> None:
        """The second step, where there are two; what was armed is used up by it. Raises Rejected."""
        rules = self._rules[point]
        if rules.arm is None:
            return
        armed = self._armed.pop(point, None)
        how = f"send the same id and value to <topic>/{point}/arm, and within {rules.arm:g} s to set"
        if armed is None or armed.id != id:
            raise Rejected(f"not armed: {how}")
        if now > armed.until:
            raise Rejected(f"armed {now - armed.until + rules.arm:.1f} s ago, which is too long: {how}")
        if armed.value != value or isinstance(armed.value, bool) is not isinstance(value, bool):
            raise Rejected(f"armed for {armed.value!r}, not for {value!r}: {how}")

    def writes(self, point: str, now: float) -> None:
        """The point is written now."""
        if self._rules[point].every is not None:
            self._written[point] = now

    def is_near(self, point: str, wanted: Value, seen: Sample) -> bool:
        """Whether a good reading is within the tolerance of what was asked for; False where there is none."""
        return seen.quality is Quality.GOOD and self._rules[point].is_near(wanted, seen.value) is True

    def compare(self, point: str, wanted: Value, back: Value) -> str | None:
        """Why what was read back is not what was asked for; None when it is, or when that is for the kind to say."""
        rules = self._rules[point]
        if rules.is_near(wanted, back) is False:
            return f"written, but the device keeps {back!r}, which is more than {rules.tolerance:g} away"
        return None
