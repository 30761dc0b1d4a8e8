"""Sets of whole numbers that are few stretches: message ids that came, or that are still there. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator


class Spans:
    """Stretches (first, last), both in it; they are in order and do not touch. Adding in order costs nothing to speak
    of, elsewhere it moves the stretches behind."""

    __slots__ = ("_firsts", "_lasts", "count")

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        self.count = 0

    def __len__(self) -> int:
        """Stretches, not numbers: those are ``count``."""
        return len(self._firsts)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._firsts, self._lasts, strict=True)

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._firsts, number) - 1
        return at >= 0 and number <= self._lasts[at]

    def add(self, first: int, last: int) -> None:
        """Take in all numbers of a stretch; those that are there already stay."""
        firsts, lasts = self._firsts, self._lasts
        if lasts and first == lasts[-1] + 1:  # in order
            lasts[-1] = last
            self.count += last - first + 1
            return
        start = bisect_left(lasts, first - 1)
        end = bisect_right(firsts, last + 1)
        if start < end:
            first, last = min(first, firsts[start]), max(last, lasts[end - 1])
        self.count += last - first + 1 - sum(lasts[at] - firsts[at] + 1 for at in range(start, end))
        firsts[start:end] = [first]
        lasts[start:end] = [last]

    def within(self, first: int, last: int) -> int:
        """How many numbers of a stretch are in it."""
        return sum(end - start + 1 for start, end in self._overlaps(first, last))

    def gaps(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """What of a stretch is not in it."""
        for start, end in self._overlaps(first, last):
            if first < start:
                yield first, start - 1
            first = end + 1
        if first <= last:
            yield first, last

    def _overlaps(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        for at in range(bisect_left(self._lasts, first), bisect_right(self._firsts, last)):
            yield max(first, self._firsts[at]), min(last, self._lasts[at])
