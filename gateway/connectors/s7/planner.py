"""Which bytes to read in which request: neighbours in one span, spans in one request, within the agreed PDU.

A request may name up to twenty spans; each costs 12 bytes in the question and 4 in the answer, and is padded to an
even length in it. So a hole of up to about sixteen bytes is cheaper read than left out. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

MOST_SPANS: Final = 20
"""Variables of one request that every S7 controller takes."""

REST: Final = 60
"""Scans after which a span that does not exist is asked for again: somebody may have loaded the block."""

_QUESTION: Final = 12
_QUESTION_EACH: Final = 12
"""Header and parameters of a read request, and of each span in it."""

_ANSWER: Final = 14
_ANSWER_EACH: Final = 4
"""The same of the answer, without data."""


class Item(NamedTuple):
    """One point's bytes."""

    name: str
    area: str
    block: int
    byte: int
    size: int


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes that are read in one piece, and the points in them."""

    area: str
    block: int
    byte: int
    size: int
    items: tuple[Item, ...]

    def __str__(self) -> str:
        where = f"DB{self.block}" if self.area == "DB" else self.area
        return f"{where} bytes {self.byte} to {self.byte + self.size - 1}"


def most_bytes(pdu: int) -> int:
    """Bytes of the largest span that an answer of ``pdu`` bytes can hold."""
    return pdu - _ANSWER - _ANSWER_EACH


def most_written(pdu: int) -> int:
    """Bytes that one write request can hold: header 10, parameters 14, item 4."""
    return pdu - 28


def spans_of(items: Iterable[Item], gap: int, limit: int) -> list[Span]:
    """The fewest spans of at most ``limit`` bytes with holes of at most ``gap``. An item larger than ``limit`` is a
    span of its own, read in several requests."""
    spans: list[list[Item]] = []
    end = 0
    for item in sorted(items, key=lambda item: (item.area, item.block, item.byte, item.size, item.name)):
        first = spans[-1][0] if spans else None
        reach = max(end, item.byte + item.size)
        if (
            first is not None
            and (first.area, first.block) == (item.area, item.block)
            and item.byte - end <= gap
            and reach - first.byte <= limit
        ):
            spans[-1].append(item)
            end = reach
        else:
            spans.append([item])
            end = item.byte + item.size
    return [_span(group) for group in spans]


def _span(items: Sequence[Item]) -> Span:
    start = items[0].byte
    end = max(item.byte + item.size for item in items)
    return Span(items[0].area, items[0].block, start, end - start, tuple(items))


def split(span: Span) -> list[Span]:
    """The span cut in two between points, to find the one that does not exist; itself when it has one point."""
    if len(span.items) == 1:
        return [span]
    middle = len(span.items) // 2
    return [_span(span.items[:middle]), _span(span.items[middle:])]


def requests_of(spans: Iterable[Span], pdu: int) -> list[list[Span]]:
    """Put spans together into requests that fit into ``pdu`` bytes both ways: the largest first."""
    requests: list[list[Span]] = []
    room: list[tuple[int, int]] = []
    for span in sorted(spans, key=lambda span: -span.size):
        answer = _ANSWER_EACH + span.size + span.size % 2
        for index, (left, question) in enumerate(room):
            if answer <= left and question >= _QUESTION_EACH and len(requests[index]) < MOST_SPANS:
                requests[index].append(span)
                room[index] = (left - answer, question - _QUESTION_EACH)
                break
        else:
            requests.append([span])
            room.append((pdu - _ANSWER - answer, pdu - _QUESTION - _QUESTION_EACH))
    return requests


@dataclass(slots=True)
class Plan:
    """How some points are read, scan by scan. Learns which spans the controller refuses.

    pdu  bytes agreed with the controller
    gap  bytes that nobody wants, read along
    """

    items: Sequence[Item]
    pdu: int
    gap: int
    _spans: list[Span] = field(default_factory=list)
    _resting: dict[Span, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._spans = spans_of(self.items, self.gap, most_bytes(self.pdu))

    def scan(self, names: Iterable[str] | None = None) -> list[list[Span]]:
        """The requests of one scan, for the points in ``names`` (None: all). Spans with none of them, and those that
        rest, are left out."""
        due = list(self._due(None if names is None else set(names)))
        return requests_of(due, self.pdu)

    def _due(self, names: set[str] | None) -> Iterator[Span]:
        for span in self._spans:
            if names is not None and not any(item.name in names for item in span.items):
                continue
            left = self._resting.get(span, 0)
            if left:
                self._resting[span] = left - 1
            else:
                yield span

    def refused(self, span: Span) -> list[Span]:
        """The controller has not all of ``span``: the halves to ask for now, or nothing when it is one point, which
        rests for a while."""
        halves = split(span)
        if len(halves) == 1:
            self._resting[span] = REST
            return []
        if span in self._spans:
            at = self._spans.index(span)
            self._spans[at : at + 1] = halves
        return halves
