"""Which properties to ask for in which question, so that question and answer fit. Pure.

How long an answer will be is not known before it is there: numbers are short, texts are not. So sizes are estimates,
and a question whose answer did not fit is cut in two (``Plan.too_long``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

REST: Final = 60
"""Scans after which a point that does not exist is asked for again."""

_HEAD: Final = 4
_OBJECT: Final = 7
"""Bytes of an object's name, and the brackets around its properties."""

_QUESTION: Final = 7
"""Bytes of a property in a question, with an index."""

_FLAGS: Final = 10
"""Bytes of status flags in an answer."""

_NUMBER: Final = 16
_TEXT: Final = 80
"""Bytes of a value in an answer, with what is around it: a number, or something that may be long."""


class Item(NamedTuple):
    """One point: its object, and how long its value may be."""

    name: str
    object: tuple[int, int]
    is_long: bool = False
    has_flags: bool = True


class Plan:
    """How some points are read. ``limit``: bytes of the longest message both ways; ``is_batch``: several at a time."""

    def __init__(self, items: Iterable[Item], limit: int, is_batch: bool) -> None:
        # Neighbours in a question share the name of their object.
        self._items = sorted(items, key=lambda item: (item.object, item.name))
        self._limit = limit
        self._most = len(self._items) or 1
        self.is_batch = is_batch
        self._resting: dict[str, int] = {}

    def scan(self, names: Iterable[str]) -> list[list[Item]]:
        """The questions of one scan for the points in ``names``; those that rest are left out."""
        wanted = set(names)
        due = []
        for item in self._items:
            if item.name in wanted:
                left = self._resting.get(item.name, 0)
                if left:
                    self._resting[item.name] = left - 1
                else:
                    due.append(item)
        return self.questions(due)

    def questions(self, items: Sequence[Item]) -> list[list[Item]]:
        """``items`` in as few questions as they fit into; one each where the device cannot do several."""
        if not self.is_batch:
            return [[item] for item in items]
        groups: list[list[Item]] = []
        room = 0
        last: tuple[int, int] | None = None
        for item in items:
            value = _TEXT if item.is_long else _NUMBER
            size = max(value + (_FLAGS if item.has_flags else 0), _QUESTION * (2 if item.has_flags else 1))
            cost = size + (0 if item.object == last else _OBJECT)
            if groups and cost <= room and len(groups[-1]) < self._most:
                groups[-1].append(item)
            else:
                groups.append([item])
                room = self._limit - _HEAD
                cost = size + _OBJECT
            room -= cost
            last = item.object
        return groups

    def too_long(self, question: Sequence[Item]) -> list[list[Item]]:
        """A question whose answer did not fit, cut in two; later ones are not longer than that. One point alone is
        given up: an empty list, and it rests."""
        if len(question) == 1:
            self.rest(question[0].name)
            return []
        self._most = (len(question) + 1) // 2
        if len(question) == 1:
            self.rest(question[0].name)
        return self.halves(question)

    def halves(self, question: Sequence[Item]) -> list[list[Item]]:
        """A question that was refused as a whole, cut in two to find the point that it is about; an empty list for
        one point alone."""
        if len(question) == 1:
            return []
        middle = (len(question) + 1) // 2
        return [list(question[:middle]), list(question[middle:])]

    def rest(self, name: str) -> None:
        """Leave a point that does not exist alone for a while."""
        self._resting[name] = REST
