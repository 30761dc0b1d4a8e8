"""A damaged database goes to the quarantine, what is readable of it into a fresh one in its place.

The steps, each safe against a stop in the middle: make the quarantine's folder; move log and database there; build
the fresh database under another name and wait for the disk; rename it into place; write the report. A start that
finds a folder without a report does all of it again, from the file in the quarantine, which is only read.

When not all rows fit beside the damaged file, the gateway starts with those that do, or with none: the damaged file
is kept whole, and the report says so.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from time import time as wall_clock
from typing import Any, Final

from gateway.durable import on_the_disk
from gateway.store.errors import StoreError
from gateway.store.quarantine import Entry, Quarantine
from gateway.store.salvage import NoRoom, Salvage, log_is_the_damage, version_of

log = logging.getLogger("gateway.store")

FORMATS: Final = 1000
"""A format further ahead than this is no newer gateway's, it is noise in a damaged header."""

MARGIN: Final = 8 << 20
"""Bytes that a salvage leaves free: the fresh database needs its log, and the gateway is not alone."""


def free_bytes(folder: Path) -> int:
    """What is left on the file system for everybody."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


class Rescue:
    """For the database at ``path``.

    create     makes an empty database of a format at a path, to be filled and closed by the caller
    newest     the newest format that ``create`` knows
    page_size  of a file whose header does not say it
    progress   called now and then during a long rescue
    """

    def __init__(
        self,
        path: Path,
        create: Callable[[Path, int], sqlite3.Connection],
        newest: int,
        page_size: int,
        *,
        progress: Callable[[], None],
        time: Callable[[], float] = wall_clock,
        free: Callable[[Path], int] = free_bytes,
    ) -> None:
        self._path = path
        self._create = create
        self._newest = newest
        self._page_size = page_size
        self._progress = progress
        self._time = time
        self._free = free
        self._quarantine = Quarantine(path)

    def resume(self) -> None:
        """Finish a rescue that was cut short, if there is one. Raises StoreError, OSError, sqlite3.Error."""
        entry = self._quarantine.unfinished()
        if entry is not None:
            log.warning("rescue of the database goes on", extra={"quarantine": str(entry.path)})
            self._carry_out(entry, "a rescue was cut short")

    def run(self, problem: str) -> None:
        """Put the damaged database aside and a fresh one in its place. Raises as ``resume`` does."""
        version = version_of(self._path, self._page_size)
        if version is not None and self._newest < version <= self._newest + FORMATS:
            raise StoreError(
                f"{self._path}: is damaged ({problem}) and was written by a newer gateway (format {version}, this one "
                f"knows up to {self._newest}); nothing was changed; install that version again"
            )
        log.error("database is damaged", extra={"path": str(self._path), "problem": problem})
        self._carry_out(self._quarantine.open(self._time()), problem)

    def _carry_out(self, entry: Entry, problem: str) -> None:
        self._quarantine.move(entry)
        damaged = entry.path / self._path.name
        fresh = self._path.with_name(self._path.name + ".new")
        report: dict[str, Any] = {"time": self._time(), "problem": problem, "acknowledged": None}
        with_log = not log_is_the_damage(damaged)
        version = version_of(damaged, self._page_size) or self._newest
        try:
            found = self._fill(fresh, damaged, min(version, self._newest), with_log)
        except NoRoom:
            found = self._fill(fresh, damaged.with_name("nothing"), self._newest, False)
            found["no_room"] = True
        damaged.with_name(damaged.name + "-shm").unlink(missing_ok=True)
        report |= {"log_used": with_log, **found}
        fresh.rename(self._path)
        on_the_disk(self._path.parent)
        entry.save(report)
        log.error(
            "database was replaced",
            extra={
                "quarantine": str(entry.path),
                "saved": sum(table["saved"] for table in found["tables"].values()),
                "lost": sum(table["lost"] for table in found["tables"].values()),
                "no_room": found["no_room"],
                "advice": "look at it, then: gateway store acknowledge",
            },
        )
        self._quarantine.prune()

    def _fill(self, fresh: Path, damaged: Path, version: int, with_log: bool) -> dict[str, Any]:
        for ending in ("", "-wal", "-shm", "-journal"):
            fresh.with_name(fresh.name + ending).unlink(missing_ok=True)
            # Whatever lies in the place belongs to a file that is not there any more.
            if ending:
                self._path.with_name(self._path.name + ending).unlink(missing_ok=True)
        try:
            with closing(self._create(fresh, version)) as connection:
                # Cut short, it is begun again: no journal, and one wait for the disk at the end.
                for setting in ("journal_mode = OFF", "synchronous = OFF"):
                    connection.execute(f"PRAGMA {setting}").fetchall()
                connection.execute("BEGIN")
                found = Salvage(damaged, connection, self._page_size, with_log, self._proceed).run(self._time())
                connection.execute("COMMIT")
                connection.execute("PRAGMA journal_mode = WAL").fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_FULL:
                raise
            fresh.unlink(missing_ok=True)
            raise NoRoom from error
        on_the_disk(fresh)
        return found

    def _proceed(self) -> None:
        self._progress()
        if self._free(self._path.parent) < MARGIN:
            raise NoRoom
