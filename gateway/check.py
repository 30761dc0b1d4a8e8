"""What only the parts themselves can check: the rules, and each kind's own look at its settings. Touches no device.

The class that runs a kind may offer ``check(config)``, a class method that yields pairs of (key below the entry,
what is wrong). It does no I/O beyond reading files that the settings name.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

from gateway import kinds
from gateway.config.find import rule_files
from gateway.config.load import Loaded
from gateway.config.settings import Rules, Settings
from gateway.config.source import Source
from gateway.errors import ConfigError
from gateway.login.desk import Prepared
from gateway.python_worker import BlockingWorker
from gateway.rules.asking import Functions
from gateway.rules.cases import failed_cases
from gateway.rules.load import RuleSet, load
from gateway.rules.look_outside import functions_folder, look_outside
from gateway.rules.outside import Outside


@runtime_checkable
class Checker(Protocol):
    """The class that runs a kind, when it has checks of its own."""

    def check(self, config: Any) -> Iterable[tuple[str, str]]:
        """Pairs of (key below the entry, what is wrong)."""


Staying = Callable[[], AbstractContextManager[None]]

RunnerOf = Callable[[str, str], Any]
"""Gives the class that runs a kind of a section."""


def cross_check(loaded: Loaded[Settings], runner_of: RunnerOf = kinds.runner) -> list[str]:
    """The problems that ``checked`` finds; none when the settings are good."""
    try:
        checked(loaded, runner_of)
    except ConfigError as error:
        return error.problems
    return []


def checked(loaded: Loaded[Settings], runner_of: RunnerOf = kinds.runner, staying: Staying = nullcontext) -> RuleSet:
    """The rules of settings without a problem, their cases passed: what a gateway may run. ``staying`` is around what
    makes the result, and not around what only looks at it.

    Raises ConfigError with every problem that the running classes and the rules have, ready to print: first those of
    the settings in the order of their lines, then the rule files.
    """
    problems = _problems(loaded, runner_of)
    try:
        rules = _checked_rules(loaded.value, loaded.source, os.environ, staying)
    except ConfigError as error:
        raise ConfigError([*problems, *error.problems]) from None
    if problems:
        raise ConfigError(problems)
    return rules


def _problems(loaded: Loaded[Settings], runner_of: RunnerOf) -> list[str]:
    found: list[tuple[str, str]] = []
    for entry, kind in loaded.kinds.items():
        section, _, name = entry.partition(".")
        try:
            runner = runner_of(section, kind)
        except kinds.PluginError as error:
            found.append((f"{entry}.kind", str(error)))
            continue
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] == "gateway":
                raise
            # A kind may need a package that the gateway itself can do without.
            package, extra = error.name.partition(".")[0], kinds.EXTRAS.get(kind)
            how = f"install it: pip install 'edge-gateway[{extra}]'" if extra else "install it"
            found.append((f"{entry}.kind", f'kind "{kind}" needs the Python package "{package}"; {how}'))
            continue
        if isinstance(runner, Checker):
            config = getattr(loaded.value, section)[name]
            found += [(f"{entry}.{key}" if key else entry, text) for key, text in runner.check(config)]
    problems = loaded.source.problems(found)
    try:
        Prepared(loaded)
    except ConfigError as error:
        problems += error.problems
    return problems


def _checked_rules(settings: Settings, source: Source, environ: Mapping[str, str], staying: Staying) -> RuleSet:
    """The rule files of the settings, whose cases pass. Raises ConfigError."""
    rules = settings.rules
    with staying():
        found = load(rule_files(rules, source), outside_of(settings, source, environ))
    with case_functions(rules, functions_folder(rules, source)) as functions:
        failures = failed_cases(found, functions)
    if failures:
        raise ConfigError(failures)
    return found


def outside_of(settings: Settings, source: Source, environ: Mapping[str, str]) -> Outside:
    """What rules with these settings may use of the machine and of the gateway. Raises ConfigError."""
    found = look_outside(settings.rules, functions_folder(settings.rules, source), environ)
    return found if settings.queues.auto_create else replace(found, queues=settings.queue.keys())


@contextlib.contextmanager
def case_functions(rules: Rules, folder: Path) -> Iterator[Functions | None]:
    """Where the Python functions of cases run; None when rules may ask none."""
    worker = BlockingWorker(folder, rules.function_time, rules.function_memory) if rules.functions else None
    try:
        yield worker
    finally:
        if worker is not None:
            worker.close()


def bus_loads(loaded: Loaded[Settings]) -> tuple[list[str], list[tuple[str, str]]]:
    """How much of the time of each bus the settings ask for, a line each; and pairs of (key, text) for those that will
    not keep their polls. A kind tells by a module ``load`` beside its settings."""
    by_kind: dict[str, dict[str, Any]] = {}
    for name, device in loaded.value.device.items():
        by_kind.setdefault(loaded.kinds[f"device.{name}"], {})[name] = device
    lines: list[str] = []
    warnings: list[tuple[str, str]] = []
    for kind, devices in by_kind.items():
        module = kinds.beside("device", kind, "load")
        if module is not None:
            lines += [str(load) for load in module.bus_loads(devices)]
            warnings += [(f"device.{name}.poll", text) for name, text in module.problems(devices)]
    return lines, warnings


def unsteady_ports(loaded: Loaded[Settings]) -> list[tuple[str, str]]:
    """Serial ports by a number that changes with the order of plugging in: pairs of (key, text)."""
    return [
        (
            f"device.{name}.url",
            f"{found[1]} may be another adapter after the next start; use its name in /dev/serial/by-id/",
        )
        for name, device in loaded.value.device.items()
        if (found := _NUMBERED.match(str(getattr(device, "url", ""))))
    ]


_NUMBERED: Final = re.compile(r"serial:(/dev/tty(?:USB|ACM)[0-9]+)")


def summary(loaded: Loaded[Settings], rules: RuleSet) -> dict[str, int]:
    """How many of each thing the settings and their rules hold."""
    settings = loaded.value
    return {
        "listeners": len(settings.listener),
        "devices": len(settings.device),
        "points": sum(len(device.point) for device in settings.device.values()),
        "uplinks": len(settings.uplink),
        "rules": len(rules.actions),
    }
