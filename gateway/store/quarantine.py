"""Where damaged databases are kept: a folder each, under ``quarantine`` in the state folder.

``quarantine/20261125-183912-1/`` holds the database and its log as they were found, and ``report.json`` when what
was readable has been taken out. A folder without a report is a rescue that was cut short, and is begun again. The
newest KEEP are kept, and no more than MAX_BYTES of them; the newest stays in any case. What is deleted is counted
in ``deleted.json``.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
from pathlib import Path
from time import gmtime, strftime
from typing import Any, Final

from gateway.durable import on_the_disk, write_whole

log = logging.getLogger("gateway.store")

KEEP: Final = 3
MAX_BYTES: Final = 512 << 20

ENDINGS: Final = ("-wal", "")
"""Moved in this order: a database without its log is seen to be unfinished, a log alone is not."""

_FOLDER: Final = re.compile(r"\d{8}-\d{6}-(\d+)")


class Entry:
    """One folder of the quarantine; ``report`` is None while its rescue is not finished."""

    __slots__ = ("path", "report")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.report = _read(path / "report.json")

    @property
    def bytes(self) -> int:
        """What it takes on the disk."""
        return sum(file.stat().st_size for file in self.path.iterdir())

    def save(self, report: dict[str, Any]) -> None:
        """Write the report; from then on the entry is finished. Raises OSError."""
        _write(self.path / "report.json", report)
        self.report = report

    def as_dict(self) -> dict[str, Any]:
        """For status and commands."""
        return {"name": self.path.name, "bytes": self.bytes, **(self.report or {"unfinished": True})}


class Quarantine:
    """The quarantine beside the database at ``path``."""

    def __init__(self, path: Path) -> None:
        self._database = path
        self._folder = path.parent / "quarantine"

    def entries(self) -> list[Entry]:
        """All of them, oldest first."""
        if not self._folder.is_dir():
            return []
        folders = [(match, path) for path in self._folder.iterdir() if (match := _FOLDER.fullmatch(path.name))]
        return [Entry(path) for _, path in sorted((int(match[1]), path) for match, path in folders)]

    def unfinished(self) -> Entry | None:
        """A rescue that was cut short."""
        return next((entry for entry in self.entries() if entry.report is None), None)

    def open(self, time: float) -> Entry:
        """A new folder; ``time`` (wall clock) gives it its name. Raises OSError."""
        self._folder.mkdir(exist_ok=True)
        entries = self.entries()
        number = 1 + (int(entries[-1].path.name.rsplit("-", 1)[1]) if entries else 0)
        path = self._folder / f"{strftime('%Y%m%d-%H%M%S', gmtime(time))}-{number}"
        path.mkdir(mode=0o700)
        on_the_disk(self._folder)
        on_the_disk(self._folder.parent)
        return Entry(path)

    def move(self, entry: Entry) -> None:
        """Move the database and its log into an entry, as far as that was not done before. Raises OSError."""
        if (entry.path / self._database.name).exists():
            return
        for ending in ENDINGS:
            name = self._database.name + ending
            if (self._database.parent / name).exists():
                (self._database.parent / name).rename(entry.path / name)
        (entry.path / self._database.name).touch()  # for a log whose database was missing: to know that it was moved
        on_the_disk(entry.path)
        on_the_disk(self._database.parent)

    def prune(self) -> None:
        """Keep to the bounds."""
        entries = [entry for entry in self.entries() if entry.report is not None]
        while len(entries) > 1 and (len(entries) > KEEP or sum(entry.bytes for entry in entries) > MAX_BYTES):
            oldest = entries.pop(0)
            size, name = oldest.bytes, oldest.path.name
            counted = self.deleted()
            _write(
                self._folder / "deleted.json",
                {"count": counted["count"] + 1, "bytes": counted["bytes"] + size, "last": name},
            )
            shutil.rmtree(oldest.path)
            log.warning("quarantined database deleted", extra={"name_of": name, "bytes": size, "kept": len(entries)})

    def deleted(self) -> dict[str, Any]:
        """How many were deleted to keep to the bounds, their bytes, and the name of the last."""
        return _read(self._folder / "deleted.json") or {"count": 0, "bytes": 0, "last": None}

    def acknowledge(self, time: float) -> list[str]:
        """Somebody has seen all of them; names of those that nobody had seen yet. Raises OSError."""
        names = []
        for entry in self.entries():
            if entry.report is not None and entry.report.get("acknowledged") is None:
                entry.save({**entry.report, "acknowledged": time})
                names.append(entry.path.name)
        return names

    def unseen(self) -> list[Entry]:
        """Finished ones that nobody has acknowledged."""
        return [e for e in self.entries() if e.report is not None and e.report.get("acknowledged") is None]


def salvage_alarm(entries: list[Entry]) -> str | None:
    """What the alarm says while ``entries`` are not acknowledged."""
    if not entries:
        return None
    report = entries[-1].report or {}
    tables = report.get("tables", {}).values()
    saved, lost = (sum(table[word] for table in tables) for word in ("saved", "lost"))
    what = f"{saved} rows saved, at least {lost} lost"
    if report.get("no_room"):
        what = f"{saved} rows saved, and no room on the disk for the others"
    return (
        f"the database was damaged ({report.get('problem')}) and replaced: {what}; the damaged one is kept in "
        f"{entries[-1].path}; when you have seen it: gateway store acknowledge"
    )


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        return {"acknowledged": None, "problem": f"{path.name} cannot be read"}
    return content if isinstance(content, dict) else None


def _write(path: Path, content: dict[str, Any]) -> None:
    write_whole(path, json.dumps(content, indent=2))
