"""Hints about what never runs: conditions that are never true, branches that nothing reaches, actions said twice."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from gateway.config.keys import KeyPath
from gateway.message import Message, Value
from gateway.rules.action import Action
from gateway.rules.compile import compile_expression
from gateway.rules.frame import Frame
from gateway.rules.language import RuleError
from gateway.rules.walk import filter_of, parsed_of, steps_of
from gateway.topic import overlaps

Hint = tuple[KeyPath, str]

NOTHING: Final = object()

_CONSTANTS: Final = ("true", "false", "null")


def dead_hints(action: Action, devices: Iterable[str], uplinks: Iterable[str]) -> Iterator[Hint]:
    """Of one action by itself. ``devices``, ``uplinks``: names of those in the settings."""
    if action.when is not None:
        why = never_true(action.when)
        if why:
            yield ("when",), f"is never true ({why}): the action never does anything"
    for key, given, known in (
        ("device", action.on.device if action.on is not None else None, list(devices)),
        ("uplink", action.on.uplink if action.on is not None else None, list(uplinks)),
    ):
        if given not in (None, "+", *known):
            yield ("on", key), f'no {key} is called "{given}"; there are: {", ".join(known) or "none"}'
    for path, step in steps_of(action):
        if step.if_ is not None:
            why = never_true(step.if_)
            if why:
                yield (*path, "if"), f"is never true ({why}): what stands in then is never reached"
            elif step.else_ and bool(folded(step.if_, False)):
                yield (*path, "if"), "is always true: what stands in else is never reached"
        if step.switch is not None:
            yield from _cases(step.case or (), path)


def _cases(branches: Sequence[Any], path: KeyPath) -> Iterator[Hint]:
    seen: dict[str, int] = {}
    for number, branch in enumerate(branches):
        given = branch.is_ if isinstance(branch.is_, list | tuple) else [branch.is_]
        texts = [repr(one) for one in given]
        if all(text in seen for text in texts):
            first = ", ".join(dict.fromkeys(f"case[{seen[text]}]" for text in texts))
            yield (*path, "case", number, "is"), f"is never reached: {first} takes it already"
        for text in texts:
            seen.setdefault(text, number)


def pair_hints(actions: Mapping[str, Action], where: Mapping[str, str]) -> Iterator[tuple[str, KeyPath, str]]:
    """Of actions together: (name, key, text). ``where``: the file and line of each, by its name."""
    enabled = {name: action for name, action in actions.items() if action.enabled}
    seen: dict[tuple[Any, ...], str] = {}
    for name, action in enabled.items():
        if action.on is None:
            continue
        same = repr(action.on), _normal(action.when), action.per
        first = seen.setdefault(same, name)
        if first != name:
            is_whole = repr(enabled[first].do) == repr(action.do)
            what = "does the same as" if is_whole else "has the trigger and the condition of"
            hint = "leave one of them out" if is_whole else "both run; put the steps into one of them"
            yield name, ("on",), f'{what} "{first}" ({where[first]}): {hint}'
    callers: dict[str, list[str]] = {}
    for name, action in actions.items():
        for path, step in steps_of(action):
            callee = actions.get(step.call) if step.call is not None else None
            if callee is None:
                continue
            callers.setdefault(callee.name, []).append(name)
            if action.enabled and not callee.enabled:
                yield name, (*path, "call"), f'"{callee.name}" is not enabled: the action fails when it comes here'
    for name, action in enabled.items():
        if action.on is None and not any(actions[caller].enabled for caller in callers.get(name, ())):
            found = ", ".join(f'"{caller}"' for caller in callers.get(name, ()))
            yield name, ("name",), f"never runs: it has no trigger, and only {found} calls it, which is not enabled"
    yield from _alarms(enabled)


def _alarms(actions: Mapping[str, Action]) -> Iterator[tuple[str, KeyPath, str]]:
    steps = [(name, path, step) for name, action in actions.items() for path, step in steps_of(action)]
    raised = [filter_of(step.raise_.alarm) for _, _, step in steps if step.raise_ is not None]
    for name, path, step in steps:
        if step.clear is not None and not any(overlaps(filter_of(step.clear.alarm), one) for one in raised):
            yield name, (*path, "clear", "alarm"), f'no action raises the alarm "{step.clear.alarm}"'


def never_true(text: str) -> str | None:
    """Why this condition is never true, as far as it can be known without values; None when it may be."""
    tree = parsed_of(text)
    if tree is None:
        return None
    whole = folded(text, NOTHING)
    if whole is not NOTHING:
        return None if whole else "it names nothing that changes"
    parts = tree.values if isinstance(tree, ast.BoolOp) and isinstance(tree.op, ast.And) else [tree]
    for part in parts:
        value = folded(ast.unparse(part), NOTHING)
        if value is not NOTHING and not value and len(parts) > 1:
            return f"{ast.unparse(part)} is not"
    return _contradiction(parts)


def folded(text: str, otherwise: Any) -> Value:
    """The value of an expression that names nothing that changes; ``otherwise`` for others."""
    tree = parsed_of(text)
    if tree is None or any(
        isinstance(node, ast.Call) or (isinstance(node, ast.Name) and node.id not in _CONSTANTS)
        for node in ast.walk(tree)
    ):
        return otherwise
    try:
        return compile_expression(text)(Frame(Message("")))
    except RuleError:
        return otherwise


class _Bounds:
    """What one operand must be at once."""

    __slots__ = ("low", "high", "is_low_open", "is_high_open", "equal", "said")

    def __init__(self) -> None:
        self.low, self.high = -math.inf, math.inf
        self.is_low_open = self.is_high_open = False
        self.equal: list[Any] = []
        self.said: list[str] = []

    def must(self, op: ast.cmpop, value: Any) -> None:
        """One more condition."""
        if isinstance(op, ast.Eq):
            self.equal.append(value)
        elif isinstance(value, bool) or not isinstance(value, int | float):
            return
        elif isinstance(op, ast.Gt | ast.GtE) and value >= self.low:
            self.is_low_open = isinstance(op, ast.Gt) or (self.is_low_open and value == self.low)
            self.low = value
        elif isinstance(op, ast.Lt | ast.LtE) and value <= self.high:
            self.is_high_open = isinstance(op, ast.Lt) or (self.is_high_open and value == self.high)
            self.high = value
        else:
            return

    @property
    def is_empty(self) -> bool:
        """Whether nothing is all of that."""
        if self.low > self.high or (self.low == self.high and (self.is_low_open or self.is_high_open)):
            return True
        if any(one != self.equal[0] for one in self.equal):
            return True
        numbers = [one for one in self.equal if isinstance(one, int | float) and not isinstance(one, bool)]
        return any(
            one < self.low
            or one > self.high
            or (one == self.low and self.is_low_open)
            or (one == self.high and self.is_high_open)
            for one in numbers
        )


_TURNED: Final[dict[type[ast.cmpop], ast.cmpop]] = {
    ast.Lt: ast.Gt(),
    ast.LtE: ast.GtE(),
    ast.Gt: ast.Lt(),
    ast.GtE: ast.LtE(),
    ast.Eq: ast.Eq(),
}


def _contradiction(parts: Sequence[ast.expr]) -> str | None:
    """Two of these that are never true together, said in words."""
    found: dict[str, _Bounds] = {}
    for part in parts:
        if not isinstance(part, ast.Compare) or any(isinstance(node, ast.Call) for node in ast.walk(part)):
            continue  # a function may say one thing now and another a moment later
        operands = [part.left, *part.comparators]
        for left, op, right in zip(operands, part.ops, operands[1:], strict=False):
            if type(op) not in _TURNED:
                continue
            for subject, how, other in ((left, op, right), (right, _TURNED[type(op)], left)):
                value = folded(ast.unparse(other), NOTHING)
                if value is NOTHING or value is None or isinstance(subject, ast.Constant):
                    continue
                bounds = found.setdefault(ast.dump(subject), _Bounds())
                bounds.must(how, value)
                bounds.said.append(ast.unparse(part))
                if bounds.is_empty:
                    return " and ".join(dict.fromkeys(bounds.said)) + " are never true together"
    return None


def _normal(text: str | None) -> str:
    tree = parsed_of(text) if text is not None else None
    return "" if tree is None else ast.unparse(tree)
