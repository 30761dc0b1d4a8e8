"""Which registers to ask for together. Pure.

Reading a hundred neighbouring registers costs a device hardly more than reading one, so points that lie close to
each other share a request, up to the size that the device takes. Devices refuse a whole request when one of its
registers does not exist (exception 2): then the request is cut, and the cut is remembered in the ``Plan``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

MAX_BITS: Final = 2000
"""Most coils or discrete inputs in one request (Modbus Application Protocol V1.1b3 section 6.1)."""

_BITS_PER_WORD: Final = 16

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


def plan(items: Iterable[Item], gap: int, max_words: int) -> list[Request]:
    """The fewest requests that bring every item once, each item whole.

    gap        registers in between that nobody wants and that are read all the same
    max_words  most registers in one request; at least the width of every item. Bits have their own bound, MAX_BITS
    """
    requests: list[Request] = []
    block: list[Item] = []
    end = 0
    for item in sorted(items, key=lambda item: (item.table, item.address, item.width)):
        is_bits = item.table in ("coil", "discrete")
        reach = gap * _BITS_PER_WORD if is_bits else gap
        most = MAX_BITS if is_bits else max_words
        if block and (
            item.table != block[0].table or item.address - end > reach or max(end, item.end) - block[0].address > most
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


class Plan:
    """The requests of one scan, as the device has taught them."""

    __slots__ = ("_requests", "_resting")

    def __init__(self, items: Iterable[Item], gap: int, max_words: int) -> None:
        self._requests = plan(items, gap, max_words)
        self._resting: dict[Request, int] = {}

    @property
    def requests(self) -> Sequence[Request]:
        """All requests, in the order they are to be asked."""
        return self._requests

    def scan(self) -> list[Request]:
        """The requests of the next scan; those that rest are left out and come nearer to their next try."""
        if not self._resting:
            return list(self._requests)
        self._resting = {request: left - 1 for request, left in self._resting.items() if left > 0}
        return [request for request in self._requests if request not in self._resting]

    def split(self, request: Request) -> list[Request]:
        """Replace a refused request of several items by its parts, for good."""
        parts = cut(request)
        at = self._requests.index(request)
        self._requests[at : at + 1] = parts
        return parts

    def rest(self, request: Request) -> None:
        """Leave a request out for REST scans."""
        self._resting[request] = REST

    def postpone(self, request: Request) -> None:
        """Ask this one last from now on: a block that stays without an answer must not keep the others waiting."""
        self._requests.remove(request)
        self._requests.append(request)
