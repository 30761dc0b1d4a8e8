"""Patterns that find values in a frame: regular expressions that take a bounded time. Pure.

Python's ``re`` backtracks: a pattern that is a little careless takes minutes for a frame that is a little long, and
the gateway stands still. Here a pattern becomes a small machine (Thompson 1968, with the captures of Pike's) that
looks at each byte once, whatever the pattern. The language is that of ``re``, for bytes, without what needs to look
back:

    x  .  [a-z_]  [^0-9]  \\d \\w \\s \\D \\W \\S  \\r \\n \\t \\xHH  \\.      one byte
    (x|y)  (?:x)  (?P<name>x)  x*  x+  x?  x{3}  x{2,}  x{2,5}  x*?      groups, choices, repeats; ? takes the least
    ^  $                                                                begin and end of the frame

What it finds is what ``re.search`` would find, which a test holds it to.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

MAX_PATTERN: Final = 512
"""Characters of a pattern."""

MAX_PROGRAM: Final = 2000
"""Steps of its machine: a search takes at most so many for each byte of the frame."""

_MAX_REPEAT: Final = 255
_SIMPLE_ESCAPE: Final = re.compile(r"\\(x[0-9A-Fa-f]{2}|[dwsDWSrntfv0]|[^A-Za-z0-9])")


class _Set(NamedTuple):
    bytes: frozenset[int]


class _Split(NamedTuple):
    first: int
    second: int


class _Save(NamedTuple):
    slot: int


class _At(NamedTuple):
    is_end: bool


class _Match(NamedTuple):
    pass


_Step = _Set | _Split | _Save | _At | _Match
_Program = list[_Step]
_Make = Callable[[int], _Program]
"""A part of the program, for the place where it will stand."""


class Pattern:
    """A compiled pattern. Raises ValueError at construction, with what is wrong.

    groups  number of groups
    names   number of each group that has a name
    """

    __slots__ = ("groups", "names", "_program")

    def __init__(self, text: str) -> None:
        parser = _Parser(text)
        body = parser.whole()
        self.groups = parser.groups
        self.names = parser.names
        self._program: _Program = [_Save(0), *body(1), _Save(1), _Match()]
        if len(self._program) > MAX_PROGRAM:
            raise ValueError(f"must be simpler: with its repeats it takes {len(self._program)} steps")

    def search(self, data: bytes) -> list[bytes | None] | None:
        """The first match: all of it, then its groups, None for those that took no part. None: no match."""
        slots = (None,) * (2 * self.groups + 2)
        found: tuple[int | None, ...] | None = None
        threads: list[tuple[int, tuple[int | None, ...]]] = []
        for at in range(len(data) + 1):
            if found is None:
                self._follow(threads, 0, slots, at, len(data), {thread[0] for thread in threads})
            byte = data[at] if at < len(data) else -1
            coming: list[tuple[int, tuple[int | None, ...]]] = []
            seen: set[int] = set()
            for place, saved in threads:
                step = self._program[place]
                if isinstance(step, _Match):
                    found = saved
                    break  # what comes after it has less right
                if isinstance(step, _Set) and byte in step.bytes:
                    self._follow(coming, place + 1, saved, at + 1, len(data), seen)
            threads = coming
            if not threads and found is not None:
                break
        if found is None:
            return None
        pairs = zip(found[::2], found[1::2], strict=True)
        return [None if begin is None or end is None else data[begin:end] for begin, end in pairs]

    def example(self, groups: Mapping[int, bytes]) -> bytes:
        """A short text that it matches, with these groups in it; for simulated devices. Raises ValueError when there
        is none to be found on one way through."""
        made = bytearray()
        place = 0
        while not isinstance(step := self._program[place], _Match):
            if isinstance(step, _Set):
                made.append(min(step.bytes, key=lambda byte: (not 32 <= byte < 127, byte), default=0))
            elif isinstance(step, _Save) and step.slot > 1 and step.slot % 2 == 0 and step.slot // 2 in groups:
                made += groups[step.slot // 2]
                place = self._program.index(_Save(step.slot + 1))
            elif isinstance(step, _Split):
                # Forward, and into a part only for a group that is in it.
                near, far = sorted((step.first, step.second))
                inside = {_Save(2 * number) for number in groups} & set(self._program[near:far])
                place = near if inside and near > place else far
                continue
            place += 1
        found = self.search(bytes(made))
        if found is None or any(found[number] != text for number, text in groups.items()):
            raise ValueError("no text is found for the pattern")
        return bytes(made)

    def _follow(
        self,
        threads: list[tuple[int, tuple[int | None, ...]]],
        place: int,
        saved: tuple[int | None, ...],
        at: int,
        size: int,
        seen: set[int],
    ) -> None:
        """Add the threads that are reached without a byte, those with more right first."""
        todo = [(place, saved)]
        while todo:
            place, saved = todo.pop()
            if place in seen:
                continue
            seen.add(place)
            step = self._program[place]
            if isinstance(step, _Split):
                todo.append((step.second, saved))
                todo.append((step.first, saved))
            elif isinstance(step, _Save):
                todo.append((place + 1, (*saved[: step.slot], at, *saved[step.slot + 1 :])))
            elif isinstance(step, _At):
                if at == (size if step.is_end else 0):
                    todo.append((place + 1, saved))
            else:
                threads.append((place, saved))


class _Parser:
    """Text to parts of a program."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_PATTERN:
            raise ValueError(f"must have at most {MAX_PATTERN} characters")
        if not text.isascii():
            raise ValueError(r"must be ASCII; write \xHH for other bytes")
        self._text = text
        self._at = 0
        self._depth = 0
        self.groups = 0
        self.names: dict[str, int] = {}

    def whole(self) -> _Make:
        body = self._choice()
        if self._at < len(self._text):
            raise self._wrong("no group is open here")
        return body

    def _wrong(self, what: str) -> ValueError:
        return ValueError(f"must be a pattern, but at character {self._at + 1} {what}")

    def _next(self, text: str) -> bool:
        if self._text.startswith(text, self._at):
            self._at += len(text)
            return True
        return False

    def _choice(self) -> _Make:
        ways = [self._row()]
        while self._next("|"):
            ways.append(self._row())
        result = ways.pop()
        while ways:
            result = _either(ways.pop(), result)
        return result

    def _row(self) -> _Make:
        parts: list[_Make] = []
        while self._at < len(self._text) and self._text[self._at] not in "|)":
            parts.append(self._repeated(self._one()))
        return _row(parts)

    def _repeated(self, part: _Make) -> _Make:
        begin = self._at
        if self._next("*"):
            least, most = 0, None
        elif self._next("+"):
            least, most = 1, None
        elif self._next("?"):
            least, most = 0, 1
        else:
            found = re.compile(r"\{(\d{1,3})(,(\d{0,3}))?\}").match(self._text, self._at)
            if found is None:
                return part
            self._at = found.end()
            least = int(found[1])
            most = least if found[2] is None else int(found[3]) if found[3] else None
            if (most is not None and most < least) or max(least, most or 0) > _MAX_REPEAT:
                raise self._wrong(f"a repeat must be from less to more, at most {_MAX_REPEAT}")
        is_lazy = self._next("?")
        if self._text[self._at : self._at + 1] in ("*", "+", "?") and self._at > begin and self._at < len(self._text):
            raise self._wrong("a repeat is repeated; put a group around it")
        return _repeat(part, least, most, is_lazy)

    def _one(self) -> _Make:
        sign = self._text[self._at]
        if sign == "(":
            return self._group()
        if sign in "*+?":
            raise self._wrong("there is nothing to repeat")
        if sign in "^$":
            self._at += 1
            return _step(_At(sign == "$"))
        if sign == "[":
            return self._set(self._end_of_class())
        if sign == "\\":
            found = _SIMPLE_ESCAPE.match(self._text, self._at)
            if found is None:
                raise self._wrong(r"only \d \w \s \D \W \S \r \n \t \xHH and signs stand behind a backslash")
            return self._set(found.end())
        return self._set(self._at + 1)

    def _group(self) -> _Make:
        self._at += 1
        self._depth += 1
        if self._depth > 32:
            raise self._wrong("groups are nested too deep")
        number = 0
        if self._next("?:"):
            pass
        elif found := re.compile(r"\?P<([A-Za-z_][A-Za-z0-9_]*)>").match(self._text, self._at):
            self._at = found.end()
            number = self._new_group()
            if found[1] in self.names:
                raise self._wrong(f"the name {found[1]} is taken")
            self.names[found[1]] = number
        elif self._next("?"):
            raise self._wrong("only (?:...) and (?P<name>...) are known")
        else:
            number = self._new_group()
        body = self._choice()
        if not self._next(")"):
            raise self._wrong("a group is not closed")
        self._depth -= 1
        if not number:
            return body
        return _row([_step(_Save(2 * number)), body, _step(_Save(2 * number + 1))])

    def _new_group(self) -> int:
        self.groups += 1
        return self.groups

    def _end_of_class(self) -> int:
        at = self._at + 1
        if self._text[at : at + 1] == "^":
            at += 1
        at += 1  # a bracket that comes first is meant
        while at < len(self._text) and self._text[at] != "]":
            at += 2 if self._text[at] == "\\" else 1
        if at >= len(self._text):
            raise self._wrong("a class is not closed")
        return at + 1

    def _set(self, end: int) -> _Make:
        """What stands up to ``end`` matches one byte; which ones Python says."""
        text = self._text[self._at : end]
        try:
            found = _bytes_of(text)
        except ValueError as error:
            raise self._wrong(str(error)) from None
        self._at = end
        return _step(_Set(found))


