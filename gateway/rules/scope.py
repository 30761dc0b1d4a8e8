"""What a step may use where it stands, while an action is compiled; notes what is wrong instead of raising it."""

from __future__ import annotations

import keyword
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from gateway.config.keys import KeyPath, format_key
from gateway.rules.cells import CellPlan
from gateway.rules.compile import compile_expression
from gateway.rules.frame import NAMES
from gateway.rules.language import RuleError
from gateway.rules.program import Problems
from gateway.rules.template import TopicTemplate, compile_text, compile_value

MAX_NAMES: Final = 64
"""Names that the steps of one action may give."""

MAY_BE_SET_ANEW: Final = frozenset({"v", "q", "t", "u"})
"""Built-in names of one letter; whoever sets them does not need those of the point."""


class Scope:
    """Names known so far, places for what functions remember, filters of what is published, problems.

    A name that one branch sets is known behind it, and is None when the branch was not taken.
    """

    __slots__ = (
        "problems",
        "names",
        "plan",
        "outputs",
        "calls",
        "asks",
        "queues",
        "source",
        "has_effects",
        "raises",
        "steps",
    )

    def __init__(self, source: str, problems: Problems) -> None:
        self.source = source
        self.problems = problems
        self.names: set[str] = set()
        self.plan = CellPlan()
        self.outputs: list[str] = []
        self.calls: list[tuple[str, frozenset[str]]] = []
        self.asks: list[tuple[str, frozenset[str]]] = []
        self.queues: list[str] = []
        self.has_effects = False
        self.raises = False
        self.steps = 0

    def attempt(self, path: KeyPath, compile_it: Callable[[], Any]) -> Any:
        """The compiled part, or None with the problem noted."""
        try:
            return compile_it()
        except RuleError as error:
            self.problem(path, str(error))
            return None

    def problem(self, path: KeyPath, text: str) -> None:
        self.problems.append((format_key(path), text))

    def expression(self, text: str, path: KeyPath) -> Any:
        return self.attempt(path, partial(compile_expression, text, frozenset(self.names), self.plan))

    def value(self, tree: Any, path: KeyPath) -> Any:
        return self.attempt(path, partial(compile_value, tree, frozenset(self.names), self.plan))

    def text(self, template: str, path: KeyPath) -> Any:
        return self.attempt(path, partial(compile_text, template, frozenset(self.names), self.plan))

    def topic(self, template: str, path: KeyPath) -> Any:
        return self.attempt(path, partial(TopicTemplate, template, frozenset(self.names), self.plan))

    def name(self, names: Iterable[str], path: KeyPath) -> None:
        """Give names, from here on."""
        for name in names:
            problem = _name_problem(name)
            if problem:
                self.problem((*path, name), problem)
            self.names.add(name)
        if len(self.names) > MAX_NAMES:
            self.problem(path, f"an action may set {MAX_NAMES} names, not {len(self.names)}")


def _name_problem(name: str) -> str | None:
    if not name.isidentifier() or keyword.iskeyword(name) or not name.isascii():
        return "a name is made of letters, digits and '_', and is no word of the language"
    if name in NAMES and name not in MAY_BE_SET_ANEW:
        return f"{name} is built in ({NAMES[name].text}); choose another name"
    return None
