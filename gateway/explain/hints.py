"""Everything that ``gateway check`` warns of in rule files: each with its file, its line and what to do. Pure, but for
reading the files.

A warning is what can be known without values and is still no mistake for sure: clients publish too, and a device may be
added later. What is a mistake for sure is said by ``rules.load``.
"""

from __future__ import annotations

from collections.abc import Iterator

from gateway.config.find import rule_files
from gateway.config.keys import KeyPath, format_key
from gateway.config.load import Loaded, read
from gateway.config.settings import Settings
from gateway.delay import target_filter
from gateway.explain.hint_dead import dead_hints, pair_hints
from gateway.explain.hint_topics import model_topic_hints, topic_hints
from gateway.explain.hint_types import model_hints, type_hints
from gateway.explain.plant import Filters, Plant
from gateway.rules.action import Action, RuleFile
from gateway.rules.alarm_table import ROOT as ALARMS
from gateway.rules.load import RuleSet
from gateway.rules.walk import filter_of, steps_of


def rule_hints(loaded: Loaded[Settings], rules: RuleSet) -> list[str]:
    """Warnings about the rules of these settings, in the order of files and lines."""
    files = [read(path, RuleFile) for path in rule_files(loaded.value.rules, loaded.source)]
    places = {
        action.name: (file, ("action", index)) for file in files for index, action in enumerate(file.value.action)
    }
    found: dict[str, list[tuple[KeyPath | str, str]]] = {file.source.name: [] for file in files}
    for name, key, text in _of_actions(rules, loaded.value, places):
        file, at = places[name]
        found[file.source.name].append(((*at, *key), text))
    plant, known, made, kept = Plant(loaded.value), *_known(rules, loaded.value)
    for file in files:
        for index, model in enumerate(file.value.model):
            if model.enabled:
                for key, text in (
                    *model_topic_hints(model, plant, known, kept),
                    *model_hints(model, plant, made),
                ):
                    found[file.source.name].append((("model", index, *key), text))
    return [problem for file in files for problem in file.source.problems(found[file.source.name])]


Places = dict[str, tuple[Loaded[RuleFile], tuple[str, int]]]


def _of_actions(rules: RuleSet, settings: Settings, places: Places) -> Iterator[tuple[str, KeyPath, str]]:
    plant, known, made, kept = Plant(settings), *_known(rules, settings)
    actions: dict[str, Action] = {found.action.name: found.action for found in rules.actions}
    for name, action in actions.items():
        if not action.enabled:
            continue
        for key, text in (
            *topic_hints(action, plant, known, kept),
            *type_hints(action, plant, made),
            *dead_hints(action, settings.device, settings.uplink),
        ):
            yield name, key, text
    where = {name: _where(file, at) for name, (file, at) in places.items()}
    yield from pair_hints(actions, where)


def _where(file: Loaded[RuleFile], at: tuple[str, int]) -> str:
    line = file.source.line(format_key(at))
    return file.source.name if line is None else f"{file.source.name}:{line}"


def _known(rules: RuleSet, settings: Settings) -> tuple[Filters, Filters, Filters]:
    """Filters of all that is published, of what rules and uplinks publish of it, and of the names that are kept."""
    made = [pattern for loaded in rules.actions if loaded.action.enabled for pattern in loaded.program.outputs]
    made += [loaded.program.filter for loaded in rules.models if loaded.model.enabled]
    for uplink in settings.uplink.values():
        for entry in getattr(uplink, "receive", ()):
            made.append(target_filter(entry.to or entry.filter))
    kept = [
        filter_of(step.keep.name)
        for loaded in rules.actions
        for _, step in steps_of(loaded.action)
        if step.keep is not None
    ]
    known = [*Plant(settings).spoken(), *made, f"{ALARMS}/#"]
    return Filters(known), Filters(made), Filters(kept)
