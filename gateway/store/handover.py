"""Rows that wait under a name which another uplink wants to have: at the start they get the name of who has them now.

An uplink ``a`` was renamed ``b`` while the gateway ran, and rows that were stored before still name ``a``;
``heirs.py`` knows that they are ``b``'s. When the settings of a start have a new ``a`` beside ``b``, these rows are
written anew with ``b`` in the place of ``a``, some in each transaction; then the name is free. A stop in between loses
nothing: a segment has the one name or the other.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from typing import Final

from gateway.store.errors import StoreError
from gateway.store.heirs import load_heirs
from gateway.store.making_room import size_of
from gateway.store.rooms import ROOMS, key_range
from gateway.store.segment import Columns, HeadKey, pack, unpack
from gateway.store.sql import SQL

STEP: Final = 64
"""Segments that one transaction looks at."""


class Handover:
    """One start's. ``uplinks``: those of the settings."""

    def __init__(self, uplinks: Collection[str]) -> None:
        self._uplinks = uplinks
        self._names: dict[str, str] | None = None
        """Who has the rows of a name, of the names that are wanted."""
        self._room = 0
        self._after = 0

    def step(self, connection: sqlite3.Connection) -> bool:
        """Give some rows their new name; whether there may be more."""
        if self._names is None:
            self._names = {
                name: heir
                for name, heir in load_heirs(connection, ()).items()
                if name in self._uplinks and heir is not None and heir != name and heir in self._uplinks
            }
        if not self._names:
            return False
        if self._room == len(ROOMS):
            for name in self._names:
                connection.execute(SQL["heir_delete"], {"uplink": name})
            return False
        place = key_range(self._room, 0)
        if self._after:
            place["after"] = self._after
        segments = connection.execute(SQL["segment_oldest"], {**place, "limit": STEP}).fetchall()
        for key, first, *_ in segments:
            self._after = key
            self._rewrite(connection, key, first, self._names)
        if not segments:
            self._room, self._after = self._room + 1, 0
        return True

    def _rewrite(self, connection: sqlite3.Connection, key: int, first: int, names: dict[str, str]) -> None:
        (data,) = connection.execute(SQL["segment_data"], {"id": key}).fetchone()
        try:
            columns = unpack(first, data)
        except StoreError:
            return  # whoever reads it next finds it damaged too, and counts it
        heads: dict[HeadKey, HeadKey] = {head: _with_names(head, names) for head in set(columns.heads)}
        if all(old == new for old, new in heads.items()):
            return
        renamed = Columns(
            columns.seqs, columns.times, [heads[head] for head in columns.heads], columns.payloads, columns.extras
        )
        packed = pack(renamed)
        connection.execute(SQL["segment_rename"], {"id": key, "data": packed.data, "size": size_of(packed.data)})


def _with_names(head: HeadKey, names: dict[str, str]) -> HeadKey:
    """Each uplink once: who has the rows of two names gets them once."""
    topic, source, qos, retain, uplinks = head
    return topic, source, qos, retain, tuple(dict.fromkeys(names.get(name, name) for name in uplinks))
