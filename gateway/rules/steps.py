"""A declared action to something that runs: message in, messages out.

All steps are evaluated before anything is published, so an action that fails publishes nothing.
"""

from __future__ import annotations

import keyword
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from gateway.config.keys import KeyPath, format_key
from gateway.delay import target_filter
from gateway.message import Message
from gateway.rules.compile import compile_expression
from gateway.rules.frame import NAMES, Closure, Frame
from gateway.rules.language import RuleError
from gateway.rules.template import TopicTemplate, compile_text, compile_value

if TYPE_CHECKING:
    from gateway.rules.action import Action, Publish

MAX_STEPS_OF_ACTION: Final = 64
"""Steps of one action."""

MAX_NAMES: Final = 64
"""Names that ``set`` may give in one action."""

MAY_BE_SET_ANEW: Final = frozenset({"v", "q", "t", "u"})
"""Built-in names of one letter; whoever sets them does not need those of the point."""

MAX_MESSAGES_OF_BATCH: Final = 64
"""Messages that one step publishes together."""

Output = Message | tuple[Message, ...]
"""What a step publishes: a message, or several that are all stored or none."""

Step = Callable[[Frame, list[Output]], None]
"""One compiled step: names values in the frame, or adds what is to be published."""

Maker = Callable[[Frame], Message]
"""Makes one message to publish."""

Problems = list[tuple[str, str]]
"""(key below the action, what is wrong)."""


class Program:
    """A compiled action.

    triggers  topic filters that make it run
    outputs   topic filters that cover everything it can publish
    """

    __slots__ = ("name", "triggers", "outputs", "_when", "_steps")

    def __init__(
        self, name: str, triggers: Sequence[str], outputs: Sequence[str], when: Closure | None, steps: Sequence[Step]
    ) -> None:
        self.name = name
        self.triggers = tuple(triggers)
        self.outputs = tuple(outputs)
        self._when = when
        self._steps = tuple(steps)

    def run(self, message: Message, time: float, now: float) -> list[Output] | None:
        """What to publish in answer to a message; None when the condition is false.

        ``time``: wall clock, ``now``: monotonic clock, both in seconds. Raises RuleError, and nothing else.
        """
        frame = Frame(message, self.name, time, now)
        if self._when is not None and not self._when(frame):
            return None
        outputs: list[Output] = []
        for step in self._steps:
            step(frame, outputs)
        return outputs


def compile_action(action: Action, problems: Problems) -> Program:
    """Compile one action. What is wrong is added to ``problems``; then the result is not to be used."""
    compiler = _ActionCompiler(problems)
    when = None
    if action.when is not None:
        when = compiler.attempt(("when",), partial(compile_expression, action.when))
    if len(action.do) > MAX_STEPS_OF_ACTION:
        problems.append(("do", f"has {len(action.do)} steps; an action has at most {MAX_STEPS_OF_ACTION}"))
    steps: list[Step] = []
    for index, step in enumerate(action.do[:MAX_STEPS_OF_ACTION]):
        if step.set is not None:
            steps.append(compiler.set(step.set, ("do", index, "set")))
        if step.publish is not None:
            steps.append(_alone(compiler.publish(step.publish, f"rule:{action.name}", ("do", index, "publish"))))
        if step.batch is not None:
            makers = [
                compiler.publish(publish, f"rule:{action.name}", ("do", index, "batch", number))
                for number, publish in enumerate(step.batch)
            ]
            steps.append(_together(makers))
    return Program(action.name, [action.on.topic], compiler.outputs, when, steps)


class _ActionCompiler:
    """Compiles steps one after the other; each sees the names that the earlier ones have set."""

    __slots__ = ("problems", "names", "outputs")

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self.names: set[str] = set()
        self.outputs: list[str] = []

    def attempt(self, path: KeyPath, compile_it: Callable[[], Any]) -> Any:
        """The compiled part, or None with the problem noted."""
        try:
            return compile_it()
        except RuleError as error:
            self.problems.append((format_key(path), str(error)))
            return None

    def set(self, table: dict[str, Any], path: KeyPath) -> Step:
        entries: list[tuple[str, Closure]] = []
        for name, tree in table.items():
            problem = _name_problem(name)
            if problem:
                self.problems.append((format_key((*path, name)), problem))
            read = self.attempt((*path, name), partial(compile_value, tree, frozenset(self.names)))
            entries.append((name, read))
            self.names.add(name)
        if len(self.names) > MAX_NAMES:
            self.problems.append((format_key(path), f"an action may set {MAX_NAMES} names, not {len(self.names)}"))

        def run(frame: Frame, outputs: list[Output]) -> None:
            for name, read in entries:
                frame.names[name] = read(frame)

        return run

    def publish(self, publish: Publish, source: str, path: KeyPath) -> Maker:
        names = frozenset(self.names)
        topic = self.attempt((*path, "topic"), partial(TopicTemplate, publish.topic, names))
        if topic is not None:
            # A loop through a delayed message is a loop.
            self.outputs.append(target_filter(topic.filter))
        text = value = None
        if publish.payload is not None:
            text = self.attempt((*path, "payload"), partial(compile_text, publish.payload, names))
        if publish.value is not None:
            value = self.attempt((*path, "value"), partial(compile_value, publish.value, names))
        qos, retain, expires = publish.qos, publish.retain, publish.expires

        def make(frame: Frame) -> Message:
            cause = frame.message
            where = topic(frame)
            level = cause.qos if qos is None else qos
            if text is not None:
                made = Message(where, text(frame).encode("utf-8", "replace"), level, retain, source=source)
            elif value is not None:
                content = value(frame)
                frame.charge_value(content)
                made = Message(where, None, level, retain, source=source, value=content)
            else:
                made = cause.replace(where, level, retain, source)
            made.hops = cause.hops + 1
            made.time = cause.time or frame.time
            if expires is not None:
                made.expires = frame.now + expires
            return made

        return make


def _alone(make: Maker) -> Step:
    def run(frame: Frame, outputs: list[Output]) -> None:
        outputs.append(make(frame))

    return run


def _together(makers: Sequence[Maker]) -> Step:
    def run(frame: Frame, outputs: list[Output]) -> None:
        outputs.append(tuple(make(frame) for make in makers))

    return run


def _name_problem(name: str) -> str | None:
    if not name.isidentifier() or keyword.iskeyword(name) or not name.isascii():
        return "a name is made of letters, digits and '_', and is no word of the language"
    if name in NAMES and name not in MAY_BE_SET_ANEW:
        return f"{name} is built in ({NAMES[name].text}); choose another name"
    return None
