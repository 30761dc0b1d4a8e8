"""Templates: texts with ``{expression}`` holes, topics with holes, and tables whose texts are expressions.

``{{`` and ``}}`` are braces themselves. ``{topic.1}`` is a short way to write ``{topic[1]}``. A hole is filled as
JSON writes the value, a text without its quotes, a missing value as ``null``.

In a topic a hole fills one level or a part of one: it must not be missing and must not hold ``/``, ``+`` or ``#``,
or a payload could choose where a message goes. So a topic template has a filter that covers every topic it can
make, which is what the search for loops works with. Only ``{topic}`` as the last level stands for several.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from gateway.message import Value
from gateway.rules.cells import CellPlan
from gateway.rules.compile import compile_expression
from gateway.rules.frame import MAX_TEXT, Closure, Frame
from gateway.rules.language import RuleError
from gateway.rules.library import text_of
from gateway.topic import filter_problem, name_problem

MAX_TEMPLATE: Final = MAX_TEXT
"""Characters of one template."""


class Hole(NamedTuple):
    """The expression between two braces."""

    text: str


def split_template(template: str) -> list[str | Hole]:
    """A template to its parts. Raises RuleError for a brace without its partner."""
    if len(template) > MAX_TEMPLATE:
        raise RuleError(f"has {len(template)} characters; a template has at most {MAX_TEMPLATE}")
    parts: list[str | Hole] = []
    text = ""
    at = 0
    while at < len(template):
        character = template[at]
        if template[at : at + 2] in ("{{", "}}"):
            text += character
            at += 2
        elif character == "{":
            end = _end_of_hole(template, at)
            if text:
                parts.append(text)
            parts.append(Hole(_expression_of(template[at + 1 : end])))
            text = ""
            at = end + 1
        elif character == "}":
            raise RuleError(f"character {at + 1}: '}}' without '{{'; write '}}}}' for the brace itself")
        else:
            text += character
            at += 1
    return [*parts, text] if text else parts


def _end_of_hole(template: str, begin: int) -> int:
    """Where the ``}`` is that ends the hole; braces in quotes and tables inside the expression do not."""
    depth = 0
    quote = ""
    for at in range(begin, len(template)):
        character = template[at]
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
            if depth == 0:
                return at
    raise RuleError(f"character {begin + 1}: '{{' without '}}'; write '{{{{' for the brace itself")


def _expression_of(hole: str) -> str:
    word, dot, number = hole.strip().partition(".")
    return f"topic[{number}]" if word == "topic" and dot and number.isdecimal() else hole


def _compile_hole(hole: Hole, names: Collection[str], plan: CellPlan | None) -> Closure:
    try:
        return compile_expression(hole.text, names, plan)
    except RuleError as error:
        raise RuleError(f"in {{{hole.text}}}: {error}") from None


def compile_text(template: str, names: Collection[str] = (), plan: CellPlan | None = None) -> Closure:
    """A template to a closure that gives the text. Raises RuleError."""
    parts = [
        _compile_hole(part, names, plan) if isinstance(part, Hole) else _always(part)
        for part in split_template(template)
    ]

    def run(frame: Frame) -> str:
        made: list[str] = []
        size = 0
        for part in parts:
            value = part(frame)
            if isinstance(value, (list, dict)):
                frame.charge_value(value)
            made.append(text_of(value))
            size += len(made[-1])
            if size > MAX_TEXT:
                raise RuleError(f"the text has more than {MAX_TEXT} characters")
        frame.charge(size >> 6)
        return "".join(made)

    return run


class TopicTemplate:
    """A topic that may have holes.

    filter  matches every topic that the template can make
    """

    __slots__ = ("text", "filter", "_parts", "_fixed")

    def __init__(self, template: str, names: Collection[str] = (), plan: CellPlan | None = None) -> None:
        """Raises RuleError when no topic can come of it."""
        self.text = template
        parts = split_template(template)
        shape = "".join("\0" if isinstance(part, Hole) else part for part in parts)
        if "\0" in template or "+" in shape or "#" in shape:
            raise RuleError("must be a topic without wildcards; {topic.1} stands for a level of the topic that came")
        self.filter = self._filter(shape.split("/"), parts)
        problem = filter_problem(self.filter)
        if problem:
            raise RuleError(f"must be a topic, but it {problem}")
        self._fixed = parts[0] if len(parts) == 1 and isinstance(parts[0], str) else None
        self._parts = [
            _level_of(part, _compile_hole(part, names, plan)) if isinstance(part, Hole) else _always(part)
            for part in parts
        ]

    def __call__(self, frame: Frame) -> str:
        """The topic. Raises RuleError when a hole is missing or its text would change the shape of the topic."""
        if self._fixed is not None:
            return self._fixed
        topic = "".join([part(frame) for part in self._parts])
        problem = name_problem(topic)
        if problem:
            raise RuleError(f"topic {topic[:80]!r} {problem}")
        if topic.startswith("$") and not self.text.startswith("$"):
            raise RuleError(f"topic {topic[:80]!r} begins with '$', which only the rule itself may write")
        return topic

    @staticmethod
    def _filter(levels: list[str], parts: list[str | Hole]) -> str:
        """``alarm/{id}/high`` to ``alarm/+/high``; ``copy/{topic}`` to ``copy/#``."""
        last = parts[-1] if parts else ""
        whole = isinstance(last, Hole) and last.text.strip() == "topic" and levels[-1] == "\0"
        shown = ["+" if "\0" in level else level for level in levels]
        if whole:
            shown[-1] = "#"
        elif any(isinstance(part, Hole) and part.text.strip() == "topic" for part in parts[:-1]):
            raise RuleError("{topic} stands for several levels and must be the last; {topic.1} is one level")
        return "/".join(shown)


