"""Which registers to ask for together. Pure.

Reading a hundred neighbouring registers costs a device hardly more than reading one, so points that lie close to
each other share a request, up to the size that the device takes. Devices refuse a whole request when one of its
registers does not exist (exception 2): then it is cut in two, and the parts again, until what cannot be read is
found. A stretch that was refused once is never part of a request again: whatever holds it would be refused too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

MAX_BITS: Final = 2000
"""Most coils or discrete inputs in one request (Modbus Application Protocol V1.1b3 section 6.1)."""

_BITS_PER_WORD: Final = 16

_KEPT: Final = 64
"""Sets of points whose requests are kept; there is one for each combination of rates that are due together."""

REST: Final = 60
"""Scans for which a point that the device says it does not have is left out, before it is tried again."""


class Item(NamedTuple):
    """One point: its name, and the table, first address and number of registers or bits that it takes."""

    name: str
    table: str
    address: int
    width: int

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.address + self.width


@dataclass(frozen=True, slots=True)
class Request:
    """One question to the device, and the points that its answer holds, by address."""

    table: str
    address: int
    count: int
    items: tuple[Item, ...]


def plan(
    items: Iterable[Item],
    gap: int,
    max_words: int,
    is_refused: Callable[[str, int, int], bool] = lambda table, first, end: False,
    *,
    singly: bool = False,
) -> list[Request]:
    """Few requests that bring every item once, each item whole; the fewest as long as nothing is refused.

    gap         registers in between that nobody wants and that are read all the same
    max_words   most registers in one request; at least the width of every item. Bits have their own bound, MAX_BITS
    is_refused  whether the device is known to refuse a request from ``first`` to before ``end`` of a table; a single
                item is asked for all the same
    singly      a request for each item
    """
    requests: list[Request] = []
    block: list[Item] = []
    end = 0
    for item in sorted(items, key=lambda item: (item.table, item.address, item.width)):
        is_bits = item.table in ("coil", "discrete")
        reach = gap * _BITS_PER_WORD if is_bits else gap
        most = MAX_BITS if is_bits else max_words
        if block and (
            singly
            or item.table != block[0].table
            or item.address - end > reach
            or max(end, item.end) - block[0].address > most
            or is_refused(item.table, block[0].address, max(end, item.end))
        ):
            requests.append(_request(block))
            block = []
        end = item.end if not block else max(end, item.end)
        block.append(item)
    if block:
        requests.append(_request(block))
    return requests


def cut(request: Request) -> list[Request]:
    """The two parts of a request of several items: at its widest gap, else in the middle."""
    items = request.items
    gaps = [after.address - before.end for before, after in zip(items, items[1:], strict=False)]
    at = gaps.index(max(gaps)) if max(gaps) > 0 else (len(items) - 2) // 2
    return [_request(items[: at + 1]), _request(items[at + 1 :])]


def _request(items: Sequence[Item]) -> Request:
    address = items[0].address
    end = max(item.end for item in items)
    return Request(items[0].table, address, end - address, tuple(items))


class Refusals:
    """The smallest stretches that the device has refused, by table."""

    __slots__ = ("_stretches",)

    def __init__(self) -> None:
        self._stretches: dict[str, list[tuple[int, int]]] = {}

    def add(self, table: str, first: int, end: int) -> None:
        """A request from ``first`` to before ``end`` was refused. Longer ones that hold it say nothing more."""
        known = self._stretches.setdefault(table, [])
        if not self.covers(table, first, end):
            known[:] = [one for one in known if not (one[0] <= first and end <= one[1])]
            known.append((first, end))

    def forget(self, table: str, first: int, end: int) -> None:
        """A request from ``first`` to before ``end`` was answered: nothing in it is refused any more."""
        known = self._stretches.get(table)
        if known:
            known[:] = [one for one in known if not (first <= one[0] and one[1] <= end)]

    def covers(self, table: str, first: int, end: int) -> bool:
        """Whether a refused stretch lies within."""
        return any(first <= one[0] and one[1] <= end for one in self._stretches.get(table, ()))

    def describe(self) -> list[str]:
        """For status: ``holding:17..18``."""
        return [
            f"{table}:{first}" + (f"..{end - 1}" if end - first > 1 else "")
            for table, known in sorted(self._stretches.items())
            for first, end in sorted(known)
        ]


class _Halves:
    """The two parts of a refused request. When both are answered, it is what lies between them that cannot be read:
    the gap, or where they touch, the step from one into the other (devices refuse to read across some borders)."""

    __slots__ = ("between", "missing")

    def __init__(self, left: Request, right: Request) -> None:
        end = left.address + left.count
        self.between = (end, right.address) if end < right.address else (right.address - 1, end + 1)
        self.missing = 2


class Plan:
    """The requests of each scan, as the device has taught them. What it has taught is kept for the life of the
    process: a device that comes back is mostly the same one.

    singly  a request for each item
    """

    __slots__ = ("refusals", "_items", "_gap", "_max_words", "_singly", "_resting", "_last", "_known", "_halves")

    def __init__(self, items: Iterable[Item], gap: int, max_words: int, *, singly: bool = False) -> None:
        self.refusals = Refusals()
        self._items = {item.name: item for item in items}
        self._gap = gap
        self._max_words = max_words
        self._singly = singly
        self._resting: dict[str, int] = {}
        self._last: dict[tuple[str, int], None] = {}
        self._known: dict[frozenset[str], list[Request]] = {}
        self._halves: dict[Request, _Halves] = {}

    @property
    def requests(self) -> Sequence[Request]:
        """The requests that bring every point, those that rest left out, in the order they are to be asked."""
        return self._requests(frozenset(self._items))

    def scan(self, due: Iterable[str] | None = None) -> list[Request]:
        """The requests that bring the points that are ``due``, all of them without it. Points that rest are left out
        and come nearer to their next try."""
        names = frozenset(self._items if due is None else due)
        requests = list(self._requests(names))
        for name in names.intersection(self._resting):
            if self._resting[name] == 1:
                del self._resting[name]
            else:
                self._resting[name] -= 1
        return requests

    def _requests(self, due: frozenset[str]) -> list[Request]:
        awake = due.difference(self._resting)
        found = self._known.get(awake)
        if found is None:
            if len(self._known) >= _KEPT:
                self._known.clear()
            items = (self._items[name] for name in awake)
            found = plan(items, self._gap, self._max_words, self.refusals.covers, singly=self._singly)
            order = {place: at for at, place in enumerate(self._last)}
            found.sort(key=lambda request: order.get((request.table, request.address), -1))
            self._known[awake] = found
        return found

    def refused(self, request: Request) -> list[Request]:
        """Learn that the device refuses a request, and get its two parts; none for a single item."""
        self.refusals.add(request.table, request.address, request.address + request.count)
        self._known.clear()
        self._halves.pop(request, None)
        if len(request.items) == 1:
            return []
        parts = cut(request)
        if len(self._halves) > len(self._items):
            self._halves.clear()  # of blocks that were not answered since
        halves = _Halves(*parts)
        for part in parts:
            self._halves[part] = halves
        return parts

    def answered(self, request: Request) -> None:
        """Learn that the device does not refuse it, or not any more."""
        end = request.address + request.count
        if self.refusals.covers(request.table, request.address, end):
            self.refusals.forget(request.table, request.address, end)
            self._known.clear()
        halves = self._halves.pop(request, None) if self._halves else None
        if halves is not None:
            halves.missing -= 1
            if not halves.missing:
                self.refusals.add(request.table, *halves.between)
                self._known.clear()

    def rest(self, request: Request) -> None:
        """Leave its points out for REST scans."""
        self._resting.update(dict.fromkeys((item.name for item in request.items), REST))

    def postpone(self, request: Request) -> None:
        """Ask this one last from now on: a block that stays without an answer must not keep the others waiting."""
        place = (request.table, request.address)
        self._last.pop(place, None)
        self._last[place] = None
        while len(self._last) > len(self._items):
            del self._last[next(iter(self._last))]
        self._known.clear()
