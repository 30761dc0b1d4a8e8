"""What only the parts themselves can check: each kind's own look at its settings, without touching a device.

The class that runs a kind may offer ``check(config)``, a class method that yields pairs of (key below the entry,
what is wrong). It does no I/O beyond reading files that the settings name.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

from gateway import kinds
from gateway.config.find import rule_files
from gateway.config.load import Loaded
from gateway.config.settings import Settings


@runtime_checkable
class Checker(Protocol):
    """The class that runs a kind, when it has checks of its own."""

    def check(self, config: Any) -> Iterable[tuple[str, str]]:
        """Pairs of (key below the entry, what is wrong)."""


def cross_check(loaded: Loaded[Settings]) -> list[str]:
    """Every problem that the running classes find, ready to print, in the order of their lines."""
    found: list[tuple[str, str]] = []
    for entry, kind in loaded.kinds.items():
        section, _, name = entry.partition(".")
        try:
            runner = kinds.runner(section, kind)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] == "gateway":
                raise
            # A kind may need a package that the gateway itself can do without.
            found.append((f"{entry}.kind", f'kind "{kind}" needs the Python package "{error.name}"; install it'))
            continue
        if isinstance(runner, Checker):
            config = getattr(loaded.value, section)[name]
            found += [(f"{entry}.{key}" if key else entry, text) for key, text in runner.check(config)]
    return loaded.source.problems(found)


def summary(loaded: Loaded[Settings]) -> dict[str, int]:
    """How many of each thing the settings hold."""
    settings = loaded.value
    return {
        "listeners": len(settings.listener),
        "devices": len(settings.device),
        "points": sum(len(device.point) for device in settings.device.values()),
        "uplinks": len(settings.uplink),
        "rule files": len(rule_files(settings.rules, loaded.source)),
    }