def _level_of(hole: Hole, read: Closure) -> Closure:
    several = hole.text.strip() == "topic"

    def run(frame: Frame) -> str:
        value = read(frame)
        if value is None or value == "" or isinstance(value, (list, dict)):
            found = "is empty" if value == "" else "is missing" if value is None else "is a list or table"
            raise RuleError(f"in {{{hole.text}}}: {found}, and cannot be part of a topic")
        text = text_of(value)
        if not _is_utf8(text):
            raise RuleError(f"in {{{hole.text}}}: {text[:80]!r} cannot be written as UTF-8")
        if "/" in text and not several:
            raise RuleError(f"in {{{hole.text}}}: {text[:80]!r} holds '/'; a hole fills one level of a topic")
        return text

    return run


def _is_utf8(text: str) -> bool:
    """JSON can spell half of a surrogate pair; a topic cannot hold it (MQTT 5 section 1.5.4)."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _always(text: str) -> Closure:
    return lambda frame: text


def compile_value(tree: Any, names: Collection[str] = (), plan: CellPlan | None = None) -> Closure:
    """A TOML value whose texts are expressions: ``{ line = "topic[2]", limit = 80 }``. Raises RuleError."""
    if isinstance(tree, str):
        return compile_expression(tree, names, plan)
    if isinstance(tree, Mapping):
        entries = [(str(key), _below(str(key), value, names, plan)) for key, value in tree.items()]
        return lambda frame: {key: read(frame) for key, read in entries}
    if isinstance(tree, (list, tuple)):
        items = [_below(f"[{index}]", value, names, plan) for index, value in enumerate(tree)]
        return lambda frame: [read(frame) for read in items]
    if tree is None or isinstance(tree, (bool, int, float)):
        return _constant(tree)
    raise RuleError(f"expected an expression in quotes, a number, true or false, not a {type(tree).__name__}")


def _below(key: str, tree: Any, names: Collection[str], plan: CellPlan | None) -> Closure:
    try:
        return compile_value(tree, names, plan)
    except RuleError as error:
        raise RuleError(f"{key}: {error}") from None


def _constant(value: Value) -> Closure:
    return lambda frame: value
