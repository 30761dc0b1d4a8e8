"""The books of the outbox: what was stored, dropped, thinned and booked, and what the next commit adds to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress

from gateway.metrics import Metrics
from gateway.store.errors import StoreError


class Books:
    """``following`` gives what the transaction that gathers adds to the table; it raises StoreError when the database
    is closed. ``totals`` is ahead of the table by what waits."""

    __slots__ = ("_following", "_metrics", "totals")

    def __init__(self, following: Callable[[], dict[str, int]], metrics: Metrics) -> None:
        self.totals: dict[str, int] = {}
        self._following = following
        self._metrics = metrics

    def note(self, name: str, n: int) -> None:
        """A transaction has added this to the table."""
        self.totals[name] = self.totals.get(name, 0) + n

    def book(self, name: str, n: int) -> None:
        """Add to the table, with the next commit. Raises StoreError."""
        tallies = self._following()
        tallies[name] = tallies.get(name, 0) + n
        self.note(name, n)

    def lose(self, reason: str, n: int) -> None:
        """Rows are lost that no transaction has counted."""
        self._metrics.drop(reason, n)
        with suppress(StoreError):  # closed: the metrics have it
            self.book(f"dropped:{reason}", n)

    def put_off(self, tallies: Mapping[str, int]) -> None:
        """What a transaction was to add goes with the next."""
        if tallies:
            with suppress(StoreError):  # closed: nothing can be kept any more
                following = self._following()
                for name, n in tallies.items():
                    following[name] = following.get(name, 0) + n
