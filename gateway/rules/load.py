"""Rule files to a checked set of actions and cases, or everything that is wrong with them.

``load`` takes the files that belong together: names are unique among all of them, and loops are looked for
across files. Nothing runs here; see ``engine.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from gateway.config.load import Loaded, read
from gateway.config.source import Source
from gateway.errors import ConfigError
from gateway.rules.action import Action, Case, RuleFile
from gateway.rules.compile_action import compile_action
from gateway.rules.link import call_problems, join_outputs
from gateway.rules.loops import describe, find_loops
from gateway.rules.program import Program

MAX_ACTIONS: Final = 10_000
"""Actions in one set."""


class LoadedAction(NamedTuple):
    """An action, the name of its file, and what runs."""

    action: Action
    file: str
    program: Program


class RuleSet(NamedTuple):
    """Rule files without a problem. ``cases``: by file, in the order of the files."""

    actions: tuple[LoadedAction, ...]
    cases: tuple[tuple[str, tuple[Case, ...]], ...]


def load(paths: Iterable[Path]) -> RuleSet:
    """Read rule files. Raises ConfigError with the problems of all of them, file by file."""
    problems: list[str] = []
    files: list[Loaded[RuleFile]] = []
    for path in paths:
        try:
            files.append(read(path, RuleFile))
        except ConfigError as error:
            problems += error.problems
    known: dict[str, _Place] = {}
    actions: list[LoadedAction] = []
    for file in files:
        for index, action in enumerate(file.value.action):
            place = _Place(file.source, f"action[{index}]")
            if action.name in known:
                text = f'"{action.name}" is the name of an action in {known[action.name].source.name} already'
                problems.append(place.problem("name", text))
                continue
            known[action.name] = place
            actions.append(LoadedAction(action, str(file.source.path), compile_action(action, [])))
    programs = {found.action.name: found.program for found in actions}
    for name, program in programs.items():
        problems += [known[name].problem("do", text) for text in call_problems(program, programs)]
    called = {callee for program in programs.values() for callee, _ in program.calls}
    for name in [name for name, program in programs.items() if program.trigger is None and name not in called]:
        text = 'nothing makes it run; give it a trigger such as { topic = "plant/#" }, or call it from another action'
        problems.append(known[name].problem("on", text))
    join_outputs(programs)
    if len(actions) > MAX_ACTIONS:
        problems.append(f"{len(actions)} actions are too many; at most {MAX_ACTIONS}")
    for loop in find_loops([found.program for found in actions if found.action.enabled and not found.action.loop]):
        text = f"{describe(loop)}; write loop = true in one of them if that is meant to end by itself"
        problems.append(known[loop[0].name].problem("do", text))
    if problems:
        raise ConfigError(problems)
    return RuleSet(tuple(actions), tuple((str(file.source.path), file.value.case) for file in files))


class _Place(NamedTuple):
    """Where an action stands, to say what is wrong with it."""

    source: Source
    key: str

    def problem(self, key: str, text: str) -> str:
        return self.source.problem(f"{self.key}.{key}", text)


def shipped_rules() -> Path:
    """The folder of the rule files that come with the gateway: in the package, or beside it in a checkout."""
    packaged = Path(__file__).parent.parent / "shipped_rules"
    return packaged if packaged.is_dir() else packaged.parent.parent / "rules"
