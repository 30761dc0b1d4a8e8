"""What the database has to do, and what it has done."""

from __future__ import annotations

from typing import NamedTuple


class Backlog(NamedTuple):
    """What waits for its commit."""

    items: int
    bytes: int


class Counts:
    """What the database has done since it was opened.

    commits  transactions that kept something
    failed   works that were not done
    rows     items and grown rows of the transactions that were committed
    bytes    what their owners said that they count
    """

    __slots__ = ("commits", "failed", "rows", "bytes")

    def __init__(self) -> None:
        self.commits = 0
        self.failed = 0
        self.rows = 0
        self.bytes = 0
