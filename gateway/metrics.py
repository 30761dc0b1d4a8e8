"""Counts of what happened. Every drop is counted in exactly one place, under one reason.

A plain object that is passed to whoever counts; no registry, no globals, no I/O. Names are words with
underscores ("messages_in"), reasons are words too ("session_queue_full").
"""

from __future__ import annotations


class Metrics:
    """Counters by name, and drops by reason."""

    __slots__ = ("counts", "drops")

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.drops: dict[str, int] = {}

    def count(self, name: str, n: int = 1) -> None:
        """Add ``n`` to the counter ``name``."""
        self.counts[name] = self.counts.get(name, 0) + n

    def drop(self, reason: str, n: int = 1) -> None:
        """Count ``n`` messages that nobody will get, under the reason why."""
        self.drops[reason] = self.drops.get(reason, 0) + n
