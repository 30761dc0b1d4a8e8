"""What the database says of its files, its disk and its past: alarms and status.

Looked at on the store's thread, read on the loop. It decides nothing about transactions.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from gateway.store.floor import Floor, size_of
from gateway.store.quarantine import Entry, Quarantine, salvage_alarm
from gateway.store.transaction import NO_ROOM, UNWRITABLE, primary_code
from gateway.store.written import Written


class Health:
    """Of the database at ``path``; ``floor`` None: the disk is not looked at."""

    __slots__ = ("floor", "path", "quarantine", "written", "_unseen", "_was_low")

    def __init__(self, path: Path, floor: Floor | None, written: Written) -> None:
        self.path = path
        self.floor = floor or Floor(path, 0)
        self.written = written
        self.quarantine = Quarantine(path)
        self._unseen: list[Entry] = []
        self._was_low = False

    def opened(self, connection: sqlite3.Connection, now: float) -> None:
        """On the thread, before anything is written."""
        self._unseen = self.quarantine.unseen()
        self.floor.look(connection, now)
        self.written.opened()

    def look(self, connection: sqlite3.Connection, now: float) -> bool:
        """On the thread, when ``look_after`` finds it is time; whether the floor was reached since the last look."""
        self.floor.look(connection, now)
        self.written.look()
        return self._floor_reached()

    def after_commit(self, connection: sqlite3.Connection, error: BaseException | None, size: int, now: float) -> bool:
        """On the thread: what a transaction of ``size`` bytes, or its error, if it is everybody's, says about the
        disk. True: the floor was reached.
        """
        code = primary_code(error)
        if isinstance(error, sqlite3.Error) and code in UNWRITABLE:
            self.floor.failed(error, code == NO_ROOM, now)
            self.floor.look(connection, now)
        else:
            self.floor.committed(connection, size, now)
        return self._floor_reached()

    def _floor_reached(self) -> bool:
        was_low, self._was_low = self._was_low, self.floor.low
        return self._was_low and not was_low

    def acknowledge(self, time: float) -> list[str]:
        """Somebody knows of the salvages; names of those that were new. Raises OSError."""
        names = self.quarantine.acknowledge(time)
        self._unseen = []
        return names

    def alarms(self) -> dict[str, str | None]:
        """``store``: a salvage that nobody has acknowledged; ``disk``: no room, or no writing. None: all is well."""
        return {"store": salvage_alarm(self._unseen), "disk": self.floor.alarm()}

    def status(self) -> dict[str, Any]:
        """Files, disk, bytes written and the last salvage; plain JSON types."""
        entries = self.quarantine.entries()
        return {
            "path": str(self.path),
            "bytes": size_of(self.path),
            "log_bytes": size_of(self.path.with_name(self.path.name + "-wal")),
            "disk": self.floor.status(),
            "written": self.written.status(),
            "quarantine": {
                "entries": len(entries),
                "bytes": sum(entry.bytes for entry in entries),
                "deleted": self.quarantine.deleted()["count"],
            },
            "salvage": entries[-1].as_dict() if entries else None,
        }
