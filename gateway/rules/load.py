"""Rule files to a checked set of actions, models and cases, or everything that is wrong with them.

``load`` takes the files that belong together: names are unique among all of them, and calls, bases and loops are looked
for across files. Nothing runs here; see ``engine.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from gateway.config.load import Loaded, read
from gateway.config.source import Source
from gateway.errors import ConfigError
from gateway.rules.action import Action, Case, RuleFile
from gateway.rules.compile_action import compile_action
from gateway.rules.compile_model import ModelProgram, compile_model, fields_of
from gateway.rules.link import call_problems, join_outputs
from gateway.rules.loops import describe, find_loops
from gateway.rules.model import Field, Model
from gateway.rules.program import Problems, Program

MAX_ACTIONS: Final = 10_000
"""Actions in one set; and as many models."""


class LoadedAction(NamedTuple):
    """An action, the name of its file, and what runs."""

    action: Action
    file: str
    program: Program


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A model, the name of its file, its fields with those of its bases, and what runs."""

    model: Model
    file: str
    fields: tuple[Field, ...]
    program: ModelProgram

    def __eq__(self, other: object) -> bool:
        """Whether it does the same; a base may have changed."""
        return isinstance(other, LoadedModel) and (self.model, self.file, self.fields) == (
            other.model,
            other.file,
            other.fields,
        )

    __hash__ = None  # type: ignore[assignment]


class RuleSet(NamedTuple):
    """Rule files without a problem. ``cases``: by file, in the order of the files."""

    actions: tuple[LoadedAction, ...]
    cases: tuple[tuple[str, tuple[Case, ...]], ...]
    models: tuple[LoadedModel, ...] = ()


class _Place(NamedTuple):
    """Where an action or model stands, to say what is wrong with it."""

    source: Source
    key: str

    def problem(self, key: str, text: str) -> str:
        return self.source.problem(f"{self.key}.{key}", text)


def load(paths: Iterable[Path]) -> RuleSet:
    """Read rule files. Raises ConfigError with the problems of all of them, file by file."""
    problems: list[str] = []
    files: list[Loaded[RuleFile]] = []
    for path in paths:
        try:
            files.append(read(path, RuleFile))
        except ConfigError as error:
            problems += error.problems
    places: dict[str, _Place] = {}
    actions = [
        LoadedAction(action, str(file.source.path), compile_action(action, []))
        for file in files
        for action in _named(file, "action", places, problems)
    ]
    models = _models(files, places, problems)
    problems += _calls(actions, places)
    if max(len(actions), len(models)) > MAX_ACTIONS:
        problems.append(f"{max(len(actions), len(models))} actions or models are too many; at most {MAX_ACTIONS}")
    problems += _loops(actions, models, places)
    if problems:
        raise ConfigError(problems)
    return RuleSet(tuple(actions), tuple((str(file.source.path), file.value.case) for file in files), tuple(models))


def _named(file: Loaded[RuleFile], kind: str, places: dict[str, _Place], problems: list[str]) -> Iterator[Action]:
    """The actions of a file whose names are new."""
    for index, action in enumerate(file.value.action):
        place = _Place(file.source, f"{kind}[{index}]")
        if action.name in places:
            text = f'"{action.name}" is the name of an action in {places[action.name].source.name} already'
            problems.append(place.problem("name", text))
            continue
        places[action.name] = place
        yield action


def _models(files: list[Loaded[RuleFile]], places: dict[str, _Place], problems: list[str]) -> list[LoadedModel]:
    declared: dict[str, tuple[Model, Loaded[RuleFile]]] = {}
    for file in files:
        for index, model in enumerate(file.value.model):
            place = _Place(file.source, f"model[{index}]")
            if model.name in declared:
                text = f'"{model.name}" is the name of a model in {declared[model.name][1].source.name} already'
                problems.append(place.problem("name", text))
                continue
            declared[model.name] = model, file
            places[f"model:{model.name}"] = place
    known = {name: model for name, (model, _) in declared.items()}
    found = []
    for name, (model, file) in declared.items():
        wrong: Problems = []
        program = compile_model(model, known, wrong)
        problems += [places[f"model:{name}"].problem(key, text) for key, text in wrong]
        if program is not None and not wrong:
            found.append(LoadedModel(model, str(file.source.path), fields_of(model, known, []), program))
    return found


def _calls(actions: list[LoadedAction], places: dict[str, _Place]) -> Iterator[str]:
    """What is wrong between actions that call each other."""
    programs = {found.action.name: found.program for found in actions}
    for name, program in programs.items():
        yield from [places[name].problem("do", text) for text in call_problems(program, programs)]
    called = {callee for program in programs.values() for callee, _ in program.calls}
    for name, program in programs.items():
        if program.trigger is None and name not in called:
            text = 'nothing makes it run; give it a trigger such as { topic = "a/#" }, or call it from another action'
            yield places[name].problem("on", text)
    join_outputs(programs)


def _loops(actions: list[LoadedAction], models: list[LoadedModel], places: dict[str, _Place]) -> Iterator[str]:
    programs = [found.program for found in actions if found.action.enabled and not found.action.loop]
    for found in models:
        # A model with a twin does not take what that publishes: there is no loop, though the filters say so.
        if found.model.enabled and not found.model.loop and found.model.twin is None:
            name = f"model:{found.model.name}"
            own = Program(name, found.program.triggers, [found.program.filter], None, [])
            programs.append(own)
    for loop in find_loops(programs):
        text = f"{describe(loop)}; write loop = true in one of them if that is meant to end by itself"
        yield places[loop[0].name].problem("topic" if loop[0].name.startswith("model:") else "do", text)


def shipped_rules() -> Path:
    """The folder of the rule files that come with the gateway: in the package, or beside it in a checkout."""
    packaged = Path(__file__).parent.parent / "shipped_rules"
    return packaged if packaged.is_dir() else packaged.parent.parent / "rules"
