"""A declared action to a program: every step to a function, every mistake with the key where it stands."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from gateway.config.keys import KeyPath
from gateway.message import Value
from gateway.rules.frame import Frame
from gateway.rules.language import RuleError
from gateway.rules.operators import comparison, kind
from gateway.rules.program import (
    Ask,
    Cancelled,
    Cleared,
    Kept,
    Output,
    Planned,
    Problems,
    Program,
    Raised,
    Step,
    nested,
)
from gateway.rules.publishing import batch_step, publish_step, queue_step, write_step
from gateway.rules.scope import Scope

if TYPE_CHECKING:
    from gateway.rules.action import Action
    from gateway.rules.step import Step as Declared

MAX_STEPS_OF_ACTION: Final = 256
"""Steps of one action, those inside other steps with them."""

MAX_ITEMS: Final = 1000
"""Items of a list that ``each`` goes through."""

LONGEST_NAME: Final = 256
"""Characters of the name of something kept, planned, or raised."""

_EQUAL: Final = comparison(ast.Eq(), "switch")


def compile_action(action: Action, problems: Problems) -> Program:
    """Compile one action. What is wrong is added to ``problems``; then the result is not to be used."""
    scope = Scope(f"rule:{action.name}", problems)
    per = scope.text(action.per, ("per",)) if action.per is not None else None
    if scope.plan.makers:
        # It says whose memory that is; nothing is remembered before.
        problems.append(("per", "must not use a function that remembers"))
    scope.name(action.inputs, ("inputs",))
    when = scope.expression(action.when, ("when",)) if action.when is not None else None
    steps = _steps(action.do, scope, ("do",))
    returns = scope.expression(action.returns, ("returns",)) if action.returns is not None else None
    if scope.steps > MAX_STEPS_OF_ACTION:
        problems.append(("do", f"has {scope.steps} steps; an action has at most {MAX_STEPS_OF_ACTION}"))
    return Program(
        action.name,
        action.on.filters if action.on is not None else (),
        scope.outputs,
        when,
        steps,
        trigger=action.on,
        calls=scope.calls,
        inputs=action.inputs,
        makers=scope.plan.makers,
        per=per,
        returns=returns,
        topics=scope.plan.topics,
        effects=scope.has_effects,
        raises=scope.raises,
        secrets=scope.plan.secrets,
        queues=scope.queues,
        asks=scope.asks,
    )


def _steps(steps: Sequence[Declared], scope: Scope, path: KeyPath) -> tuple[Step, ...]:
    made = []
    for index, step in enumerate(steps):
        scope.steps += 1
        if scope.steps <= MAX_STEPS_OF_ACTION:
            made.append(_step(step, scope, (*path, index)))
    return tuple(made)


def _step(step: Declared, scope: Scope, path: KeyPath) -> Step:
    """One step by the key that says what it does."""
    if step.publish is not None:
        return publish_step(step.publish, scope, (*path, "publish"))
    if step.batch is not None:
        return batch_step(step.batch, scope, (*path, "batch"))
    if step.queue is not None:
        return queue_step(step.queue, scope, (*path, "queue"))
    if step.write is not None:
        return write_step(step.write, scope, (*path, "write"))
    for name, compile_it in _BY_KEY.items():
        if getattr(step, name) is not None:
            return compile_it(step, scope, path)
    return _nothing


def _nothing(frame: Frame, outputs: list[Output]) -> None:
    """A step that says nothing; its declaration is refused."""


def _set(step: Declared, scope: Scope, path: KeyPath) -> Step:
    assert step.set is not None
    entries = []
    for name, tree in step.set.items():
        entries.append((name, scope.value(tree, (*path, "set", name))))
        scope.name((name,), (*path, "set"))

    def run(frame: Frame, outputs: list[Output]) -> None:
        for name, read in entries:
            frame.names[name] = read(frame)

    return run


def _keep(step: Declared, scope: Scope, path: KeyPath) -> Step:
    assert step.keep is not None
    scope.has_effects = True
    name = scope.text(step.keep.name, (*path, "keep", "name"))
    value = scope.value(step.keep.value, (*path, "keep", "value"))
    persist = step.keep.persist

    def run(frame: Frame, outputs: list[Output]) -> None:
        key, content = _named(name(frame)), value(frame)
        frame.charge_value(content)
        if frame.kept is None:
            frame.kept = {}
        frame.kept[key] = content
        outputs.append(Kept(key, content, persist))

    return run


def _raise(step: Declared, scope: Scope, path: KeyPath) -> Step:
    declared = step.raise_
    assert declared is not None
    scope.has_effects = scope.raises = True
    name = scope.topic(declared.alarm, (*path, "raise", "alarm"))
    text = scope.text(declared.text, (*path, "raise", "text"))
    severity, latch = declared.severity, declared.latch

    def run(frame: Frame, outputs: list[Output]) -> None:
        outputs.append(Raised(_named(name(frame)), text(frame), severity, latch))

    return run


def _clear(step: Declared, scope: Scope, path: KeyPath) -> Step:
    assert step.clear is not None
    scope.has_effects = True
    name = scope.topic(step.clear.alarm, (*path, "clear", "alarm"))

    def run(frame: Frame, outputs: list[Output]) -> None:
        outputs.append(Cleared(_named(name(frame))))

    return run


def _call(step: Declared, scope: Scope, path: KeyPath) -> Step:
    callee, into = step.call, step.into
    assert callee is not None
    scope.has_effects = True
    given = [(name, scope.value(tree, (*path, "with", name))) for name, tree in (step.with_ or {}).items()]
    scope.calls.append((callee, frozenset(name for name, _ in given)))
    if into is not None:
        scope.name((into,), (*path, "into"))

    def run(frame: Frame, outputs: list[Output]) -> None:
        inputs = {name: read(frame) for name, read in given}
        result = frame.world.call(frame, callee, inputs, outputs)
        if into is not None:
            frame.names[into] = result

    return run


def _if(step: Declared, scope: Scope, path: KeyPath) -> Step:
    assert step.if_ is not None
    test = scope.expression(step.if_, (*path, "if"))
    yes = _steps(step.then or (), scope, (*path, "then"))
    no = _steps(step.else_ or (), scope, (*path, "else"))

    def parts(frame: Frame) -> tuple[Sequence[Step]]:
        return (yes if test(frame) else no,)

    return nested(parts, yes + no)


def _switch(step: Declared, scope: Scope, path: KeyPath) -> Step:
    assert step.switch is not None
    subject = scope.expression(step.switch, (*path, "switch"))
    branches = [
        (
            scope.value(branch.is_, (*path, "case", index, "is")),
            isinstance(branch.is_, list),
            _steps(branch.do, scope, (*path, "case", index, "do")),
        )
        for index, branch in enumerate(step.case or ())
    ]
    otherwise = _steps(step.else_ or (), scope, (*path, "else"))

    def parts(frame: Frame) -> tuple[Sequence[Step]]:
        value = subject(frame)
        for read, is_several, steps in branches:
            wanted = read(frame)
            if any(_same(frame, value, one) for one in wanted) if is_several else _same(frame, value, wanted):
                return (steps,)
        return (otherwise,)

    return nested(parts, [*otherwise, *[inner for _, _, steps in branches for inner in steps]])


def _same(frame: Frame, value: Value, wanted: Value) -> bool:
    return bool(_EQUAL(frame, value, wanted))


def _each(step: Declared, scope: Scope, path: KeyPath) -> Step:
    assert step.each is not None
    items = scope.expression(step.each, (*path, "each"))
    name = step.as_
    scope.name((name, "index"), (*path, "as"))
    steps = _steps(step.do or (), scope, (*path, "do"))
    cost = len(steps) + 1

    def parts(frame: Frame) -> Iterator[Sequence[Step]]:
        found = items(frame)
        if found is None:
            return
        if not isinstance(found, list):
            raise RuleError(f"each needs a list, not a {kind(found)}")
        if len(found) > MAX_ITEMS:
            raise RuleError(f"each goes through at most {MAX_ITEMS} items, not {len(found)}")
        frame.charge(len(found) * cost)
        for index, item in enumerate(found):
            frame.names[name] = item
            frame.names["index"] = index
            yield steps

    return nested(parts, steps)


def _after(step: Declared, scope: Scope, path: KeyPath) -> Step:
    assert step.after is not None
    scope.has_effects = True
    delay = step.after
    name = scope.text(step.name, (*path, "name")) if step.name is not None else None
    asks_before = len(scope.asks)
    steps = _steps(step.do or (), scope, (*path, "do"))
    if len(scope.asks) > asks_before:
        text = (
            "no function can be asked in what comes later; publish a message there, and ask in an action on its topic"
        )
        scope.problem((*path, "do"), text)

    def run(frame: Frame, outputs: list[Output]) -> None:
        label = _named(name(frame)) if name is not None else ""
        outputs.append(Planned(label, delay, steps, frame.later(frame.time, frame.now)))

    return run


def _cancel(step: Declared, scope: Scope, path: KeyPath) -> Step:
    assert step.cancel is not None
    scope.has_effects = True
    name = scope.text(step.cancel, (*path, "cancel"))

    def run(frame: Frame, outputs: list[Output]) -> None:
        outputs.append(Cancelled(_named(name(frame))))

    return run


def _python(step: Declared, scope: Scope, path: KeyPath) -> Step:
    assert step.python is not None
    if not _FUNCTION.fullmatch(step.python):
        scope.problem((*path, "python"), 'must be the file and the function, such as "convert.to_celsius"')
    given = [(name, scope.value(tree, (*path, "with", name))) for name, tree in (step.with_ or {}).items()]
    if step.into is not None:
        scope.name((step.into,), (*path, "into"))
    scope.asks.append((step.python, frozenset(name for name, _ in given)))
    return Ask(step.python, given, step.into)


_FUNCTION: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}\.[A-Za-z][A-Za-z0-9_]{0,63}")

_BY_KEY: Final[dict[str, Callable[[Any, Scope, KeyPath], Step]]] = {
    "set": _set,
    "keep": _keep,
    "raise_": _raise,
    "clear": _clear,
    "call": _call,
    "if_": _if,
    "switch": _switch,
    "each": _each,
    "after": _after,
    "cancel": _cancel,
    "python": _python,
}


def _named(text: str) -> str:
    if not 0 < len(text) <= LONGEST_NAME:
        raise RuleError(f"a name has 1 to {LONGEST_NAME} characters, not {len(text)}")
    return text
