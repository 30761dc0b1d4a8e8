"""Sets of row numbers that are few stretches: what an uplink has acknowledged, what was handed out to it.

A *span* is a pair (after, upto): the numbers behind ``after``, up to and including ``upto``. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

Span = tuple[int, int]


class Ranges:
    """A set of numbers; never changed, so that any thread may hold it. ``spans`` are in order and do not touch."""

    __slots__ = ("spans",)

    def __init__(self, spans: tuple[Span, ...] = ()) -> None:
        self.spans = spans

    @classmethod
    def of(cls, spans: Iterable[Span]) -> Ranges:
        """From spans in any order; they may overlap, and be empty."""
        joined: list[Span] = []
        for after, upto in sorted(spans):
            if upto <= after:
                continue
            if joined and after <= joined[-1][1]:
                joined[-1] = (joined[-1][0], max(joined[-1][1], upto))
            else:
                joined.append((after, upto))
        return cls(tuple(joined))

    def __bool__(self) -> bool:
        return bool(self.spans)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ranges) and self.spans == other.spans

    def __hash__(self) -> int:
        return hash(self.spans)

    def __repr__(self) -> str:
        return f"Ranges({self.spans!r})"

    def __contains__(self, number: int) -> bool:
        return bool(self.spans) and any(after < number <= upto for after, upto in self.spans)

    def add(self, after: int, upto: int) -> Ranges:
        """With one more span; itself when that adds nothing."""
        spans = self.spans
        if upto <= after:
            return self
        if spans:
            last = spans[-1]
            if last[0] <= after <= last[1]:  # what comes in order makes the last span longer
                return self if upto <= last[1] else Ranges((*spans[:-1], (last[0], upto)))
            if self.covers(after, upto):
                return self
        return Ranges.of((*spans, (after, upto)))

    def covers(self, after: int, upto: int) -> bool:
        """Whether all numbers of a span are in it."""
        return upto <= after or any(start <= after and upto <= end for start, end in self.spans)

    def reach(self, after: int) -> int:
        """The last number of the stretch that begins behind ``after``; ``after`` when the next one is not in it."""
        for start, end in self.spans:
            if start <= after < end:
                return end
        return after

    @property
    def prefix(self) -> int:
        """Everything from 1 up to here is in it."""
        spans = self.spans
        return spans[0][1] if spans and spans[0][0] <= 0 else 0

    @property
    def last(self) -> int:
        """The greatest number in it; 0 when it is empty."""
        return self.spans[-1][1] if self.spans else 0

    def gaps(self, after: int, upto: int) -> list[Span]:
        """What of a span is not in it."""
        found: list[Span] = []
        for start, end in self.spans:
            if after < start and after < upto:
                found.append((after, min(start, upto)))
            after = max(after, end)
        if after < upto:
            found.append((after, upto))
        return found

    def count(self, after: int, upto: int) -> int:
        """How many numbers of a span are in it."""
        return sum(max(0, min(end, upto) - max(start, after)) for start, end in self.spans)

    def touches(self, after: int, upto: int) -> bool:
        """Whether any number of a span is in it."""
        return any(max(start, after) < min(end, upto) for start, end in self.spans)

    def __or__(self, other: Ranges) -> Ranges:
        return Ranges.of((*self.spans, *other.spans)) if self.spans and other.spans else (self if self.spans else other)

    def __and__(self, other: Ranges) -> Ranges:
        return Ranges.of((max(a, c), min(b, d)) for a, b in self.spans for c, d in other.spans if max(a, c) < min(b, d))

    def __sub__(self, other: Ranges) -> Ranges:
        return Ranges(tuple(gap for after, upto in self.spans for gap in other.gaps(after, upto)))

    def __iter__(self) -> Iterator[Span]:
        return iter(self.spans)


NOTHING: Final = Ranges()
