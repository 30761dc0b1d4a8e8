"""Keeps the disk from running full: appends stop at a floor of free space, deletes and reads go on.

*Room* is what the file system has free for us, and the pages of the database that hold nothing: a delete makes
room in the file without making the file smaller. Below the floor the store takes no more rows; it takes them again
when there is a quarter more room than the floor, so that the answer does not change with every row.

The *reserve* is a file that occupies a few megabytes. When others have filled the disk to the last byte it is
given up, so that deletes and checkpoints, which need a little room before they make more, can go on; it is made
again when there is plenty.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

log = logging.getLogger("gateway.store")

MIB: Final = 1 << 20
MOST: Final = 64 * MIB
LEAST: Final = 1 * MIB
SHARE: Final = 50
"""Without a setting: a fiftieth of the file system (2 %), at least LEAST and at most MOST. The state folder of a
small card is often a partition of a few hundred megabytes, of which 64 would be a quarter."""

RESERVE: Final = 4 * MIB
HOLD: Final = 10.0
"""Seconds without appends after the disk was full in fact, whatever it says of its room: a quota is not in it."""


class Space(NamedTuple):
    """Of a file system, in bytes."""

    free: int
    total: int


def space_of(folder: Path) -> Space:
    """What there is for a user who is not root (statvfs(3)). Raises OSError."""
    found = os.statvfs(folder)
    return Space(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)


class Floor:
    """Whether there is room for more rows. Changed on the store's thread; ``low`` may be read anywhere.

    folder   of the database
    setting  bytes that stay free; None: as SHARE says; 0: the disk is not looked at, there is no reserve
    """

    __slots__ = ("bytes", "inside", "low", "space", "trouble", "_folder", "_held", "_measure", "_reserve", "_setting")

    def __init__(self, folder: Path, setting: int | None, measure: Callable[[Path], Space] = space_of) -> None:
        self.low = False
        self.trouble: str | None = None
        self.space = Space(0, 0)
        self.inside = 0
        self.bytes = setting or 0
        self._folder = folder
        self._setting = setting
        self._measure = measure
        self._held = 0.0
        self._reserve = folder / "gateway.reserve"

    @property
    def wanted(self) -> bool:
        """Whether the disk is looked at."""
        return self._setting != 0

    def look(self, connection: sqlite3.Connection, now: float) -> None:
        """Measure and decide; about once a second, and after each failure. ``now``: the clock that never steps."""
        if not self.wanted:
            return
        try:
            self.space = self._measure(self._folder)
            # freelist_count counts what is committed and not yet checkpointed too.
            pages, size = (
                connection.execute(f"PRAGMA {word}").fetchone()[0] for word in ("freelist_count", "page_size")
            )
        except (OSError, sqlite3.Error) as error:
            self.trouble = str(error)
            return
        self.inside = pages * size
        self.bytes = self._setting or max(LEAST, min(MOST, self.space.total // SHARE))
        room = self.space.free + self.inside
        if room < self.bytes:
            self.low = True
        elif self.low and now >= self._held and room >= self.bytes + self.bytes // 4:
            self.low = False
        reserve = self._reserve_bytes
        if self.space.free < reserve // 4:
            self._give_up_reserve()
        elif not self.low and self.space.free >= self.bytes + 2 * reserve:
            self._make_reserve()

    def committed(self) -> None:
        """A transaction was written: whatever was wrong with the disk is over."""
        self.trouble = None

    def failed(self, error: sqlite3.Error, full: bool, now: float) -> None:
        """A transaction was not; ``full``: because there is no room."""
        self.trouble = str(error)
        if full and self.wanted:
            self.low = True
            self._held = now + HOLD
            self._give_up_reserve()

    @property
    def _reserve_bytes(self) -> int:
        return min(RESERVE, self.bytes)

    def _give_up_reserve(self) -> None:
        with suppress(FileNotFoundError):
            self._reserve.unlink()
            log.warning("disk is full, reserve given up", extra={"bytes": self._reserve_bytes, "free": self.space.free})

    def _make_reserve(self) -> None:
        if self._reserve.exists():
            return
        try:
            file = os.open(self._reserve, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                os.posix_fallocate(file, 0, self._reserve_bytes)
            finally:
                os.close(file)
        except OSError as error:
            self._reserve.unlink(missing_ok=True)
            log.warning("no reserve on the disk", extra={"reason": error.strerror})

    def alarm(self) -> str | None:
        """What is wrong, in one line; None when nothing is."""
        if self.low:
            free = f"{self.space.free / MIB:.1f} MiB free, floor {self.bytes / MIB:.1f} MiB"
            why = f"; last error: {self.trouble}" if self.trouble else ""
            return f"the disk is full ({free}): nothing more is stored{why}; delete files, or let the uplinks drain"
        return f"the store cannot write: {self.trouble}; look at the card" if self.trouble else None

    def status(self) -> dict[str, Any]:
        """Bytes and states, for status."""
        return {
            "free": self.space.free,
            "total": self.space.total,
            "free_inside": self.inside,
            "floor": self.bytes,
            "low": self.low,
            "reserve": self._reserve.exists(),
            "trouble": self.trouble,
        }
