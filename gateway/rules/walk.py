"""All steps and all expressions of an action or model, each with the key where it stands. Pure.

For whoever looks at rules without running them. What cannot be parsed is left out: the loader has said so.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.config.keys import KeyPath
from gateway.rules.language import RuleError, parse
from gateway.rules.template import Hole, split_template

if TYPE_CHECKING:
    from gateway.rules.action import Action
    from gateway.rules.model import Model
    from gateway.rules.step import Publish, Step


class Placed(NamedTuple):
    """An expression and the key where it stands, below its action or model."""

    path: KeyPath
    tree: ast.expr


def steps_of(action: Action) -> Iterator[tuple[KeyPath, Step]]:
    """All steps, those inside others with them, each before those inside it."""
    yield from _steps(action.do, ("do",))


def _steps(steps: Sequence[Step], path: KeyPath) -> Iterator[tuple[KeyPath, Step]]:
    for index, step in enumerate(steps):
        here = (*path, index)
        yield here, step
        yield from _steps(step.then or (), (*here, "then"))
        yield from _steps(step.else_ or (), (*here, "else"))
        yield from _steps(step.do or (), (*here, "do"))
        for number, branch in enumerate(step.case or ()):
            yield from _steps(branch.do, (*here, "case", number, "do"))


def expressions_of(action: Action) -> Iterator[Placed]:
    """All expressions, those in texts and topics with them."""
    yield from _value(action.when, ("when",))
    yield from _text(action.per, ("per",))
    for path, step in steps_of(action):
        yield from _of_step(step, path)
    yield from _value(action.returns, ("returns",))


def fields_of_model(model: Model) -> Iterator[Placed]:
    """The expressions of the fields that stand in this model."""
    for index, field in enumerate(model.field):
        yield from _value(field.value, ("field", index, "value"))


def _of_step(step: Step, path: KeyPath) -> Iterator[Placed]:
    for name, tree in (step.set or {}).items():
        yield from _value(tree, (*path, "set", name))
    if step.publish is not None:
        yield from _publish(step.publish, (*path, "publish"))
    for number, publish in enumerate(step.batch or ()):
        yield from _publish(publish, (*path, "batch", number))
    if step.queue is not None:
        yield from _publish(step.queue.message, (*path, "queue"))
    if step.keep is not None:
        yield from _text(step.keep.name, (*path, "keep", "name"))
        yield from _value(step.keep.value, (*path, "keep", "value"))
    if step.write is not None:
        yield from _text(step.write.point, (*path, "write", "point"))
        yield from _value(step.write.value, (*path, "write", "value"))
        yield from _text(step.write.id, (*path, "write", "id"))
    if step.raise_ is not None:
        yield from _text(step.raise_.alarm, (*path, "raise", "alarm"))
        yield from _text(step.raise_.text, (*path, "raise", "text"))
    if step.clear is not None:
        yield from _text(step.clear.alarm, (*path, "clear", "alarm"))
    for name, tree in (step.with_ or {}).items():
        yield from _value(tree, (*path, "with", name))
    yield from _value(step.if_, (*path, "if"))
    yield from _value(step.switch, (*path, "switch"))
    for number, branch in enumerate(step.case or ()):
        yield from _value(branch.is_, (*path, "case", number, "is"))
    yield from _value(step.each, (*path, "each"))
    yield from _text(step.name, (*path, "name"))
    yield from _text(step.cancel, (*path, "cancel"))


def _publish(publish: Publish, path: KeyPath) -> Iterator[Placed]:
    yield from _text(publish.topic, (*path, "topic"))
    yield from _text(publish.payload, (*path, "payload"))
    yield from _value(publish.value, (*path, "value"))


def _value(tree: Any, path: KeyPath) -> Iterator[Placed]:
    """A value whose texts are expressions."""
    if isinstance(tree, str):
        parsed = parsed_of(tree)
        if parsed is not None:
            yield Placed(path, parsed)
    elif isinstance(tree, Mapping):
        for below in tree.values():
            yield from _value(below, path)
    elif isinstance(tree, list | tuple):
        for below in tree:
            yield from _value(below, path)


def _text(template: str | None, path: KeyPath) -> Iterator[Placed]:
    """A text with holes."""
    try:
        parts = split_template(template or "")
    except RuleError:
        return
    for part in parts:
        if isinstance(part, Hole):
            yield from _value(part.text, path)


def parsed_of(text: str) -> ast.expr | None:
    """The tree of an expression; None when it is none."""
    try:
        return parse(text)[1]
    except RuleError:
        return None


def filter_of(template: str) -> str:
    """A filter that covers every text that a template can make, level by level; only a last ``{topic}`` makes
    several."""
    try:
        parts = split_template(template)
    except RuleError:
        return "#"
    shape = "".join("\0" if isinstance(part, Hole) else part for part in parts)
    levels = ["+" if "\0" in level else level for level in shape.split("/")]
    last = parts[-1] if parts else ""
    if isinstance(last, Hole) and last.text.strip() == "topic" and shape.endswith("/\0"):
        levels[-1] = "#"
    return "/".join(levels)
