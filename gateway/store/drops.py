"""What an uplink will never get: how many rows for which reason, and of which time."""

from __future__ import annotations

import sqlite3
from collections.abc import Container, Mapping
from typing import NamedTuple

from gateway.store.sql import SQL


class Drop(NamedTuple):
    """``n`` rows; ``first`` and ``last`` are the wall clock times of the oldest and newest of them."""

    n: int
    first: float
    last: float


class Drops:
    """Drops by uplink and reason. Reasons are words from the code, so there are few."""

    __slots__ = ("by",)

    def __init__(self) -> None:
        self.by: dict[tuple[str, str], Drop] = {}

    def add(self, uplink: str, reason: str, drop: Drop) -> None:
        """Count ``drop`` on top of what is there."""
        known = self.by.get((uplink, reason))
        if known is not None:
            drop = Drop(known.n + drop.n, min(known.first, drop.first), max(known.last, drop.last))
        self.by[uplink, reason] = drop

    def merge(self, other: Drops) -> None:
        """Count everything of ``other`` too."""
        for (uplink, reason), drop in other.by.items():
            self.add(uplink, reason, drop)

    def of(self, uplink: str) -> dict[str, Drop]:
        """Drops of one uplink, by reason."""
        return {reason: drop for (name, reason), drop in self.by.items() if name == uplink}

    def rename_all(self, renamed: Mapping[str, str]) -> None:
        """Uplinks have other names; ``renamed``: the old one by the new one."""
        for new, old in renamed.items():
            for key in [key for key in self.by if key[0] == old]:
                self.add(new, key[1], self.by.pop(key))

    def keep_only(self, uplinks: Container[str]) -> None:
        """Forget uplinks that are not among ``uplinks``."""
        self.by = {key: drop for key, drop in self.by.items() if key[0] in uplinks}

    def save(self, connection: sqlite3.Connection) -> None:
        """Add them to the table, inside the caller's transaction."""
        for (uplink, reason), drop in self.by.items():
            connection.execute(SQL["drop_add"], {"uplink": uplink, "reason": reason, **drop._asdict()})


def load_drops(connection: sqlite3.Connection) -> Drops:
    """Everything in the table."""
    drops = Drops()
    for uplink, reason, n, first, last in connection.execute(SQL["drop_all"]).fetchall():
        drops.add(uplink, reason, Drop(n, first, last))
    return drops
