"""The history of the wall clock on disk: its epochs, and the last moment that each start has seen.

An epoch is a stretch of one start in which the offset of the wall clock to the monotonic one and its state do not
change; a row of the outbox belongs to the one in whose stretch of numbers it is. There are few: one for each start,
and one more for each step.
"""

from __future__ import annotations

import sqlite3
from typing import Final, NamedTuple

from gateway.clock_watch import ClockState
from gateway.store.rooms import ROOMS, key_range
from gateway.store.sql import SQL

KEEP: Final = 64
"""Epochs kept of one start: the newest. Rows of one that is forgotten keep the time they have."""


class Epoch(NamedTuple):
    """``base`` is the wall clock at the start by the offset of this epoch; its time is ``base`` plus the seconds since
    the start. It began ``up`` seconds after the start, with the row ``seq``."""

    boot: int
    seq: int
    up: float
    base: float
    state: ClockState


class History(NamedTuple):
    """What earlier starts have left.

    epochs  by start, in order
    ends    by start: seconds that it is known to have run
    seen    wall clock: the latest moment that any of them has seen; 0 when none is known
    """

    epochs: dict[int, list[Epoch]]
    ends: dict[int, float]
    seen: float


def load_history(connection: sqlite3.Connection) -> History:
    """Read it; on the database's thread."""
    epochs: dict[int, list[Epoch]] = {}
    for boot, seq, up, base, state in connection.execute(SQL["epoch_all"]).fetchall():
        epochs.setdefault(boot, []).append(Epoch(boot, seq, up, base, ClockState(state)))
    moments = connection.execute(SQL["boot_moments"]).fetchall()
    ends: dict[int, float] = {boot: up for boot, _, up in moments}
    seen = _seen(connection, epochs, [seen for _, seen, _ in moments if seen])
    if any(not any(one.state is ClockState.SYNCHRONISED for one in known) for known in epochs.values()):
        for boot, until, up in connection.execute(SQL["segment_ends"]).fetchall():
            if boot in epochs:
                # What is in a segment came after its ``up``; a foreign time must not stretch the start.
                last = until - epochs[boot][-1].base
                ends[boot] = max(ends.get(boot, 0.0), up, last if last < up + LONGEST_LINGER else 0.0)
    return History(epochs, ends, seen)


LONGEST_LINGER: Final = 3700.0
"""Seconds from the first row of a segment to its last at most, see ``store.CLASS.interval``."""


def _seen(connection: sqlite3.Connection, epochs: dict[int, list[Epoch]], saved: list[float]) -> float:
    """The newest that was saved, or stored since."""
    seen = saved[-1] if saved else 0.0
    for room in range(len(ROOMS)):
        found = connection.execute(SQL["segment_newest"], key_range(room, 0)).fetchone()
        if found is None:
            continue
        boot, first, until = found
        known = epochs.get(boot, [])
        epoch = next((one for one in reversed(known) if one.seq <= first), None)
        if epoch is not None and boot == max(epochs):
            base = next((one.base for one in known if one.state is ClockState.SYNCHRONISED), epoch.base)
            seen = max(seen, until - epoch.base + base)
    return seen


def add_epoch(connection: sqlite3.Connection, epoch: Epoch, started: float | None) -> None:
    """Keep one more; ``started``: when that start was, if that is known by now. On the database's thread."""
    connection.execute(SQL["epoch_insert"], epoch._asdict() | {"state": str(epoch.state)})
    connection.execute(SQL["epoch_prune"], {"boot": epoch.boot, "keep": KEEP})
    if started is not None:
        connection.execute(SQL["boot_started"], {"boot": epoch.boot, "started": started})


def save_moment(connection: sqlite3.Connection, boot: int, seen: float, up: float) -> None:
    """Keep the last moment of a start; on the database's thread."""
    connection.execute(SQL["boot_seen"], {"boot": boot, "seen": seen, "up": up})
