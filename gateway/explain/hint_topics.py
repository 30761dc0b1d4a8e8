"""Hints about topics and points: what nothing publishes, what cannot be written, what ``get`` never finds."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

from gateway.config.keys import KeyPath
from gateway.explain.hint_dead import NOTHING, folded
from gateway.explain.plant import Filters, Plant
from gateway.message import Value
from gateway.rules.action import Action
from gateway.rules.model import Model
from gateway.rules.step import Write
from gateway.rules.trigger import each
from gateway.rules.walk import expressions_of, fields_of_model, filter_of, steps_of

Hint = tuple[KeyPath, str]

OTHERS: Final = "no device, model, rule or uplink of these settings publishes"


def topic_hints(action: Action, plant: Plant, known: Filters, kept: Filters) -> Iterator[Hint]:
    """Of one action. ``known``: filters of all that is published; ``kept``: filters of the names that are kept."""
    if action.on is not None:
        for key in ("topic", "change", "quality"):
            given = getattr(action.on, key)
            for number, pattern in enumerate(each(given)):
                path: KeyPath = ("on", key) if isinstance(given, str) else ("on", key, number)
                yield from _unknown(pattern, path, plant, known)
        if action.on.timeout is not None:
            yield from _unknown(action.on.timeout.topic, ("on", "timeout", "topic"), plant, known)
    for placed in expressions_of(action):
        yield from _unfound(placed.tree, placed.path, plant, known, kept)
    for path, step in steps_of(action):
        if step.write is not None:
            yield from _write(step.write, (*path, "write"), plant)


def model_topic_hints(model: Model, plant: Plant, known: Filters, kept: Filters) -> Iterator[Hint]:
    """Of one model."""
    for index, field in enumerate(model.field):
        if field.topic is not None:
            yield from _unknown(field.topic, ("field", index, "topic"), plant, known)
    for placed in fields_of_model(model):
        yield from _unfound(placed.tree, placed.path, plant, known, kept)


def _unknown(pattern: str, path: KeyPath, plant: Plant, known: Filters) -> Iterator[Hint]:
    """A filter below the topic of a device, where only what is configured is expected: elsewhere are clients."""
    device = plant.device_above(pattern)
    if device is not None and not known.overlap(pattern):
        yield path, f"{OTHERS} {pattern}{plant.near(device, pattern)}"


def _unfound(tree: ast.expr, path: KeyPath, plant: Plant, known: Filters, kept: Filters) -> Iterator[Hint]:
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "get" and node.args):
            continue
        name = node.args[0].value if isinstance(node.args[0], ast.Constant) else None
        if not isinstance(name, str):
            continue
        device = plant.device_above(name)
        if device is not None and not known.overlap(name) and not kept.overlap(name):
            yield path, f'get("{name}"): nothing keeps that name, and {OTHERS} it{plant.near(device, name)}'


def _write(write: Write, path: KeyPath, plant: Plant) -> Iterator[Hint]:
    pattern = filter_of(write.point)
    points = plant.at(pattern)
    if not points:
        device = plant.device_above(pattern)
        where = f"{device} has no such point{plant.near(device, pattern)}" if device is not None else ""
        yield (*path, "point"), where or f"no device has a point at {write.point}"
        return
    if all(point.settings.write is None for point in points):
        names = f"{points[0].topic} is" if len(points) == 1 else "the points here are"
        yield (*path, "point"), f"{names} read-only; give the point write = {{ min = ..., max = ... }}"
        return
    value = _constant_of(write.value)
    refusals = [point.refusal(value) for point in points] if value is not NOTHING else []
    if refusals and all(refusals):
        yield (*path, "value"), f"{points[0].topic} {refusals[0]}"


def _constant_of(tree: object) -> Value:
    """The value of an expression, number or truth that is always the same; NOTHING for others."""
    if isinstance(tree, str):
        return folded(tree, NOTHING)
    return tree if isinstance(tree, bool | int | float) else NOTHING
