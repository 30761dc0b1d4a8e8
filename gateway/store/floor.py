"""Keeps the disk from running full: appends stop at a floor of free space, deletes and reads go on.

*Room* is what the file system has free for us, and the pages of the database that hold nothing: a delete makes
room in the file without making the file smaller. What the log will add to the file at its next checkpoint is taken
off. Below the floor the store takes no more rows; it takes them again
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
LOOKS: Final = 8
"""The disk is measured again when an eighth of the floor was written: a second can be too long."""

HOLD: Final = 10.0
"""Seconds without appends after the disk was full in fact, whatever it says of its room: a quota is not in it.
Trouble is told of for as long too, although the next transaction may have been written."""


class Space(NamedTuple):
    """Of a file system, in bytes."""

    free: int
    total: int


def space_of(folder: Path) -> Space:
    """What there is for a user who is not root (statvfs(3)). Raises OSError."""
    found = os.statvfs(folder)
    return Space(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)


def size_of(file: Path) -> int:
    """Of a file, in bytes; 0 when it is missing. Raises OSError."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


class Floor:
    """Whether there is room for more rows. Changed on the store's thread; ``takes`` and ``low`` may be used anywhere.

    database  its file; the reserve lies beside it
    setting   bytes that stay free; None: as SHARE says; 0: the disk is not looked at, there is no reserve
    """

    __slots__ = (
        "bytes", "inside", "left", "low", "space", "trouble",
        "_database", "_held", "_measure", "_reserve", "_setting", "_unseen", "_writes",
    )  # fmt: skip

    def __init__(self, database: Path, setting: int | None, measure: Callable[[Path], Space] = space_of) -> None:
        self.low = False
        self.left = float("inf")
        """Bytes of room above the floor when it was last measured."""
        self.trouble: str | None = None
        self.space = Space(0, 0)
        self.inside = 0
        self.bytes = setting or 0
        self._database = database
        self._setting = setting
        self._measure = measure
        self._held = 0.0
        self._unseen = 0
        self._writes = True
        self._reserve = database.with_name("gateway.reserve")

    @property
    def wanted(self) -> bool:
        """Whether the disk is looked at."""
        return self._setting != 0

    def takes(self, size: int) -> bool:
        """Whether there is room for ``size`` bytes that are not written yet; on the loop. False ends all appends
        until the disk was measured again.
        """
        if size > self.left:
            self.low = True
        return not self.low

    def look(self, connection: sqlite3.Connection, now: float) -> None:
        """Measure and decide; once in a while, and after each failure. ``now``: the clock that never steps."""
        self._forget_trouble(now)
        if not self.wanted:
            return
        self._unseen = 0
        try:
            self.space = self._measure(self._database.parent)
            # All three count what is committed and not yet checkpointed too.
            pages, free, size = (
                connection.execute(f"PRAGMA {word}").fetchone()[0]
                for word in ("page_count", "freelist_count", "page_size")
            )
            pending = max(0, pages * size - size_of(self._database))
        except (OSError, sqlite3.Error) as error:
            self.trouble = str(error)
            self._held = now + HOLD
            return
        self.inside = free * size
        self.bytes = self._setting or max(LEAST, min(MOST, self.space.total // SHARE))
        self.left = self.space.free + self.inside - pending - self.bytes
        if self.left < 0:
            self.low = True
        elif self.low and now >= self._held and self.left >= self.bytes // 4:
            self.low = False
        reserve = self._reserve_bytes
        if self.space.free < reserve // 4:
            self._give_up_reserve()
        elif not self.low and self.space.free >= self.bytes + 2 * reserve:
            self._make_reserve()

    def committed(self, connection: sqlite3.Connection, size: int, now: float) -> None:
        """A transaction with rows of ``size`` bytes was written."""
        self._writes = True
        self._unseen += size
        if self._unseen * LOOKS >= self.bytes:
            self.look(connection, now)
        else:
            self._forget_trouble(now)

    def failed(self, error: sqlite3.Error, full: bool, now: float) -> None:
        """A transaction was not; ``full``: because there is no room."""
        self.trouble = str(error)
        self._writes = False
        self._held = now + HOLD
        if full and self.wanted:
            self.low = True
            self._give_up_reserve()

    def _forget_trouble(self, now: float) -> None:
        if self._writes and now >= self._held:
            self.trouble = None

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
