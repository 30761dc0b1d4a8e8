"""How far an uplink is, class by class, and how that is kept on the disk.

What was acknowledged of a class is nearly always everything up to a row. While what is live is sent before a backlog
there are stretches behind it; of these the table keeps the newest ``MOST``, and what else there is would be sent
again after kill -9.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from gateway.ranges import NOTHING, Ranges
from gateway.store.rooms import ROOMS
from gateway.store.sql import SQL

MOST: Final = 32
"""Stretches kept of a class."""


NOBODY: Final = ""
"""In the place of an uplink's name: where all were when the last one was removed from the settings."""


class Position(NamedTuple):
    """By class: what the cloud has, and what may have been sent to it."""

    acked: tuple[Ranges, ...] = (NOTHING,) * len(ROOMS)
    sent: tuple[Ranges, ...] = (NOTHING,) * len(ROOMS)

    def upto(self, seq: int) -> Position:
        """The same, but for what is acknowledged behind a row."""
        before = Ranges(((0, seq),)) if seq > 0 else NOTHING
        return Position(tuple([one & before for one in self.acked]), self.sent)

    @property
    def last(self) -> int:
        """The greatest number that is acknowledged."""
        return max(ranges.last for ranges in self.acked)


def position_at(seq: int) -> Position:
    """Everything up to a row is acknowledged."""
    upto = NOTHING.add(0, seq)
    return Position((upto,) * len(ROOMS), (upto,) * len(ROOMS))


def in_common(positions: Iterable[Position]) -> Position | None:
    """What all have acknowledged; None when there are none."""
    common: tuple[Ranges, ...] | None = None
    for position in positions:
        acked = position.acked
        common = acked if common is None else tuple([one & other for one, other in zip(common, acked, strict=True)])
    return None if common is None else Position(common, common)


def load_positions(connection: sqlite3.Connection) -> dict[str, Position]:
    """Every position in the table, by uplink."""
    found: dict[str, Position] = {}
    for uplink, room, acked, sent, behind in connection.execute(SQL["cursor_all"]).fetchall():
        if room >= len(ROOMS):
            continue  # of a later format
        position = found.get(uplink, Position())
        stretches = _decode(behind)
        has = Ranges.of([(0, acked), *stretches["acked"]])
        may_have = Ranges.of([(0, sent), *stretches["sent"]]) | has
        found[uplink] = Position(_with(position.acked, room, has), _with(position.sent, room, may_have))
    return found


def save_position(connection: sqlite3.Connection, uplink: str, position: Position, known: Position | None) -> None:
    """Write what differs from ``known``, which is what the table has. An uplink that was removed meanwhile has no row,
    and gets none."""
    for room, (acked, sent) in enumerate(zip(*position, strict=True)):
        if known is None or known.acked[room] != acked or known.sent[room] != sent:
            connection.execute(SQL["cursor_update"], _row(uplink, room, acked, sent))


def insert_position(connection: sqlite3.Connection, uplink: str, position: Position) -> None:
    """An uplink that is new in the settings."""
    for room, (acked, sent) in enumerate(zip(*position, strict=True)):
        connection.execute(SQL["cursor_insert"], _row(uplink, room, acked, sent))


def _row(uplink: str, room: int, acked: Ranges, sent: Ranges) -> dict[str, Any]:
    prefix = acked.prefix
    may_have = acked | sent
    reach = may_have.prefix
    stretches = {
        "acked": [span for span in acked if span[0] >= prefix][-MOST:],
        "sent": [span for span in (may_have - acked) if span[0] >= reach][-MOST:],
    }
    behind = json.dumps(stretches, separators=(",", ":")) if stretches["acked"] or stretches["sent"] else None
    return {"uplink": uplink, "class": room, "acked": prefix, "sent": reach, "behind": behind}


def _decode(behind: str | None) -> Mapping[str, list[tuple[int, int]]]:
    """The stretches of a row; none when they are not what we write, so that rows are sent again and none is lost."""
    try:
        read: Any = json.loads(behind or "{}")
        return {name: [(int(a), int(b)) for a, b in read.get(name, ())] for name in ("acked", "sent")}
    except (ValueError, TypeError, AttributeError):
        return {"acked": [], "sent": []}


def _with(ranges: tuple[Ranges, ...], room: int, new: Ranges) -> tuple[Ranges, ...]:
    return (*ranges[:room], new, *ranges[room + 1 :])
