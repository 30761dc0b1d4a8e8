"""Moves the write-ahead log into the database between commits, before the log outgrows its length.

SQLite would do it inside the commit that crosses a mark, while publishers wait for their answer. Here it
comes after the answers were posted. SQLite does not say how long the log is without a checkpoint, so its growth
is estimated from above by what was committed.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from gateway.store.opening import LOG_BYTES, PAGE_SIZE
from gateway.store.written import Written

FRAME_BYTES: Final = PAGE_SIZE + 24
"""A page in the log and its header (SQLite file format, section 4.1)."""

PAGES_PER_COMMIT: Final = 5
"""Pages that a small transaction touches: leaves of the outbox, sequence, cursor, books, and their parents."""


class Checkpoints:
    """When to checkpoint, and what the log has carried. Used by the database's thread."""

    __slots__ = ("failed", "log_bytes", "written", "_due", "_estimate", "_frames")

    def __init__(self) -> None:
        self.failed = 0
        self.written = Written()
        self.log_bytes = 0
        self._due = False
        self._estimate = 0
        self._frames = 0

    def after_commit(self, connection: sqlite3.Connection, size: int, in_trouble: bool = False) -> None:
        """Checkpoint if the log may be near its length. ``size`` is what the commit's rows count.

        ``in_trouble``: the commit failed, or there is hardly any room on the disk. The log is then emptied as soon
        as it can be: deletes need its whole length, and what a failed commit has left behind its end must not be
        taken for damage at the next start (``log_damage``).
        """
        self._due = self._due or in_trouble
        # Twice: a row that spills over into pages of its own leaves part of each empty, and is deleted one day.
        self._estimate += PAGES_PER_COMMIT * FRAME_BYTES + 2 * size
        if self._due or self._estimate >= LOG_BYTES:
            self.checkpoint(connection)

    def expect(self, size: int) -> None:
        """A work of the transaction writes ``size`` bytes beside its rows: it deletes, or moves what is there."""
        self._estimate += size

    def checkpoint(self, connection: sqlite3.Connection) -> None:
        """Move what is committed to its place. A reader outside may hold part of it back; the next one takes it.

        No room or an I/O error leaves everything in the log, where it is safe, and is only counted.
        """
        before = self.written.look()
        try:
            _busy, frames, moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.OperationalError:
            self.failed += 1
            self._estimate = LOG_BYTES // 2
            return
        finally:
            self.written.moved(before)
        self.log_bytes += max(0, frames - self._frames) * FRAME_BYTES
        self._due = self._due and moved < frames
        # When all was moved the next commit begins the log anew.
        self._frames = 0 if moved == frames else frames
        self._estimate = min(self._frames * FRAME_BYTES, LOG_BYTES // 2)