@lru_cache(256)
def _bytes_of(text: str) -> frozenset[int]:
    """The bytes that one sign, escape or class matches. Raises ValueError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            match = re.compile((text if len(text) > 1 or text == "." else re.escape(text)).encode()).fullmatch
    except (re.error, Warning):
        raise ValueError(f"{text} means nothing, or not what it seems; put a backslash before signs") from None
    return frozenset(byte for byte in range(256) if match(bytes((byte,))))


def _step(step: _Step) -> _Make:
    return lambda place: [step]


def _row(parts: list[_Make]) -> _Make:
    def make(place: int) -> _Program:
        made: _Program = []
        for part in parts:
            made += part(place + len(made))
            if len(made) > MAX_PROGRAM:
                raise ValueError("must be simpler: its repeats take too many steps")
        return made

    return make


def _either(one: _Make, other: _Make) -> _Make:
    def make(place: int) -> _Program:
        first = one(place + 1)
        second_at = place + 1 + len(first) + 1
        second = other(second_at)
        end = second_at + len(second)
        return [_Split(place + 1, second_at), *first, _Split(end, end), *second]

    return make


def _repeat(part: _Make, least: int, most: int | None, is_lazy: bool) -> _Make:
    def split(into: int, past: int) -> _Split:
        return _Split(past, into) if is_lazy else _Split(into, past)

    def forever(place: int) -> _Program:
        body = part(place + 1)
        end = place + len(body) + 2
        return [split(place + 1, end), *body, _Split(place, place)]

    def perhaps(more: int) -> _Make:
        def make(place: int) -> _Program:
            body = part(place + 1)
            rest = perhaps(more - 1)(place + 1 + len(body)) if more > 1 else []
            end = place + 1 + len(body) + len(rest)
            return [split(place + 1, end), *body, *rest]

        return make

    parts = [part] * least
    if most is None:
        parts.append(forever)
    elif most > least:
        parts.append(perhaps(most - least))
    return _row(parts)
