"""Hints about types: comparisons of points that can never be what they seem to be."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from gateway.config.keys import KeyPath
from gateway.connectors.base import Quality
from gateway.explain.plant import Filters, Plant, Values
from gateway.rules.action import Action
from gateway.rules.model import Model
from gateway.rules.trigger import each
from gateway.rules.walk import Placed, expressions_of, fields_of_model, parsed_of, steps_of

Hint = tuple[KeyPath, str]

QUALITIES: Final = Values("name", dict(enumerate(map(str, Quality))), "the quality of a point")


def type_hints(action: Action, plant: Plant, made: Filters) -> Iterator[Hint]:
    """Of one action. ``made``: filters of what rules publish, of which no settings say what it is."""
    known = names_of(action, plant, made)
    is_set = any("v" in (step.set or {}) for _, step in steps_of(action))
    for placed in expressions_of(action):
        names = {} if is_set and placed.path[0] != "when" else known
        yield from _compared(placed, names, plant)
    for path, step in steps_of(action):
        tree = parsed_of(step.switch) if step.switch is not None else None
        values = _values_of(tree, known, plant) if tree is not None and not is_set else None
        if values is not None:
            for number, branch in enumerate(step.case or ()):
                for given in branch.is_ if isinstance(branch.is_, list | tuple) else [branch.is_]:
                    found = _constant(given)
                    text = _mismatch(values, found, ast.Eq()) if found is not None else None
                    if text:
                        yield (*path, "case", number, "is"), text


def model_hints(model: Model, plant: Plant, made: Filters) -> Iterator[Hint]:
    """Of one model: types that no value of a point has, and comparisons of computed fields."""
    known: dict[str, Values] = {}
    for index, field in enumerate(model.field):
        values = None if field.topic is None or field.value is not None else _shared((field.topic,), plant, made)
        if values is None:
            continue
        if field.type == "any":
            known[field.name] = values
        elif field.type in ("float", "int") and values.kind == "name":
            shown = ", ".join(f'"{name}"' for name in values.names.values())
            yield ("field", index, "type"), f'{values.where} has names as values ({shown}), which are no "{field.type}"'
    for placed in fields_of_model(model):
        yield from _compared(placed, known, plant)


def names_of(action: Action, plant: Plant, made: Filters) -> dict[str, Values]:
    """What ``v`` and ``q`` are, where all that makes the action run are points of one kind."""
    on = action.on
    if on is None:
        return {}
    filters = (*each(on.topic), *each(on.change), *each(on.quality))
    if not filters or len(tuple(on.given())) != sum(one is not None for one in (on.topic, on.change, on.quality)):
        return {}
    values = _shared(filters, plant, made)
    return {} if values is None else {"v": values, "q": QUALITIES}


def _shared(filters: Sequence[str], plant: Plant, made: Filters) -> Values | None:
    """What the values of all these points are; None where they differ, or something else may come too."""
    found: Values | None = None
    for pattern in filters:
        points = plant.at(pattern)
        if not points or pattern.endswith("#") or made.overlap(pattern):
            return None
        for point in points:
            values = point.values
            if values is None or (found is not None and (values.kind, values.names) != (found.kind, found.names)):
                return None
            found = found or values
    return found


def _compared(placed: Placed, names: Mapping[str, Values], plant: Plant) -> Iterator[Hint]:
    for node in ast.walk(placed.tree):
        if not isinstance(node, ast.Compare):
            continue
        operands = [node.left, *node.comparators]
        for left, op, right in zip(operands, node.ops, operands[1:], strict=False):
            for one, other in ((left, right), (right, left)):
                values = _values_of(one, names, plant)
                if values is None:
                    continue
                constants = other.elts if isinstance(other, ast.List) else [other]
                for constant in constants:
                    if isinstance(constant, ast.Constant):
                        text = _mismatch(values, constant.value, op)
                        if text:
                            yield placed.path, text


def _values_of(tree: ast.expr, names: Mapping[str, Values], plant: Plant) -> Values | None:
    if isinstance(tree, ast.Name):
        return names.get(tree.id)
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and tree.func.id == "get" and tree.args:
        argument = tree.args[0]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            point = plant.points.get(argument.value)
            return None if point is None else point.values
    return None


def _mismatch(values: Values, constant: Any, op: ast.cmpop) -> str | None:
    """Why comparing these makes no sense; None when it does."""
    if constant is None:
        return None
    is_text = isinstance(constant, str)
    if values.kind in ("number", "switch") and is_text:
        what = "a number" if values.kind == "number" else "true or false"
        return f"{values.where} is {what}, and is compared with the text {constant!r}"
    if values.kind == "text" and not is_text:
        return f"{values.where} is text, and is compared with {constant!r}"
    if values.kind != "name":
        return None
    known = list(values.names.values())
    if is_text and isinstance(op, ast.Eq | ast.NotEq | ast.In | ast.NotIn):
        if constant in known:
            return None
        close = difflib.get_close_matches(constant, known, 1)
        hint = f'did you mean "{close[0]}"?' if close else "there are: " + ", ".join(f'"{name}"' for name in known)
        return f"{values.where} is never {constant!r}; {hint}"
    if not is_text and constant in values.names:
        return f'{values.where} is a name: where it says {constant}, the value is "{values.names[constant]}"'
    return None


def _constant(given: Any) -> Any:
    """The value of a constant expression in quotes, or of a number; None for anything else."""
    if isinstance(given, str):
        tree = parsed_of(given)
        return tree.value if isinstance(tree, ast.Constant) else None
    return given
