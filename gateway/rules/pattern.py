"""Patterns for texts: the common part of regular expressions, matched by an automaton in bounded time.

Python's ``re`` backtracks: ``(a+)+$`` against thirty characters takes longer than the plant lives. Here a pattern
becomes a small automaton (Thompson's construction) that looks at each character once, whatever the pattern.

    x  .  [a-z_]  [^0-9]  \\d \\w \\s \\D \\W \\S  \\.        one character
    (x|y)  x*  x+  x?  x{3}  x{2,}  x{2,5}                  groups, choices, repeats

The whole text must match; ``^`` at the begin and ``$`` at the end may be written and say nothing more. There are
no back references, no look-around and no captures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from gateway.rules.language import RuleError

MAX_PATTERN: Final = 256
"""Characters of a pattern."""

MAX_STATES: Final = 256
"""States of its automaton; ``x{100}`` takes a hundred."""

MAX_GROUPS: Final = 16
"""Groups in groups."""

MAX_CACHE: Final = 512
"""Transitions remembered for one pattern."""

Test = Callable[[str], bool]


class _One(NamedTuple):
    test: Test


class _Row(NamedTuple):
    parts: list[_Node]


class _Choice(NamedTuple):
    ways: list[_Node]


class _Repeat(NamedTuple):
    part: _Node
    least: int
    most: int | None


_Node = _One | _Row | _Choice | _Repeat


class Pattern:
    """A compiled pattern; call it with a text. Raises RuleError at construction when the pattern is wrong."""

    __slots__ = ("text", "cost", "_tests", "_skips", "_begin", "_cache")

    _END: Final = 0

    def __init__(self, text: str) -> None:
        self.text = text
        self._tests: list[tuple[Test, int] | None] = [None]
        self._skips: list[list[int]] = [[]]
        start = self._emit(_Parser(text).parse(), self._END)
        self._begin = self._reach([start])
        self._cache: dict[tuple[frozenset[int], str], frozenset[int]] = {}
        self.cost = 1 + len(self._tests) // 8
        """Steps for each character of a text."""

    def __call__(self, text: str) -> bool:
        """Whether the whole text matches. Time: length of the text times states of the pattern, at worst."""
        states = self._begin
        cache = self._cache
        for character in text:
            key = (states, character)
            following = cache.get(key)
            if following is None:
                following = self._follow(states, character)
                if len(cache) >= MAX_CACHE:
                    cache.clear()
                cache[key] = following
            if not following:
                return False
            states = following
        return self._END in states

    def _follow(self, states: frozenset[int], character: str) -> frozenset[int]:
        return self._reach([move[1] for state in states if (move := self._tests[state]) and move[0](character)])

    def _reach(self, waiting: list[int]) -> frozenset[int]:
        """The states that are reached without taking a character; only those that take one, and the end."""
        seen: set[int] = set()
        while waiting:
            state = waiting.pop()
            if state not in seen:
                seen.add(state)
                waiting.extend(self._skips[state])
        return frozenset(state for state in seen if state == self._END or self._tests[state])

    def _state(self, move: tuple[Test, int] | None, skips: list[int]) -> int:
        if len(self._tests) >= MAX_STATES:
            raise RuleError(f"pattern {self.text!r} is too big: more than {MAX_STATES} states")
        self._tests.append(move)
        self._skips.append(skips)
        return len(self._tests) - 1

    def _emit(self, node: _Node, then: int) -> int:
        """Add the states for a node, built from its end; the state it begins with."""
        if isinstance(node, _One):
            return self._state((node.test, then), [])
        if isinstance(node, _Row):
            for part in reversed(node.parts):
                then = self._emit(part, then)
            return then
        if isinstance(node, _Choice):
            return self._state(None, [self._emit(way, then) for way in node.ways])
        if node.most is None:
            loop = self._state(None, [then])
            self._skips[loop].append(self._emit(node.part, loop))
            then = loop
        else:
            after = then
            for _ in range(node.most - node.least):
                then = self._state(None, [self._emit(node.part, then), after])
        for _ in range(node.least):
            then = self._emit(node.part, then)
        return then


class _Parser:
    """Recursive descent over the text of a pattern."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_PATTERN:
            raise RuleError(f"pattern has {len(text)} characters; at most {MAX_PATTERN}")
        self.text = text
        self.at = 1 if text.startswith("^") else 0
        self.end = len(text) - 1 if text.endswith("$") and not text.endswith("\\$") else len(text)
        self.groups = 0

    def parse(self) -> _Node:
        node = self.choice()
        if self.at < self.end:
            raise self.error("')' without '('")
        return node

    def error(self, text: str) -> RuleError:
        return RuleError(f"pattern {self.text!r}, character {self.at + 1}: {text}")

    def peek(self) -> str:
        return self.text[self.at] if self.at < self.end else ""

    def take(self) -> str:
        if self.at >= self.end:
            raise self.error("ends too early")
        self.at += 1
        return self.text[self.at - 1]

    def choice(self) -> _Node:
        ways = [self.row()]
        while self.peek() == "|":
            self.take()
            ways.append(self.row())
        return ways[0] if len(ways) == 1 else _Choice(ways)

    def row(self) -> _Node:
        parts: list[_Node] = []
        while self.peek() and self.peek() not in "|)":
            parts.append(self.repeat(self.one()))
        return _Row(parts)

    def repeat(self, part: _Node) -> _Node:
        sign = self.peek()
        if sign not in ("*", "+", "?", "{"):
            return part
        self.take()
        least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(sign) or self.bounds()
        if self.peek() in ("*", "+", "?", "{"):
            raise self.error(f"a repeat cannot be repeated; {self.peek()!r} after a repeat has no meaning here")
        return _Repeat(part, least, most)

    def bounds(self) -> tuple[int, int | None]:
        text = ""
        while (character := self.take()) != "}":
            text += character
        low, comma, high = text.partition(",")
        if not (low.isdecimal() and (high.isdecimal() or not high)) or len(text) > 7:
            raise self.error("expected {3}, {2,} or {2,5}")
        least = int(low)
        most = (int(high) if high else None) if comma else least
        if max(least, most or 0) > MAX_STATES or (most is not None and most < least):
            raise self.error(f"{{{text}}} must be from small to large, at most {MAX_STATES}")
        return least, most

    def one(self) -> _Node:
        character = self.take()
        if character == "(":
            self.groups += 1
            if self.groups > MAX_GROUPS:
                raise self.error(f"more than {MAX_GROUPS} groups in groups")
            if self.peek() == "?":
                raise self.error("'(?' has no meaning here")
            node = self.choice()
            if self.peek() != ")":
                raise self.error("expected ')'")
            self.take()
            self.groups -= 1
            return node
        if character == "[":
            return _One(self.characters())
        if character == ".":
            return _One(lambda taken: taken != "\n")
        if character == "\\":
            return _One(self.escape())
        if character in "*+?{}^$])":
            raise self.error(f"{character!r} has nothing to act on; write '\\{character}' for the character itself")
        return _One(character.__eq__)

    def escape(self) -> Test:
        character = self.take()
        if character.lower() in _CLASSES:
            inside = _CLASSES[character.lower()]
            return inside if character.islower() else lambda taken: not inside(taken)
        if character.isalnum():
            raise self.error(f"'\\{character}' has no meaning here")
        return character.__eq__

    def characters(self) -> Test:
        """What stands between ``[`` and ``]``."""
        negated = self.peek() == "^"
        if negated:
            self.take()
        tests: list[Test] = []
        while (character := self.take()) != "]" or not tests:
            if character == "\\":
                tests.append(self.escape())
            elif self.peek() == "-" and self.text[self.at + 1 : self.at + 2] not in ("]", ""):
                self.take()
                tests.append(_between(character, self.take()))
            else:
                tests.append(character.__eq__)
        return lambda taken: any(test(taken) for test in tests) is not negated


def _between(low: str, high: str) -> Test:
    return lambda taken: low <= taken <= high


_CLASSES: dict[str, Test] = {
    "d": lambda taken: "0" <= taken <= "9",
    "w": lambda taken: taken == "_" or taken.isalnum(),
    "s": str.isspace,
}
