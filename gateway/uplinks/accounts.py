"""What each uplink costs: bytes from its counters to its budget, to the disk, and back as the order to save.

Uplinks without a budget are counted too, for the status, but nothing is kept of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from gateway.clock import Clock, iso_time
from gateway.uplinks.budget import ALARM, Budget, Usage, end_of, parse

COUNT_EVERY: Final = 10.0
KEEP_EVERY: Final = 30.0
"""Seconds. With what a commit may wait it is less than a minute that kill -9 takes away."""


class Spender(Protocol):
    """An uplink as it is seen from here."""

    def traffic(self) -> tuple[int, int]:
        """Bytes sent and received since the start, as the network bills them."""

    def press(self, level: int) -> None:
        """Save so hard, see ``budget``. Called when it changes."""


Keep = Callable[[str, str, Usage], None]
"""Takes uplink, period and usage; see ``store.usage``."""

Raise = Callable[[Mapping[str, str | None]], None]
"""See ``Alarms.update``."""


class Accounts:
    """See the module's docstring. ``tick`` it about once a second.

    budgets  text of the setting by uplink; None: no budget
    known    what was kept, by uplink and period
    """

    def __init__(
        self,
        uplinks: Mapping[str, Spender],
        budgets: Mapping[str, str | None],
        known: Mapping[tuple[str, str], list[Usage]],
        keep: Keep,
        alarm: Raise,
        clock: Clock,
    ) -> None:
        self._uplinks = uplinks
        self._keep = keep
        self._alarm = alarm
        self._clock = clock
        self._started = clock.now()
        self._count_at = self._keep_at = clock.now()
        self._counted = dict.fromkeys(uplinks, 0)
        self._budgets: dict[str, Budget] = {}
        for name, text in budgets.items():
            if text is not None:
                allowance = parse(text)
                self._budgets[name] = Budget(allowance, known.get((name, allowance.period), []), clock.time())
                uplinks[name].press(self._budgets[name].level)

    def add(self, name: str, text: str | None) -> None:
        """An uplink was built anew, with this budget, and counts from 0. What it has used of a period of the same kind
        still counts."""
        before = self._budgets.pop(name, None)
        self._counted[name] = 0
        if text is None:
            self._alarm({f"budget-{name}": None})
            return
        allowance = parse(text)
        known = [before.usage] if before is not None and before.allowance.period == allowance.period else []
        is_same = before is not None and before.allowance == allowance
        self._budgets[name] = before if before is not None and is_same else Budget(allowance, known, self._clock.time())
        self._uplinks[name].press(self._budgets[name].level)

    def remove(self, name: str) -> None:
        """The uplink is gone; ``count`` comes before."""
        self._counted.pop(name, None)
        if self._budgets.pop(name, None) is not None:
            self._alarm({f"budget-{name}": None})

    def rename(self, old: str, new: str) -> None:
        """The uplink has another name; ``add`` follows."""
        if old in self._budgets:
            self._budgets[new] = self._budgets.pop(old)
            self._alarm({f"budget-{old}": None})

    def tick(self) -> None:
        """Count what was used, when some seconds have passed."""
        now = self._clock.now()
        if now < self._count_at:
            return
        self._count_at = now + COUNT_EVERY
        self.count()
        if now >= self._keep_at:
            self._keep_at = now + KEEP_EVERY
            self.keep()

    def count(self) -> None:
        """Bring every budget up to date, and say so to its uplink when it must save more or less."""
        now, time = self._clock.now(), self._clock.time()
        for name, budget in self._budgets.items():
            total = sum(self._uplinks[name].traffic())
            level = budget.level
            budget.add(total - self._counted[name], time, now, now - self._started)
            self._counted[name] = total
            if budget.level != level:
                self._uplinks[name].press(budget.level)
            self._alarm({f"budget-{name}": _warning(name, budget, time)})

    def keep(self) -> None:
        """Hand what was used to the disk; also at the end."""
        for name, budget in self._budgets.items():
            self._keep(name, budget.allowance.period, budget.usage)

    def status(self, name: str) -> dict[str, Any] | None:
        """The budget of an uplink in plain JSON types; None when it has none."""
        budget = self._budgets.get(name)
        if budget is None:
            return None
        allowance = budget.allowance
        return {
            "bytes": allowance.bytes,
            "period": allowance.period,
            "begin": iso_time(budget.begin) if budget.is_dated else None,
            "end": iso_time(end_of(allowance.period, budget.begin)) if budget.is_dated else None,
            "used": budget.used,
            "forecast": budget.forecast(self._clock.time()),
            "level": budget.level,
        }


def _warning(name: str, budget: Budget, time: float) -> str | None:
    if budget.share < ALARM:
        return None
    end = iso_time(end_of(budget.allowance.period, budget.begin))
    used = f"uplink {name} has used {budget.share:.0%} of the bytes of its {budget.allowance.period}, which ends {end}"
    saving = ("", "; batches are longer", "; telemetry is thinned", "; only alarms, commands and results go")
    return used + saving[budget.level]
