"""Rows out of pages: the b-trees of a database file, each page for itself (SQLite file format, section 2).

``Walk`` goes through one tree as far as its pages are whole and says what it met. ``leaf_rows`` takes the rows of
a page that no tree leads to any more. A row is (rowid or None, values); one that cannot be decoded is ``None``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from gateway.store.pages import HEADER_BYTES, Pages

Value = None | int | float | str | bytes
Row = tuple[int | None, list[Value]]

TABLE_LEAF: Final = 0x0D
TABLE_INNER: Final = 0x05
INDEX_LEAF: Final = 0x0A
INDEX_INNER: Final = 0x02

_INTEGER_BYTES: Final = (0, 1, 2, 3, 4, 6, 8)
MAX_COLUMNS: Final = 2000
"""SQLITE_MAX_COLUMN; a record that claims more is none."""

_BROKEN = (IndexError, ValueError, struct.error, UnicodeDecodeError)
"""What decoding nonsense ends in."""


class Walk:
    """All rows under ``root``, in the order of the tree.

    damaged  pages that could not be read, with whatever lies below them
    pages    numbers of the pages that were, and of those that were tried
    """

    def __init__(self, pages: Pages, root: int) -> None:
        self._pages = pages
        self._root = root
        self.damaged = 0
        self.pages: set[int] = set()

    def rows(self) -> Iterator[Row | None]:
        """Once. A row that cannot be decoded comes as None."""
        stack = [self._root]
        while stack:
            number = stack.pop()
            try:
                if number in self.pages:
                    raise ValueError("a page is there once in a tree")
                self.pages.add(number)
                page = Page(self._pages, number)
            except _BROKEN:
                self.damaged += 1
                continue
            stack += reversed(page.children())
            yield from page.rows()


class Page:
    """One page of a b-tree. Raises one of several errors (``_BROKEN``) when it cannot be one."""

    __slots__ = ("kind", "_base", "_data", "_pages", "_places")

    def __init__(self, pages: Pages, number: int) -> None:
        data = pages[number]
        base = self._base = HEADER_BYTES if number == 1 else 0
        self.kind = data[base]
        if self.kind not in (TABLE_LEAF, TABLE_INNER, INDEX_LEAF, INDEX_INNER):
            raise ValueError(f"page {number} is of no kind")
        cells = int.from_bytes(data[base + 3 : base + 5], "big")
        first = base + (12 if self.kind in (TABLE_INNER, INDEX_INNER) else 8)
        if first + 2 * cells > pages.usable:
            raise ValueError(f"page {number} has more cells than room")
        self._places = struct.unpack_from(f">{cells}H", data, first)
        if any(not first + 2 * cells <= place < pages.usable for place in self._places):
            raise ValueError(f"page {number} has a cell outside")
        self._data = data
        self._pages = pages

    def children(self) -> list[int]:
        """Pages below this one, in order; one that is no page number is found out when it is read."""
        if self.kind in (TABLE_LEAF, INDEX_LEAF):
            return []
        starts = [*self._places, self._base + 8]
        return [int.from_bytes(self._data[place : place + 4], "big") for place in starts]

    def rows(self) -> Iterator[Row | None]:
        """Rows that lie in this page."""
        if self.kind == TABLE_INNER:
            return
        for place in self._places:
            try:
                yield self._row(place)
            except _BROKEN:
                yield None

    def _row(self, place: int) -> Row:
        data = self._data
        if self.kind == INDEX_INNER:
            place += 4
        length, place = varint(data, place)
        rowid: int | None = None
        if self.kind == TABLE_LEAF:
            rowid, place = varint(data, place)
            if rowid >= 1 << 63:
                rowid -= 1 << 64
        return rowid, decode(self._payload(place, length))

    def _payload(self, place: int, length: int) -> bytes:
        """The record, gathered from its overflow pages when it has some (section 1.6)."""
        usable = self._pages.usable
        most = usable - 35 if self.kind == TABLE_LEAF else (usable - 12) * 64 // 255 - 23
        if length > most:
            least = (usable - 12) * 32 // 255 - 23
            local = least + (length - least) % (usable - 4)
            if local > most:
                local = least
        else:
            local = length
        if place + local > usable or length > self._pages.count * usable:
            raise ValueError("a record that is larger than its place")
        parts = [self._data[place : place + local]]
        left = length - local
        following = self._data[place + local : place + local + 4]
        while left > 0:
            page = self._pages[int.from_bytes(following, "big")]
            following = page[:4]
            parts.append(page[4 : min(usable, 4 + left)])
            left -= usable - 4
        return b"".join(parts)


def leaf_rows(pages: Pages, number: int) -> tuple[int, list[Row | None]]:
    """Kind and rows of a page that may be a leaf; kind 0 when it is none."""
    try:
        page = Page(pages, number)
        return (page.kind, list(page.rows())) if page.kind in (TABLE_LEAF, INDEX_LEAF) else (0, [])
    except _BROKEN:
        return 0, []


def free_pages(pages: Pages) -> set[int]:
    """Pages that hold only what was deleted, as far as the list of them can be read (section 1.5)."""
    free: set[int] = set()
    trunk = int.from_bytes(pages.head[32:36], "big")
    while trunk and trunk not in free:
        try:
            data = pages[trunk]
        except IndexError:
            break
        free.add(trunk)
        count = min(int.from_bytes(data[4:8], "big"), pages.usable // 4 - 2)
        free.update(struct.unpack_from(f">{count}I", data, 8))
        trunk = int.from_bytes(data[:4], "big")
    return free


def varint(data: bytes, place: int) -> tuple[int, int]:
    """A number of one to nine bytes, and the place behind it."""
    value = 0
    for index in range(8):
        byte = data[place + index]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, place + index + 1
    return value << 8 | data[place + 8], place + 9


def decode(record: bytes) -> list[Value]:
    """The values of a record (section 2.1). Raises ValueError and others when it is none."""
    end, place = varint(record, 0)
    values: list[Value] = []
    body = end
    while place < end:
        kind, place = varint(record, place)
        if kind >= 12:
            size = (kind - 12) // 2
            raw = record[body : body + size]
            values.append(raw if kind % 2 == 0 else raw.decode())
        elif kind == 7:
            size = 8
            values.append(struct.unpack(">d", record[body : body + 8])[0])
        elif kind in (8, 9):
            size = 0
            values.append(kind - 8)
        elif kind <= 6:
            size = _INTEGER_BYTES[kind]
            values.append(int.from_bytes(record[body : body + size], "big", signed=True) if kind else None)
        else:
            raise ValueError("a value of no kind")
        body += size
        if body > len(record) or len(values) > MAX_COLUMNS:
            raise ValueError("a record that ends early")
    if place != end or body != len(record):
        raise ValueError("a record whose parts do not add up")
    return values
